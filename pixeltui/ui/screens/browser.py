"""The run browser: every run in a table, and what the one under the cursor looks like."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.coordinate import Coordinate
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import DataTable, Input
from textual.widgets.data_table import RowDoesNotExist
from textual.worker import get_current_worker

from pixeltui.errors import UserError, printable
from pixeltui.session.attach import AttachedSession
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import RunDir, check_name
from pixeltui.store.summary import RunSummary
from pixeltui.ui.colors import theme_for
from pixeltui.ui.keys import Scope, bindings, in_scope
from pixeltui.ui.run_list import BY_LETTER, COLUMNS, RUNNING, Column, RunList, arranged, fitting
from pixeltui.ui.screens.bars import BY_HEIGHT, BY_WIDTH, KeyBar, TitleBar
from pixeltui.ui.screens.compare import CompareScreen
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Ask, Choice, Prompt
from pixeltui.ui.screens.new_run import NewRun
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import ConfigPane
from pixeltui.ui.status import STATE_COLORS, STATE_MARKS
from pixeltui.ui.watch import Watch

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

RELOAD_SECONDS = 2.0
PREVIEW_SECONDS = 0.12
TAG_LENGTH = 40
WIDEST_NAME = 34


class RunTable(DataTable[Text], inherit_bindings=False):
    """Rows of runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key.binding for key in in_scope("runs") if not key.action.startswith("screen.")
    ]
    scope: Scope = "runs"

    def _update_dimensions(self, new_rows: object) -> None:
        """Columns have their widths, rows one line: measuring thousands of cells would only take time."""
        super()._update_dimensions(())


class BrowserScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("runs")]
    HORIZONTAL_BREAKPOINTS = BY_WIDTH
    VERTICAL_BREAKPOINTS = BY_HEIGHT

    app: "Console"
    scopes: ClassVar[list[Scope]] = ["runs", "everywhere"]

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunSummary] = []
        self._shown: list[RunSummary] = []
        self._loaded = False
        self._words, self._letter, self._reverse = "", "a", False
        self._sorting = False
        self._columns: list[Column] = []
        self._preview_timer: Timer | None = None
        self._previewed: tuple[str, str | None] | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield RunTable(id="runs", cursor_type="row", cursor_foreground_priority="renderable", classes="pane")
        yield Input(placeholder="words in name, state, data, preset, tags", id="filter", compact=True)
        with Horizontal(id="preview"):
            yield CurvesPane(id="curves", small=False, live=False)
            yield SamplesPane(id="samples")
            yield ConfigPane(id="config")
        yield KeyBar()

    def on_mount(self) -> None:
        self._list = RunList(self.app.runs_dir)
        table = self.query_one(RunTable)
        table.border_title = "Runs"
        for pane in self.query("#preview Chart, #preview Gallery, #preview ConfigPane"):
            pane.can_focus = False
        self.query_one(KeyBar).show(in_scope("runs", "everywhere"))
        line = self.query_one("#filter", Input)
        line.cursor_blink = line.display = False
        table.focus()
        self.query_one(TitleBar).show(f"runs in {self.app.runs_dir}")
        self.action_reload()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._ask_sort(False))
        self.set_interval(RELOAD_SECONDS, self._reload_if_seen)

    def on_screen_resume(self) -> None:
        self.action_reload()

    def _reload_if_seen(self) -> None:
        if self.app.screen is self:
            self.action_reload()

    def on_resize(self) -> None:
        self._fill()

    # -- the table -------------------------------------------------------------------------------------------------

    def action_reload(self) -> None:
        self._read()

    @work(thread=True, exclusive=True, group="list")
    def _read(self) -> None:
        runs = self._list.reload()
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._take, runs)

    def _take(self, runs: list[RunSummary]) -> None:
        if runs != self._runs or not self._loaded:
            self._runs, self._loaded = runs, True
            self._fill()

    def _fill(self) -> None:
        """The rows as they are to be now, the cursor on the run that it was on."""
        if not self._loaded:
            return
        table = self.query_one(RunTable)
        name_width = min(max((len(run.name) for run in self._runs), default=0) + 1, WIDEST_NAME)
        columns = fitting(self.size.width - 5, name_width)
        shown = arranged(self._runs, self._words, self._letter, self._reverse)
        at = self.current
        if columns == self._columns and [run.path for run in shown] == [run.path for run in self._shown]:
            self._change_cells(table, shown)
        else:
            self._columns = columns
            table.clear(columns=True)
            table.add_column(" ", width=1, key="mark")
            for column in columns:
                width = name_width if column.name == "name" else column.width
                table.add_column(self._heading(column), width=width, key=column.name)
            for run in shown:
                table.add_row(*self._cells(run), key=run.path)
        self._shown = shown
        self._put_cursor(table, at)
        self._show_count()
        self._preview_soon()

    def _change_cells(self, table: RunTable, shown: list[RunSummary]) -> None:
        for y, (old, new) in enumerate(zip(self._shown, shown, strict=True)):
            if old != new:
                for x, cell in enumerate(self._cells(new)):
                    table.update_cell_at(Coordinate(y, x), cell)

    def _put_cursor(self, table: RunTable, at: RunSummary | None) -> None:
        if at is not None:
            try:
                table.move_cursor(row=table.get_row_index(at.path), animate=False)
            except RowDoesNotExist:
                table.move_cursor(row=min(table.cursor_row, max(len(self._shown) - 1, 0)), animate=False)

    def _heading(self, column: Column) -> Text:
        theme = theme_for(self.app.current_theme.dark)
        sorts = column.key == self._letter
        name = column.name + (("▲" if self._reverse else "▼") if sorts else "")
        text = Text(name, f"bold {theme.accent if sorts or self._sorting else theme.muted}")
        if self._sorting:
            text = Text(f"{column.key}:{column.name}", f"bold {theme.warn}")
        text.justify = "right" if column.right else "left"
        return text

    def _cells(self, run: RunSummary) -> list[Text]:
        theme = theme_for(self.app.current_theme.dark)
        marked = run.path in self.app.marked
        cells = [Text("◆" if marked else " ", theme.accent)]
        for column in self._columns:
            text = printable(column.show(run))
            color = theme.text
            if column.name == "state":
                text, color = f"{STATE_MARKS[run.state]} {text}", theme.resolve(STATE_COLORS[run.state])
            elif column.name in ("data", "preset", "age", "step", "size", "img/s"):
                color = theme.muted
            elif column.name == "tags":
                color = theme.resolve("series2")
            style = f"bold {color}" if column.name in ("name", "val") else color
            cells.append(
                Text(text, style, no_wrap=True, overflow="ellipsis", justify="right" if column.right else "left")
            )
        return cells

    def _show_count(self) -> None:
        live = sum(run.state in RUNNING for run in self._runs)
        parts = [f"{len(self._runs)} run{'s' * (len(self._runs) != 1)}"]
        parts += [f"{live} training"] * bool(live)
        parts += [f"{len(self.app.marked)} marked"] * bool(self.app.marked)
        self.query_one(TitleBar).show(f"runs in {self.app.runs_dir}", " · ".join(parts))
        table = self.query_one(RunTable)
        if self._runs and not self._shown:
            table.border_subtitle = f"nothing matches {printable(self._words)!r}: esc shows all"
        elif not self._runs:
            table.border_subtitle = "no runs yet: N trains the first one, in three minutes with the preset quick"
        else:
            found = f"{len(self._shown)} match {printable(self._words)!r} · " if self._words else ""
            order = next(column.name for column in COLUMNS if column.key == self._letter)
            table.border_subtitle = f"{found}by {order}"

    @property
    def current(self) -> RunSummary | None:
        row = self.query_one(RunTable).cursor_row
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def _run(self) -> RunDir | None:
        """The run under the cursor, where it can be opened."""
        run = self.current
        if run is None:
            return None
        try:
            return RunDir.open(Path(run.path))
        except UserError as error:
            self._sorry(error)
            return None

    def _sorry(self, error: UserError) -> None:
        self.notify(printable(error), severity="warning", timeout=8, markup=False)

    # -- preview ---------------------------------------------------------------------------------------------------

    @on(DataTable.RowHighlighted)
    def _highlighted(self) -> None:
        self._preview_soon()

    def _preview_soon(self) -> None:
        if self._preview_timer is not None:
            self._preview_timer.stop()
        self._preview_timer = self.set_timer(PREVIEW_SECONDS, self._preview)

    def _preview(self) -> None:
        run = self.current
        wanted = (run.path, run.updated) if run else ("", None)
        if wanted != self._previewed:
            self._previewed = wanted
            self._read_preview(run)

    @work(thread=True, exclusive=True, group="preview")
    def _read_preview(self, run: RunSummary | None) -> None:
        watch: Watch | None = None
        if run is not None:
            try:
                watch = Watch(AttachedSession(RunDir.open(Path(run.path)), read_only=True), whole=False)
                watch.poll()
                watch.prepare()
            except UserError:
                watch = None
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._show_preview, watch)

    def _show_preview(self, watch: Watch | None) -> None:
        if not self.is_mounted:
            return
        curves, samples = self.query_one(CurvesPane), self.query_one(SamplesPane)
        if watch is None:
            samples.show_run(None, None, [], None)
            self.query_one(ConfigPane).show(None)
            return
        curves.show(watch.curves, watch.run)
        sheets = [(sample.step, sample.path) for sample in watch.view.samples]
        samples.show_run(watch.run, watch.shape, sheets, None)
        self.query_one(ConfigPane).show(watch.config)

    # -- filter and sort -------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._words = event.value
        self._fill()

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
        self._columns = []
        self._fill()
        if ask:
            self.query_one(RunTable).border_subtitle = "sort by: the letter of a column; a capital reverses"

    async def on_event(self, event: object) -> None:
        """A letter after `o` is a column's, before it is a key of anything else."""
        from textual.events import Key

        if isinstance(event, Key) and self._sorting and event.character and event.character.lower() in BY_LETTER:
            event.stop()
            event.prevent_default()
            self._letter, self._reverse = event.character.lower(), event.character.isupper()
            self._ask_sort(False)
            return
        await super().on_event(event)  # type: ignore[arg-type]

    # -- marks -----------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        if run := self.current:
            self.app.marked ^= {run.path}
            self._mark_cells()
            self.query_one(RunTable).action_cursor_down()

    def action_mark_all(self) -> None:
        paths = {run.path for run in self._shown}
        self.app.marked = set() if paths <= self.app.marked else self.app.marked | paths
        self._mark_cells()

    def _mark_cells(self) -> None:
        table = self.query_one(RunTable)
        theme = theme_for(self.app.current_theme.dark)
        for y, run in enumerate(self._shown):
            table.update_cell_at(Coordinate(y, 0), Text("◆" if run.path in self.app.marked else " ", theme.accent))
        self._show_count()

    def action_compare(self) -> None:
        paths = [run.path for run in self._runs if run.path in self.app.marked]
        if len(paths) < 2:
            self.notify("mark two runs or more with space, then v", timeout=4)
            return
        runs = []
        for path in paths[:6]:
            try:
                runs.append(RunDir.open(Path(path)))
            except UserError as error:
                self._sorry(error)
        if len(runs) >= 2:
            self.app.push_screen(CompareScreen(runs))

    # -- one run ---------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        if run := self._run():
            self.app.open_run(run)

    def action_draw(self) -> None:
        if run := self._run():
            self.app.open_sampling(run)

    def action_new(self) -> None:
        self.app.push_screen(NewRun(self.app.runs_dir), self._train)

    def _train(self, request: TrainRequest | None) -> None:
        if request is not None:
            self.app.train(request)

    def action_resume(self) -> None:
        run, summary = self._run(), self.current
        if run is None or summary is None:
            return
        if summary.state in RUNNING:
            self.app.open_run(run)
            return
        if summary.state == "finished":
            self.notify("this run is finished; N trains a new one", timeout=4)
            return
        command = f"pixeltui train --resume {run.name}"
        self.app.train(TrainRequest(runs_dir=self.app.runs_dir, resume=str(run.path), command=command))

    def action_rename(self) -> None:
        if run := self._run():

            def rename(name: str | None) -> None:
                if name and name != run.name:
                    self._change(lambda: run.rename(name))

            self.app.push_screen(Prompt("Rename", run.name, check=_wrong_name), rename)

    def action_tags(self) -> None:
        if run := self._run():
            old = " ".join(str(tag) for tag in run.meta().get("tags", []))

            def tag(text: str | None) -> None:
                if text is not None:
                    self._change(lambda: run.update_meta(tags=list(dict.fromkeys(text.split()))))

            self.app.push_screen(Prompt("Tags", old, hint="words, separated by spaces", check=_wrong_tags), tag)

    def action_note(self) -> None:
        if run := self._run():

            def write(text: str | None) -> None:
                if text is not None:
                    self._change(lambda: run.update_meta(note=text))

            self.app.push_screen(Prompt("Note", str(run.meta().get("note", ""))), write)

    def action_delete(self) -> None:
        summary = self.current
        if summary is None:
            return
        if summary.state in RUNNING:
            self.notify("this run is training: stop it before you delete it", severity="warning")
            return

        def delete(answer: str | None) -> None:
            if answer == "delete":
                self._change(lambda: RunDir(Path(summary.path)).delete())
                self.app.marked.discard(summary.path)

        body = f"{summary.name} goes to the trash folder .trash beside it."
        self.app.push_screen(Ask("Delete this run?", body, [Choice("y", "delete it", "delete")]), delete)

    def _change(self, change: object) -> None:
        try:
            change()  # type: ignore[operator]
        except UserError as error:
            self._sorry(error)
        self.action_reload()

    def action_copy_path(self) -> None:
        if run := self.current:
            self.app.copy_to_clipboard(run.path)
            self.notify(printable(run.path), title="copied", markup=False, timeout=3)

    def action_export(self) -> None:
        if run := self._run():
            out = f"{run.name}.safetensors"

            def export(path: str | None) -> None:
                if path:
                    self._export(run, Path(path).expanduser())

            hint = "the best weights, averaged, with a model card beside them"
            self.app.push_screen(Prompt("Export", out, hint=hint, check=_wrong_export), export)

    @work(thread=True, group="export")
    def _export(self, run: RunDir, out: Path) -> None:
        from pixeltui.session.export import export_run

        try:
            card = export_run(run, out, lambda text: self.app.call_from_thread(self._sorry, UserError(text)))
        except UserError as error:
            self.app.call_from_thread(self._sorry, error)
        else:
            said = printable(f"{out} and {card}")
            self.app.call_from_thread(self.notify, said, title="exported", markup=False)


def _wrong_name(name: str) -> str:
    try:
        check_name(name)
    except UserError:
        return "letters, digits, '.', '_' and '-' only, up to 100, not beginning with '.' or '-'"
    return ""


def _wrong_tags(text: str) -> str:
    return next((f"{tag[:20]}… is longer than {TAG_LENGTH}" for tag in text.split() if len(tag) > TAG_LENGTH), "")


def _wrong_export(path: str) -> str:
    return "" if path.endswith(".safetensors") else "expected a name that ends in .safetensors"
