"""The sampling screen: images of a run's weights, drawn by a process of its own, row by row."""

from typing import TYPE_CHECKING, ClassVar, Literal

from rich.text import Text
from textual import events as textual_events
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input

from pixeltui.errors import UserError, printable
from pixeltui.session.wishes import AnyAnswer, Draw, Find, Found, Keep, Kept, Progress, Refused, Rows, Scored, Stop
from pixeltui.store.files import is_locked
from pixeltui.store.rundir import RunDir
from pixeltui.ui.draft import Draft
from pixeltui.ui.drawings import Earlier, Easel, HeatMap
from pixeltui.ui.keys import Scope, bindings, in_scope
from pixeltui.ui.screens.bars import BY_HEIGHT, BY_WIDTH, KeyBar, ProgressLine, TitleBar
from pixeltui.ui.screens.draw_form import DrawForm
from pixeltui.ui.widgets.gallery import Gallery

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

Mode = Literal["draw", "complete", "earlier"]
TITLES: dict[Mode, str] = {"draw": "1 Images", "complete": "2 Complete", "earlier": "3 Earlier"}
LOOK_SECONDS = 0.1
REST_SECONDS = 0.4
"""the row below which an image is completed has to rest for so long before that is drawn"""


class SamplingScreen(Screen[None]):
    """Polls the studio; every picture comes from an Easel (draw, complete), the run's folder (earlier) or a HeatMap."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("sampling")]
    HORIZONTAL_BREAKPOINTS = BY_WIDTH
    VERTICAL_BREAKPOINTS = BY_HEIGHT

    app: "Console"
    scopes: ClassVar[list[Scope]] = ["sampling", "everywhere"]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._first_run = run
        self.mode: Mode = "draw"
        self.easels = {"draw": Easel(), "complete": Easel()}
        self.earlier = Earlier()
        self.heat: HeatMap | None = None
        self._newest: dict[str, int] = {}
        """numbers of the wishes whose answers are still of interest: by mode, "found", and "scored"."""
        self._index, self._split_size = 0, 1
        self._rest: Timer | None = None
        self._zoomed = False
        self._kept = ""
        self._said = self._noted = ""

    def compose(self) -> ComposeResult:
        self.draft = Draft(self.app.runs_dir)
        yield TitleBar()
        yield ProgressLine()
        with Horizontal(id="studio"):
            yield DrawForm(self.draft, id="fields")
            with Vertical(id="canvas", classes="pane"):
                yield Gallery(empty="n draws")
        yield KeyBar()

    def on_mount(self) -> None:
        self.gallery.focus()
        self.query_one(KeyBar).show(in_scope("sampling", "everywhere"))
        self.draft.reload()
        self._use_run(self._first_run)
        self.set_interval(LOOK_SECONDS, self._look)
        self.action_draw_now()

    @property
    def gallery(self) -> Gallery:
        return self.query_one(Gallery)

    @property
    def form(self) -> DrawForm:
        return self.query_one(DrawForm)

    def _use_run(self, run: RunDir) -> None:
        try:
            self.draft.use_run(run)
        except UserError as error:
            self._say(str(error), wrong=True)
        self.easels["complete"].clear()
        self.earlier.use(run, self.draft.shape)
        self._index = 0
        self.form.show()

    # -- what the process says -------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.app.screen is not self:
            return
        if self.app.trains or (self.draft.run is not None and is_locked(self.draft.run.path)):
            self.app.studio.be_gentle()
        for answer in self.app.studio.poll():
            self._take(answer)

    def _take(self, answer: AnyAnswer) -> None:
        match answer:
            case Progress(text=text):
                self._say(f"{text} …")
            case Rows() if self._newest.get("draw") == answer.id:
                self._take_rows("draw", answer)
            case Rows() if self._newest.get("complete") == answer.id:
                self._take_rows("complete", answer)
            case Found() if self._newest.get("found") == answer.id:
                self._split_size = answer.count
                self.easels["complete"].take_original(answer)
                if self.mode == "complete":
                    self._show(fit=True)
                    self._complete_soon()
            case Scored() if self.heat is not None and self._newest.get("scored") == answer.id:
                self.heat.take(answer)
                self._show()
            case Kept(path=path):
                self._kept = path
                self._say(f"kept: {path}")
                self.notify(printable(path), title="kept, with what produced it beside it", markup=False, timeout=5)
            case Refused(message=message):
                for easel in self.easels.values():
                    easel.busy = False
                self._say(message, wrong=True)
                self.notify(printable(message), severity="warning", markup=False, timeout=8)
            case _:
                pass

    def _take_rows(self, mode: Mode, rows: Rows) -> None:
        new = self.easels[mode].take(rows)
        height, count = rows.shape[2], rows.shape[0] - rows.first
        if rows.done and rows.rows == height:
            speed = count / max(rows.seconds, 1e-6)
            self._say(f"{count} image{'s' * (count != 1)} in {rows.seconds:.2f} s, {speed:.1f} images/s")
        else:
            self._say(f"row {rows.rows} of {height}{', stopped' if rows.done else ''}")
        if self.mode == mode and self.heat is None:
            self.query_one(ProgressLine).show(rows.rows / height, "accent", f"row {rows.rows} of {height}")
            if new:
                self._show(fit=True)
            else:
                for index, picture in self.easels[mode].in_progress():
                    self.gallery.set_rows(index, picture.rgb, picture.rows_done or 0)

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._said = text
        self._show_title(wrong)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def _show(self, *, fit: bool = False) -> None:
        """The pictures of this mode, or of the heat map over it."""
        gallery = self.gallery
        if self.heat is not None:
            pictures, gallery.most_columns, note = self.heat.pictures(), 2, self.heat.note
        elif self.mode == "earlier":
            pictures, gallery.most_columns, note = self.earlier.pictures, self.earlier.columns, self.earlier.note
        else:
            easel = self.easels[self.mode]
            pictures, gallery.most_columns, note = easel.pictures(), easel.columns, self._note()
        gallery.empty = {"draw": "n draws", "complete": "an image of the data comes", "earlier": "nothing kept yet"}[
            self.mode
        ]
        gallery.set_pictures(pictures)
        if fit and not self._zoomed:
            gallery.fit()
        self._noted = note
        self.query_one("#canvas").border_subtitle = Text(printable(note.partition(" · ")[0]))
        self._show_title()

    def _note(self) -> str:
        if self.mode == "complete":
            rows = self.draft.shape.height if self.draft.shape else 0
            keep = self.easels["complete"].keep
            return f"keeps {keep} of {rows} rows: ↑ ↓ · {self._source} of {self._split_size}: ← →"
        return ""

    def _show_title(self, wrong: bool = False) -> None:
        name = self.draft.run.name if self.draft.run else ""
        self.query_one(TitleBar).show(f"{name} · drawing", "")
        tabs = "  ".join(f"▸ {title}" if mode == self.mode else title for mode, title in TITLES.items())
        heat = "Bits per pixel · ← → other images · esc back"
        self.query_one("#canvas").border_title = tabs if self.heat is None else heat
        self.form.tell("\n".join([self._said, *(["", *self._noted.split(" · ")] if self._noted else [])]))
        self.form.query_one("#about").set_class(wrong, "wrong")

    def on_resize(self, event: textual_events.Resize) -> None:
        self.call_after_refresh(self._refit)

    def _refit(self) -> None:
        if not self._zoomed:
            self.gallery.fit()

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, mode: Mode, wish: Draw) -> None:
        number = self.app.studio.ask(wish)
        self._newest[mode] = number
        if self.easels[mode].begin(wish, self.draft.shape):
            self._zoomed = False
            self._show(fit=True)
        self.query_one(ProgressLine).show(0.0, "accent", "")
        if self.app.studio.warm:
            self._say("drawing …")
        else:
            self._say("starting torch: the first rows take a few seconds …")

    def _draw(self, *, sweep: bool = False) -> None:
        try:
            if self.mode == "complete":
                easel = self.easels["complete"]
                wish = self.draft.wish(source=self._source, keep_rows=easel.keep)
            else:
                wish = self.draft.wish(sweep=self._across if sweep else 0)
        except UserError as error:
            self._say(str(error), wrong=True)
            return
        self.heat = None
        if self.mode == "earlier":
            self.mode = "draw"
        self._ask(self.mode, wish)

    @property
    def _across(self) -> int:
        """Images that fit side by side at half their size."""
        width = self.draft.shape.width if self.draft.shape else 8
        return max(1, self.gallery.size.width // (max(width // 2, 6) + 2))

    def action_draw_now(self) -> None:
        self.draft.look()
        self._draw()

    def action_draw_next(self) -> None:
        self._change("seed", 1)
        self._draw()

    def action_sweep(self) -> None:
        if self.mode != "draw":
            self.action_mode("draw")
        self._draw(sweep=True)

    def action_stop(self) -> None:
        if any(easel.busy for easel in self.easels.values()):
            self.app.studio.ask(Stop(id=0))

    def action_keep(self) -> None:
        self.app.studio.ask(Keep(id=0))

    def action_warm(self, by: float) -> None:
        self._change("temperature", 1 if by > 0 else -1)
        self._draw()

    def _change(self, key: str, by: int) -> None:
        self.draft.values[key] = self.draft.stepped(key, by)
        self.form.show()

    # -- completing ------------------------------------------------------------------------------------------------

    @property
    def _source(self) -> str:
        return f"test:{self._index}"

    def _find(self) -> None:
        if self.draft.run is None or self.draft.first_problem:
            self._say(self.draft.first_problem, wrong=True)
            return
        self._newest["found"] = self.app.studio.ask(Find(id=0, model=self.draft.model, source=self._source))

    def _complete_soon(self) -> None:
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_SECONDS, self._complete)

    def _complete(self) -> None:
        if self.mode == "complete" and self.heat is None and self.easels["complete"].original is not None:
            self._draw()

    def _move_completion(self, columns: int, rows: int) -> None:
        easel = self.easels["complete"]
        if rows and self.draft.shape is not None and easel.original is not None:
            easel.keep = min(max(easel.keep + rows, 0), self.draft.shape.height - 1)
            self._newest.pop("complete", None)
            easel.uncover()
            self._show()
            self._complete_soon()
        if columns:
            self._index = (self._index + columns) % max(self._split_size, 1)
            self._newest.pop("complete", None)
            self._find()

    # -- moving ----------------------------------------------------------------------------------------------------

    def action_mode(self, mode: Mode) -> None:
        self.mode, self.heat = mode, None
        self._zoomed = False
        self.gallery.focus()
        if mode == "earlier" and self.draft.run is not None:
            self.earlier.use(self.draft.run, self.draft.shape)
        elif mode == "complete" and self.easels["complete"].original is None:
            self.easels["complete"].keep = (self.draft.shape.height if self.draft.shape else 2) // 2
            self._find()
        self._show(fit=True)

    def action_move(self, columns: int, rows: int) -> None:
        if self.heat is not None:
            self._heat_of(self.heat.index + columns)
        elif self.mode == "complete":
            self._move_completion(columns, rows)
        elif self.mode == "earlier":
            if columns:
                self.earlier.move(columns)
                self._show(fit=True)
            else:
                self.gallery.action_move(rows, 0)
        else:
            self.gallery.action_move(columns, rows)

    def action_page(self, by: int) -> None:
        self.gallery.action_page(by)

    def action_scale(self, by: int) -> None:
        self._zoomed = True
        self.gallery.action_zoom(by)

    def action_renderer(self) -> None:
        self._zoomed = True
        self.gallery.action_toggle_renderer()

    def action_heat(self) -> None:
        if self.heat is None:
            self._heat_of(self.gallery.index)
        else:
            self.go_back()

    def _heat_of(self, index: int) -> None:
        source = self.earlier if self.mode == "earlier" else self.easels[self.mode]
        score = source.score(index, self.draft) if not self.draft.first_problem else None
        if score is None:
            return
        picture = source.pictures[index] if isinstance(source, Earlier) else source.pictures()[index]
        self.heat = HeatMap(index, picture, "" if score.label is None else self.draft.classes[score.label])
        self._newest["scored"] = self.app.studio.ask(score)
        self._show(fit=True)

    def action_fields(self) -> None:
        if self.has_class("-full"):
            self.action_full()
        self.form.query_one("#temperature").focus()

    def action_full(self) -> None:
        self.set_class(not self.has_class("-full"), "-full")
        self.call_after_refresh(self._refit)

    def action_copy(self) -> None:
        path = self.earlier.path if self.mode == "earlier" else self._kept
        if path:
            self.app.copy_to_clipboard(str(path))
            self.notify(printable(path), title="copied", markup=False)

    def go_back(self) -> bool:
        """esc: out of the fields, of the heat map, of the full screen; whether there was something to leave."""
        if isinstance(self.focused, Input):
            self.gallery.focus()
        elif self.heat is not None:
            self.heat = None
            self._show(fit=True)
        elif self.has_class("-full"):
            self.action_full()
        else:
            self.action_stop()
            return False
        return True

    @on(DrawForm.Submitted)
    def _submitted(self) -> None:
        self.action_draw_now()

    @on(DrawForm.Changed)
    def _form_changed(self, event: DrawForm.Changed) -> None:
        name = self.draft.values["run"]
        if event.run and name in self.draft.runs and (self.draft.run is None or name != self.draft.run.name):
            try:
                self._use_run(RunDir.open(self.draft.runs[name]))
            except UserError as error:
                self._say(str(error), wrong=True)
