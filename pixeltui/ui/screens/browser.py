"""The run browser: every run in a table, and what the one under the cursor looks like."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Event, Key
from textual.widgets import Input

from pixeltui.errors import UserError, printable
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import RunSummary
from pixeltui.ui.hand_over import hand_over
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import ABOUT_RUNS, FILTERING, bindings, in_scope
from pixeltui.ui.keys import Key as BoundKey
from pixeltui.ui.run_list import BY_LETTER, RUNNING, RunList, arranged
from pixeltui.ui.screens.bars import KeyBar, TitleBar
from pixeltui.ui.screens.compare import CompareScreen
from pixeltui.ui.screens.preview import Preview
from pixeltui.ui.screens.run_actions import RunActions
from pixeltui.ui.widgets.line import Line
from pixeltui.ui.widgets.run_table import RunTable, order_name

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

RELOAD_SECONDS = 2.0
AGE_SECONDS = 60.0
MOST_COMPARED = 6
OTHER_LINES = 6
"""of the screen and its table: title, keys, header, borders, and the filter's where it is there"""
NO_RUNS = (
    "no runs yet",
    "",
    "N trains the first one: the preset quick needs three minutes and no download",
    "? lists all keys",
)


class BrowserScreen(RunActions):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("runs")]

    app: "Console"
    scopes: ClassVar[list[Scope]] = ["runs", "everywhere"]

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunSummary] = []
        self._loaded = False
        self._words, self._letter, self._reverse = "", "a", False
        self._sorting = False

    @property
    def reads(self) -> bool:
        """Whether the runs are not known yet."""
        return not self._loaded

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield RunTable(id="runs")
        yield Line(placeholder="words in name, state, data, preset, tags", id="filter", compact=True)
        yield Preview()
        yield KeyBar()

    def on_mount(self) -> None:
        self._list = RunList(self.app.runs_dir, self.app.first_listing)
        self.query_one(RunTable).border_title = "Runs"
        line = self.query_one("#filter", Input)
        line.cursor_blink = line.display = False
        self.query_one(RunTable).focus()
        self.query_one(TitleBar).show(f"runs in {self.app.runs_dir}")
        self.action_reload()
        self.set_interval(RELOAD_SECONDS, self._reload_if_seen)
        self.set_interval(AGE_SECONDS, self.query_one(RunTable).refresh)

    def on_descendant_focus(self) -> None:
        self._show_keys()

    def _show_keys(self) -> None:
        typing = isinstance(self.focused, Input)
        self.query_one(KeyBar).show(FILTERING if typing else in_scope("runs", "everywhere"))

    def offers(self, key: BoundKey) -> bool:
        """Most keys are about a run."""
        return self.app.offers(key) and (self._runs != [] or not self._loaded or key.id not in ABOUT_RUNS)

    def on_screen_resume(self) -> None:
        self.action_reload()

    def _reload_if_seen(self) -> None:
        """Not in place of a reading under way: where each takes longer than that, none would ever be shown."""
        reads = any(one.node is self and one.group == "list" and not one.is_finished for one in self.workers)
        if self.app.screen is self and not reads:
            self.action_reload()

    # -- the table -------------------------------------------------------------------------------------------------

    def action_reload(self) -> None:
        self._read()

    @work(thread=True, exclusive=True, group="list")
    def _read(self) -> None:
        runs = self._list.reload()
        hand_over(self, self._take, runs)

    def _take(self, runs: list[RunSummary]) -> None:
        if runs != self._runs or not self._loaded:
            self._runs, self._loaded = runs, True
            self.app.marked &= {run.path for run in runs}
            self._fill()
            self._share_out()
        else:
            self.query_one(Preview).want(self.current)  # its note may have changed

    def _fill(self) -> None:
        """The rows as they are to be now, the cursor on the run that it was on."""
        if not self._loaded:
            return
        table = self.query_one(RunTable)
        table.empty = () if self._runs else NO_RUNS
        shown = arranged(self._runs, self._words, self._letter, self._reverse)
        table.show(
            shown,
            self.app.marked,
            longest=max((len(run.name) for run in self._runs), default=0),
            sorted_by=self._letter,
            reverse=self._reverse,
            asks=self._sorting,
        )
        self._show_count(len(shown))
        self._show_keys()
        self.query_one(Preview).display = bool(self._runs)
        self.query_one(Preview).want(self.current)

    def on_resize(self) -> None:
        self.call_after_refresh(self._share_out)

    def _share_out(self) -> None:
        """What the rows of few runs leave free goes to the preview."""
        preview = self.query_one(Preview)
        least = preview.styles.base.height
        free = self.size.height - OTHER_LINES - len(self._runs)
        if least is not None:
            preview.styles.height = max(min(round(least.value), self.size.height * 3 // 5), free)

    def _show_count(self, shown: int) -> None:
        live = sum(run.state in RUNNING for run in self._runs)
        parts = [f"{len(self._runs)} run{'s' * (len(self._runs) != 1)}"]
        parts += [f"{live} training"] * bool(live)
        parts += [f"{len(self.app.marked)} marked"] * bool(self.app.marked)
        self.query_one(TitleBar).show(f"runs in {self.app.runs_dir}", " · ".join(parts))
        words = printable(self._words)
        if self._sorting:
            told = "sort by: the letter of a column; a capital reverses"
        elif self._runs and not shown:
            told = f"nothing matches {words!r}: esc shows all"
        elif not self._runs:
            told = ""
        else:
            found = f"{shown} match {words!r} · " if words else ""
            told = f"{found}by {order_name(self._letter)}"
        self.query_one(RunTable).border_subtitle = told.replace("[", "\\[")

    @property
    def current(self) -> RunSummary | None:
        return self.query_one(RunTable).current

    @property
    def nothing_here(self) -> str:
        return f"no run matches {self._words!r}: esc shows all" if self._runs else "no run here: N trains one"

    @on(RunTable.Highlighted)
    def _highlighted(self) -> None:
        self.query_one(Preview).want(self.current)

    @on(RunTable.Opened)
    def _opened(self) -> None:
        self.action_open()

    @on(RunTable.HeadingClicked)
    def _heading_clicked(self, event: RunTable.HeadingClicked) -> None:
        self._reverse = event.column.key == self._letter and not self._reverse
        self._letter = event.column.key
        self._fill()

    # -- filter and sort -------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        before, self._words = self.current, event.value
        self._fill()
        if before is not None and self.current != before:
            self.query_one(RunTable).action_scroll_top()  # its run does not match: on the first that does

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one("#filter").display = bool(self._words)
        self.query_one(RunTable).focus()

    def go_back(self) -> bool:
        """esc: the sort question or the filter away."""
        if self._sorting:
            self._ask_sort(False)
            return True
        line = self.query_one("#filter", Input)
        if line.display:
            line.value = ""
            line.display = False
            self.query_one(RunTable).focus()
            return True
        return False

    def action_sort(self) -> None:
        self._ask_sort(True)

    def _ask_sort(self, ask: bool) -> None:
        self._sorting = ask
        self._fill()

    async def on_event(self, event: Event) -> None:
        """A letter after `o` is a column's, before it is a key of anything else."""
        if isinstance(event, Key) and self._sorting and event.character and event.character.lower() in BY_LETTER:
            event.stop()
            event.prevent_default()
            self._letter, self._reverse = event.character.lower(), event.character.isupper()
            self._ask_sort(False)
            return
        await super().on_event(event)

    # -- marks -----------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        if run := self._under_cursor():
            self.app.marked ^= {run.path}
            self._fill()
            self.query_one(RunTable).action_cursor_down()

    def action_mark_all(self) -> None:
        if self._under_cursor() is None:
            return
        paths = {run.path for run in self.query_one(RunTable).rows}
        self.app.marked = set() if paths <= self.app.marked else self.app.marked | paths
        self._fill()

    def action_compare(self) -> None:
        in_order = arranged(self._runs, "", self._letter, self._reverse)
        paths = [run.path for run in in_order if run.path in self.app.marked]
        if len(paths) < 2:
            self.notify("mark two runs or more with space, then v", timeout=4)
            return
        runs: list[RunDir] = []
        for path in paths:
            if len(runs) == MOST_COMPARED:
                self.notify(f"the first {MOST_COMPARED} of {len(paths)} marked runs", timeout=4)
                break
            try:
                runs.append(RunDir.open(Path(path)))
            except UserError as error:
                self._sorry(error)
        if len(runs) >= 2:
            self.app.push_screen(CompareScreen(runs))
