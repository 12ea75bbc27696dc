"""The sampling screen: images of a run's weights, drawn by a process of its own, row by row."""

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from pixeltui.errors import UserError, printable
from pixeltui.session.wishes import Found, Keep, Rows, Scored, Stop
from pixeltui.store.files import is_locked
from pixeltui.store.rundir import RunDir
from pixeltui.ui.draft import Draft
from pixeltui.ui.drawings import Earlier, Easel, HeatMap
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import FILLING, bindings, in_scope
from pixeltui.ui.screens.bars import KeyBar, ProgressLine, TitleBar
from pixeltui.ui.screens.canvas import NARROW, Canvas, Mode
from pixeltui.ui.screens.completing import Completing
from pixeltui.ui.screens.draw_form import DrawForm
from pixeltui.ui.screens.studio import Drawing, StudioScreen
from pixeltui.ui.widgets.gallery import Gallery


class SamplingScreen(StudioScreen):
    """Polls the studio; every picture comes from an Easel (draw, complete), the run's folder (earlier) or a HeatMap."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("sampling")]

    scopes: ClassVar[list[Scope]] = ["sampling", "everywhere"]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._first_run = run
        self.mode: Mode = "draw"
        self.completing = Completing(self)
        self.easels: dict[Drawing, Easel] = {"draw": Easel(), "complete": self.completing.easel}
        self.earlier = Earlier()
        self.heat: HeatMap | None = None
        self._said = self._noted = ""

    def compose(self) -> ComposeResult:
        self.draft = Draft(self.app.runs_dir)
        yield TitleBar()
        yield ProgressLine()
        with Horizontal(id="studio"):
            yield DrawForm(self.draft, id="fields")
            yield Canvas()
        yield KeyBar()

    def on_mount(self) -> None:
        self.gallery.focus()
        self.draft.reload()
        if self._use_run(self._first_run.path):
            self.action_draw_now()

    def on_descendant_focus(self) -> None:
        typing = isinstance(self.focused, Input)
        self.query_one(KeyBar).show(FILLING if typing else in_scope("sampling", "everywhere"))
        self.form.show_problems()

    @property
    def canvas(self) -> Canvas:
        return self.query_one(Canvas)

    @property
    def gallery(self) -> Gallery:
        return self.canvas.gallery

    @property
    def form(self) -> DrawForm:
        return self.query_one(DrawForm)

    def _use_run(self, path: Path) -> bool:
        """Whether it can be."""
        try:
            run = RunDir.open(path)
            self.draft.use_run(run)
        except UserError as error:
            self.sorry(str(error))
            return False
        self.easels["complete"].clear()
        self.earlier.use(run, self.draft.shape)
        self.form.show()
        return True

    # -- what the process says -------------------------------------------------------------------------------------

    def someone_trains(self) -> bool:
        return self.app.trains or (self.draft.run is not None and is_locked(self.draft.run.path))

    def take_found(self, found: Found) -> None:
        self.completing.take(found)

    def take_scored(self, scored: Scored) -> None:
        if self.heat is not None:
            self.heat.take(scored)
            self.show()

    def take_refusal(self) -> None:
        for easel in self.easels.values():
            easel.busy = False

    def take_rows(self, mode: Drawing, rows: Rows) -> None:
        new = self.easels[mode].take(rows)
        height, count = rows.shape[2], rows.shape[0] - rows.first
        if rows.done and rows.rows == height:
            speed = count / max(rows.seconds, 1e-6)
            self.say(f"{count} image{'s' * (count != 1)} in {rows.seconds:.2f} s, {speed:.1f} images/s")
        else:
            self.say(f"row {rows.rows} of {height}{', stopped' if rows.done else ''}")
        if self.mode == mode and self.heat is None:
            self.query_one(ProgressLine).show(rows.rows / height, "accent", f"row {rows.rows} of {height}")
            if new:
                self.show(fit=True)
            else:
                for index, picture in self.easels[mode].in_progress():
                    self.gallery.set_rows(index, picture.rgb, picture.rows_done or 0)
        elif self.mode == mode and self.heat is not None and rows.done and not self.heat.whole:
            self._heat_of(self.heat.index)

    def say(self, text: str, *, wrong: bool = False) -> None:
        self._said = text
        self._show_title(wrong)

    def sorry(self, text: str) -> None:
        """Says what is wrong beside the fields, where they do not yet, or, while they are hidden, over the images."""
        self.canvas.why_empty = text
        if self.has_class("-full"):
            self.notify(printable(text), title="/ shows the fields", severity="warning", markup=False)
        self.say(text, wrong=True)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def show(self, *, fit: bool = False) -> None:
        """The pictures of this mode, or of the heat map over it."""
        columns: int | None = 2
        rows: list[str] = []
        if self.heat is not None:
            pictures, note = self.heat.pictures(), self.heat.note
        elif self.mode == "earlier":
            pictures, columns, note = self.earlier.pictures, self.earlier.columns, self.earlier.note
            rows = self.earlier.row_names
        else:
            easel = self.easels[self.mode]
            pictures, columns, rows = easel.pictures(), easel.columns, easel.row_names
            note = self.completing.note if self.mode == "complete" else ""
        self.canvas.hang(self.mode, pictures, columns, rows, note=note.partition(" · ")[0], fit=fit)
        self._noted = note
        self._show_title()

    def _show_title(self, wrong: bool = False) -> None:
        name = self.draft.run.name if self.draft.run else ""
        self.query_one(TitleBar).show(f"{name} · drawing", "")
        self.canvas.name_it(self.mode, of_bits=self.heat is not None)
        said = "" if self._said == self.form.problem else self._said  # which stands above
        self.form.tell("\n".join([said, *(["", *self._noted.split(" · ")] if self._noted else [])]))
        self.form.query_one("#about").set_class(wrong, "wrong")

    # -- asking ----------------------------------------------------------------------------------------------------

    def draw(self, *, sweep: bool = False) -> None:
        if self.mode == "complete" and not self.easels["complete"].mask:
            self.completing.find()
            return
        try:
            if self.mode == "complete":
                wish = self.draft.wish(mask=self.easels["complete"].mask)
            else:
                wish = self.draft.wish(sweep=self.canvas.across(self.draft.shape) if sweep else 0)
        except UserError as error:
            self.sorry(str(error))
            return
        self.heat = None
        if self.mode == "earlier":
            self.action_mode("draw")
        drawing: Drawing = "complete" if self.mode == "complete" else "draw"
        self.ask(drawing, wish)
        if self.easels[drawing].begin(wish, self.draft.shape):
            self.canvas.zoomed = False
            self.show(fit=True)
        self.query_one(ProgressLine).show(0.0, "accent", "")
        self.say("drawing …" if self.app.studio.warm else "starting torch: the first rows take a few seconds …")

    def action_draw_now(self) -> None:
        self.draft.look()
        self.draw()

    def action_draw_next(self) -> None:
        self._draw_with("seed", 1)

    def action_sweep(self) -> None:
        if self.mode != "draw":
            self.action_mode("draw")
        self.draw(sweep=True)

    def action_stop(self) -> None:
        if any(easel.busy for easel in self.easels.values()):
            self.ask("", Stop(id=0))

    def action_keep(self) -> None:
        if any(easel.busy for easel in self.easels.values()):
            self.say("kept as soon as it is drawn; . stops it and keeps what is there")
        self.ask("", Keep(id=0))

    def action_warm(self, by: float) -> None:
        self._draw_with("temperature", 1 if by > 0 else -1)

    def _draw_with(self, key: str, by: int) -> None:
        self.draft.values[key] = self.draft.stepped(key, by)
        self.form.show()
        self.draw()

    # -- completing ------------------------------------------------------------------------------------------------

    def action_split(self) -> None:
        self.completing.next_split()

    def action_box(self) -> None:
        self.completing.next_kind()

    def action_grow(self, by: int) -> None:
        self.completing.grow(by)

    # -- moving ----------------------------------------------------------------------------------------------------

    def action_mode(self, mode: Mode) -> None:
        self.mode, self.heat = mode, None
        self.form.completes(mode == "complete")
        self.set_class(mode == "complete" and self.size.width < NARROW, "-full")
        self.canvas.zoomed = False
        self.gallery.focus()
        if mode == "earlier" and self.draft.run is not None:
            self.earlier.use(self.draft.run, self.draft.shape)
        elif mode == "complete" and self.easels["complete"].original is None:
            self.completing.find()
        self.show(fit=True)

    def action_move(self, columns: int, rows: int) -> None:
        if self.heat is not None:
            self._heat_of(self.heat.index + columns)
        elif self.mode == "complete":
            self.completing.move(columns, rows)
        elif self.mode == "earlier":
            if columns:
                self.earlier.move(columns)
                self.show(fit=True)
            else:
                self.gallery.action_move(rows, 0)
        else:
            self.gallery.action_move(columns, rows)

    def action_page(self, by: int) -> None:
        self.gallery.action_page(by)

    def action_scale(self, by: int) -> None:
        self.canvas.zoom(by)

    def action_renderer(self) -> None:
        self.canvas.toggle_renderer()

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
        self.heat = HeatMap(index, picture, score.rows, "" if score.label is None else self.draft.classes[score.label])
        self.ask("scored", score)
        self.show(fit=True)
        self.gallery.move_to(0)

    def action_fields(self) -> None:
        if self.has_class("-full"):
            self.action_full()
        self.form.query_one("#temperature").focus()

    def action_full(self) -> None:
        self.set_class(not self.has_class("-full"), "-full")
        self.call_after_refresh(self.canvas.refit)

    def action_copy(self) -> None:
        path = self.earlier.path if self.mode == "earlier" else self.kept
        if path:
            self.app.copy_to_clipboard(str(path))
            self.notify(printable(path), title="copied", markup=False)

    def go_back(self) -> bool:
        """esc: out of the fields, of the heat map, of the full screen; whether there was something to leave."""
        if isinstance(self.focused, Input):
            self.gallery.focus()
        elif self.heat is not None:
            index, self.heat = self.heat.index, None
            self.show(fit=True)
            self.gallery.move_to(index)
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
        if event.key == "run" and name in self.draft.runs and (self.draft.run is None or name != self.draft.run.name):
            self._use_run(self.draft.runs[name])
        if self.mode == "complete":
            self.completing.changed(event.key)
