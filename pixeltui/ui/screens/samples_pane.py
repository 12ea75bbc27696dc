"""Samples of a run: those that are being drawn, row by row, and all that were drawn before."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer

from pixeltui.config import Sample
from pixeltui.errors import UserError, printable
from pixeltui.events import Frame
from pixeltui.session.wishes import Progress, Refused, Scored
from pixeltui.store.rundir import RunDir
from pixeltui.ui.colors import current_depth
from pixeltui.ui.drawings import HeatMap
from pixeltui.ui.enlarged import wish_for_bits, write_png
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import bindings
from pixeltui.ui.sheets import ImageShape, frame_pictures, sheet_pictures
from pixeltui.ui.widgets.bordered import Bordered
from pixeltui.ui.widgets.gallery import Gallery, Picture

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

COOLEST, WARMEST = 0.1, 2.0
ENOUGH = 4
"""tiles on a page"""
LOOK_SECONDS = 0.2


class SamplesPane(Bordered, Vertical):
    """A gallery of one sheet of samples, or of the frame in progress."""

    class Enlarged(Message):
        """One sample is shown in large, or all of them again."""

        def __init__(self, pane: "SamplesPane", one: bool) -> None:
            super().__init__()
            self.pane = pane
            self.one = one

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("samples")]
    scope: Scope = "samples"

    app: "Console"

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="pane")
        self.border_title = "Samples"
        self.temperature: float | None = None
        """for the next sample, where it was changed"""
        self.has_next = False
        """whether the run can be told to draw one"""
        self._run: RunDir | None = None
        self._shape: ImageShape | None = None
        self._sheets: list[tuple[int, str]] = []
        self._index: int | None = None  # None: the newest, and what is in progress
        self._frame: Frame | None = None
        self._shown: object = None
        self._pictures: list[Picture] = []
        self._step = 0
        """of the weights that drew them"""
        self._zoomed = False
        self.heat: HeatMap | None = None
        """of the one that is enlarged"""
        self._asked = 0
        self._look_again: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Gallery(empty="no samples yet")

    @property
    def gallery(self) -> Gallery:
        return self.query_one(Gallery)

    def show_run(
        self, run: RunDir | None, shape: ImageShape | None, sheets: list[tuple[int, str]], frame: Frame | None
    ) -> None:
        """sheets: step and path within the run, in their order."""
        self._run, self._shape, self._sheets, self._frame = run, shape, sheets, frame
        self.update_data()

    def update_data(self) -> None:
        if not self.is_mounted:
            return
        if self.heat is not None:
            self._draw_on(self.heat)
            return
        frame = self._frame
        newest = self._sheets[-1] if self._sheets else None
        if self._index is None and frame is not None and (newest is None or frame.step >= newest[0]):
            self._show_frame(frame)
        elif self._sheets:
            self._show_sheet(self._index if self._index is not None else len(self._sheets) - 1)
        elif self._shown is not None:
            self._shown = None
            self._hang([])
            self.set_remark("")

    def _show_frame(self, frame: Frame) -> None:
        if frame is self._shown:
            return
        pictures = frame_pictures(frame)
        before, self._shown, self._step = self._shown, frame, frame.step
        if isinstance(before, Frame) and before.step == frame.step and before.shape == frame.shape:
            self._pictures = pictures
            for i, picture in enumerate(pictures):
                self.gallery.set_rows(i, picture.rgb, frame.rows_done)
        else:
            self._hang(pictures)
        height = frame.shape[2]
        rows = f"row {frame.rows_done} of {height}" if frame.rows_done < height else "newest"
        self.set_remark(f"step {frame.step} · {rows}{self._next()}")

    def _show_sheet(self, index: int) -> None:
        index = max(0, min(index, len(self._sheets) - 1))
        step, relative = self._sheets[index]
        wanted = (self._run.path if self._run else None, relative, index, len(self._sheets), self.temperature)
        if wanted == self._shown:
            return
        self._shown, self._step = wanted, step
        path = self._path(relative)
        self._hang(sheet_pictures(path, self._shape) if path is not None and self._shape is not None else [])
        self.set_remark(f"step {step} · {index + 1} of {len(self._sheets)}{self._next()}")

    def _hang(self, pictures: list[Picture]) -> None:
        others = [(p.width, p.height) for p in pictures] != [(p.width, p.height) for p in self._pictures]
        self._pictures = pictures
        self.gallery.set_pictures(pictures)
        if others:
            self._refit()

    def _refit(self) -> None:
        """As large as all of them fit; where they do not, pixel by pixel if four do, else at half that."""
        if self._zoomed:
            return
        gallery = self.gallery
        gallery.fit()
        if gallery.shown_scale < 1 and self.heat is None:
            gallery.set_scale(1)
            if current_depth() == "16":
                return  # half blocks are dithered, quadrants of 16 colours are next to nothing
            if gallery.shown_scale < 1 or gallery.page_size < ENOUGH:
                gallery.set_scale(0)

    def on_resize(self) -> None:
        self.call_after_refresh(self._refit)

    def _path(self, relative: str) -> Path | None:
        """The sheet's path, where it is within the run."""
        if self._run is None:
            return None
        path = self._run.path / relative
        return path if path.resolve().is_relative_to(self._run.path.resolve()) else None

    def _next(self) -> str:
        return "" if self.temperature is None or not self.has_next else f" · next at {self.temperature:.2f}"

    # -- one of them, and the bits of its pixels -------------------------------------------------------------------

    def _enlarge(self, index: int) -> None:
        if not 0 <= index < len(self._pictures) or self._run is None:
            return
        picture = self._pictures[index]
        classes = self._shape.classes if self._shape else ()
        rows = picture.height if picture.rows_done is None else picture.rows_done
        first = self.heat is None
        given = picture.label if picture.label in classes else ""
        self.heat = HeatMap(index, picture, rows, given)
        try:
            self._asked = self.app.studio.ask(wish_for_bits(self._run, picture, classes))
        except UserError as error:
            self._asked = 0
            self.heat.refuse(str(error))
        if first:
            self.border_title = "One sample, and the bits of its pixels"
            self.post_message(self.Enlarged(self, True))
            self._look_again = self.set_interval(LOOK_SECONDS, self._look)
        self._show_heat()

    def _draw_on(self, heat: HeatMap) -> None:
        """More rows of the one that is enlarged, of the frame or the sheet of its step; its bits once it is whole."""
        frame = self._frame if self._frame is not None and self._frame.step == self._step else None
        sheet = next((path for step, path in reversed(self._sheets) if step == self._step), None)
        if heat.whole or frame is self._shown:
            return
        if frame is not None:
            pictures = frame_pictures(frame)
        elif sheet is not None and (path := self._path(sheet)) is not None and self._shape is not None:
            pictures = sheet_pictures(path, self._shape)
        else:
            return
        self._shown = frame
        if heat.index >= len(pictures):
            return
        self._pictures, picture = pictures, pictures[heat.index]
        if picture.rows_done in (None, picture.height):
            self._enlarge(heat.index)
        else:
            heat.grow(picture)
            self.gallery.set_rows(0, picture.rgb, picture.rows_done)

    def _show_heat(self) -> None:
        if self.heat is None:
            return
        self.gallery.set_pictures(self.heat.pictures())
        self.gallery.move_to(0)
        self._refit()
        place = f"{self.heat.index + 1} of {len(self._pictures)}"
        self.set_remark(f"step {self._step} · {place} · {self.heat.note}")

    def _look(self) -> None:
        """What the process that scores has to say, while nobody else hears it."""
        if self.app.screen is not self.screen or self.heat is None:
            return
        if self.app.trains or (self._run is not None and self._run.is_locked()):
            self.app.studio.be_gentle()
        for answer in self.app.studio.poll():
            match answer:
                case Progress(id=number, text=text) if number == self._asked:
                    self.heat.note = f"{text} …"
                case Scored(id=number) if number == self._asked:
                    self.heat.take(answer)
                case Refused(message=message):
                    self.heat.refuse(message)
                case _:
                    continue
            self._show_heat()

    def leave_one(self) -> bool:
        """Back to all of them; whether one was shown."""
        if self.heat is None:
            return False
        index, self.heat = self.heat.index, None
        if self._look_again is not None:
            self._look_again.stop()
        self.border_title = "Samples"
        self._shown = None
        self._pictures, pictures = [], self._pictures
        self._hang(pictures)
        self.gallery.move_to(index)
        self.update_data()
        self.post_message(self.Enlarged(self, False))
        return True

    # -- actions ---------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """L is the learning rate's, but while an earlier sheet is shown."""
        return not (action == "show" and parameters == (10,) and self._index is None)

    def _nothing_here(self) -> bool:
        """Whether there is nothing to do anything to, which is said."""
        if not self._pictures:
            self.notify("no samples yet", timeout=2)
        return not self._pictures

    def action_show(self, by: int) -> None:
        if not self._sheets:
            self._nothing_here()
            return
        last = len(self._sheets) - 1
        index = max(0, (last if self._index is None else self._index) + by)
        self._index = None if index >= last and by > 0 else min(index, last)
        self._shown = None if self._index is None else self._shown
        heat, self.heat = self.heat, None
        self.update_data()
        if heat is not None:  # the same place on another sheet
            self.heat = heat
            self._enlarge(min(heat.index, len(self._pictures) - 1))

    def action_move(self, columns: int, rows: int) -> None:
        """The frame around one of the tiles; while one is enlarged, another one."""
        if self._nothing_here():
            return
        if self.heat is None:
            self.gallery.action_move(columns, rows)
        else:
            self._enlarge(self.heat.index + (columns or rows))

    def action_enlarge(self) -> None:
        if not self.leave_one() and not self._nothing_here():
            self._enlarge(self.gallery.index)

    def action_page(self, by: int) -> None:
        if self._nothing_here():
            return
        self.gallery.action_page(by)

    def action_zoom(self, by: int) -> None:
        if self._nothing_here():
            return
        self._zoomed = True
        self.gallery.action_zoom(by)

    def action_renderer(self) -> None:
        if self._nothing_here():
            return
        self._zoomed = True
        self.gallery.action_toggle_renderer()

    def action_temperature(self, by: float) -> None:
        self.temperature = round(min(max((self.temperature or self._own_temperature) + by, COOLEST), WARMEST), 2)
        self._shown = None
        self.update_data()
        if self.has_next:
            self.notify(f"the next sample is drawn at temperature {self.temperature:.2f}", markup=False)
        else:
            self.notify("no next sample: nothing trains here", timeout=3)

    @property
    def _own_temperature(self) -> float:
        """That which the run draws at by itself."""
        try:
            return self._run.config(resumed=True).sample.temperature if self._run is not None else Sample().temperature
        except UserError:
            return Sample().temperature

    def action_copy(self) -> None:
        if self._nothing_here():
            return
        if self._sheets and (path := self._path(self._sheets[-1 if self._index is None else self._index][1])):
            self.app.copy_to_clipboard(str(path))
            self.notify(printable(str(path)), title="copied", markup=False)

    def action_export(self) -> None:
        """The tile with the frame as a PNG file; while it is enlarged, with its bits beside it."""
        if self._nothing_here():
            return
        index = self.gallery.index if self.heat is None else self.heat.index
        if self._run is None or not 0 <= index < len(self._pictures):
            return
        pictures = [self._pictures[index]] if self.heat is None else self.heat.pictures()
        if any(one.rows_done is not None and one.rows_done < one.height for one in pictures):
            self.notify("it is not all there yet", severity="warning", timeout=3)
            return
        bits = "" if self.heat is None else "-bits"
        path = self._run.path / "images" / f"step-{self._step:08d}-{index + 1:03d}{bits}.png"
        try:
            write_png(path, pictures)
        except OSError as error:
            self.notify(printable(f"{path} could not be written: {error.strerror}"), severity="warning", markup=False)
            return
        self.notify(printable(str(path)), title="image written", markup=False)
