"""Samples of a run: those that are being drawn, row by row, and all that were drawn before."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from pixeltui.errors import printable
from pixeltui.events import Frame
from pixeltui.store.rundir import RunDir
from pixeltui.ui.keys import Scope, bindings
from pixeltui.ui.sheets import ImageShape, frame_pictures, sheet_pictures
from pixeltui.ui.widgets.bordered import Bordered
from pixeltui.ui.widgets.gallery import Gallery, Picture

COOLEST, WARMEST = 0.1, 2.0


class SamplesPane(Bordered, Vertical):
    """A gallery of one sheet of samples, or of the frame in progress."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("samples")]
    scope: Scope = "samples"

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="pane")
        self.border_title = "Samples"
        self.temperature: float | None = None
        """for the next sample, where it was changed"""
        self._run: RunDir | None = None
        self._shape: ImageShape | None = None
        self._sheets: list[tuple[int, str]] = []
        self._index: int | None = None  # None: the newest, and what is in progress
        self._frame: Frame | None = None
        self._shown: object = None

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
        frame = self._frame
        newest = self._sheets[-1] if self._sheets else None
        if self._index is None and frame is not None and (newest is None or frame.step >= newest[0]):
            self._show_frame(frame)
        elif self._sheets:
            self._show_sheet(self._index if self._index is not None else len(self._sheets) - 1)
        elif self._shown is not None:
            self._shown = None
            self.gallery.set_pictures([])
            self.set_remark("")

    def _show_frame(self, frame: Frame) -> None:
        if frame is self._shown:
            return
        pictures = frame_pictures(frame)
        gallery = self.gallery
        before = self._shown
        self._shown = frame
        if isinstance(before, Frame) and before.step == frame.step and before.shape == frame.shape:
            for i, picture in enumerate(pictures):
                gallery.set_rows(i, picture.rgb, frame.rows_done)
        else:
            gallery.set_pictures(pictures)
        height = frame.shape[2]
        rows = f"row {frame.rows_done} of {height}" if frame.rows_done < height else "newest"
        self.set_remark(f"step {frame.step} · {rows}{self._next()}")

    def _show_sheet(self, index: int) -> None:
        index = max(0, min(index, len(self._sheets) - 1))
        step, relative = self._sheets[index]
        wanted = (self._run.path if self._run else None, relative, index, len(self._sheets), self.temperature)
        if wanted == self._shown:
            return
        self._shown = wanted
        pictures: list[Picture] = []
        path = self._path(relative)
        if path is not None and self._shape is not None:
            pictures = sheet_pictures(path, self._shape)
        self.gallery.set_pictures(pictures)
        self.set_remark(f"step {step} · {index + 1} of {len(self._sheets)}{self._next()}")

    def _path(self, relative: str):  # type: ignore[no-untyped-def]
        """The sheet's path, where it is within the run."""
        if self._run is None:
            return None
        path = self._run.path / relative
        return path if path.resolve().is_relative_to(self._run.path.resolve()) else None

    def _next(self) -> str:
        return "" if self.temperature is None else f" · next at {self.temperature:.2f}"

    # -- actions ---------------------------------------------------------------------------------------------------

    def action_show(self, by: int) -> None:
        if not self._sheets:
            return
        last = len(self._sheets) - 1
        index = max(0, (last if self._index is None else self._index) + by)
        self._index = None if index >= last and by > 0 else min(index, last)
        self._shown = None if self._index is None else self._shown
        self.update_data()

    def action_page(self, by: int) -> None:
        self.gallery.action_page(by)

    def action_zoom(self, by: int) -> None:
        self.gallery.action_zoom(by)

    def action_renderer(self) -> None:
        self.gallery.action_toggle_renderer()

    def action_temperature(self, by: float) -> None:
        self.temperature = round(min(max((self.temperature or 1.0) + by, COOLEST), WARMEST), 2)
        self._shown = None
        self.update_data()
        self.notify(f"the next sample is drawn at temperature {self.temperature:.2f}", markup=False)

    def action_copy(self) -> None:
        if self._sheets and (path := self._path(self._sheets[-1 if self._index is None else self._index][1])):
            self.app.copy_to_clipboard(str(path))
            self.notify(printable(str(path)), title="copied", markup=False)
