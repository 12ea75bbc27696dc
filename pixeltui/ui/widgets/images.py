"""One image in half blocks, two pixels a cell, or in quadrants where it has to be smaller than that."""

from collections.abc import Sequence
from typing import Final, Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.filter import LineFilter
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.errors import printable
from pixeltui.ui.colors import Depth, current_depth, theme_for
from pixeltui.ui.widgets.dither import bayer_row, floyd_steinberg
from pixeltui.ui.widgets.inks import Inks
from pixeltui.ui.widgets.palette import depth_filters
from pixeltui.ui.widgets.pixels import cell_size, quadrant_cells, ramp_text

MIN_SCALE: Final = -3
MAX_SCALE: Final = 8


class ImageTile(Widget):
    """An image with a label under it and, when `selected`, a frame around it; its cells are cell_size() and one more on
    every side.

    scale: 1 is one pixel a column and two a row, exact; up to 8 whole times larger; 0, -1... halve it, in quadrants.
    """

    DEFAULT_CSS = """
    ImageTile { width: auto; height: auto; }
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        label: str = "",
        scale: int = 1,
        depth: Depth | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 (textual's name)
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.depth: Depth = depth or current_depth()
        self._label = printable(label)
        self._selected = False
        self._inks: Inks | None = None
        self._marks: dict[Literal["empty", "label", "frame"], Style] = {}
        self._reset(width, height, scale)

    def _reset(self, width: int, height: int, scale: int) -> None:
        if width < 1 or height < 1 or not MIN_SCALE <= scale <= MAX_SCALE:
            raise ValueError(f"no picture of {width}x{height} at scale {scale}")
        self.image_width, self.image_height, self.scale = width, height, scale
        self.rows_done = 0
        self._rgb = bytes(3 * width * height)
        self._indexed = bytearray(width * height)
        self._dithered = False  # by error diffusion: all rows depend on one another
        self._cells: list[list[Segment] | None] = [None] * self.cells[1]

    @property
    def cells(self) -> tuple[int, int]:
        """Columns and rows of the picture alone."""
        return cell_size(self.image_width, self.image_height, self.scale)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self.cells[0] + 2

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.cells[1] + 2

    # -- what is shown ---------------------------------------------------------------------------------------------

    def show(self, rgb: bytes, width: int, height: int, scale: int, rows_done: int | None = None) -> None:
        """Everything at once; rows_done is None for a finished image."""
        self._resize(width, height, scale)
        self.set_rows(rgb, height if rows_done is None else rows_done)

    def set_rows(self, rgb: bytes, rows_done: int) -> None:
        """Show an image of which the first rows are drawn: only the rows that changed are drawn again. rgb: all of it,
        whatever the rest holds. Raises ValueError if the bytes do not fit the size."""
        self._show(rgb, max(0, min(rows_done, self.image_height)), finished=rows_done >= self.image_height)

    def clear(self) -> None:
        self._reset(self.image_width, self.image_height, self.scale)
        self.refresh()

    def set_scale(self, scale: int) -> None:
        self._resize(self.image_width, self.image_height, scale)

    @property
    def label(self) -> str:
        return self._label

    @label.setter
    def label(self, label: str) -> None:
        label = printable(label)
        if label != self._label:
            self._label = label
            self.refresh(Region(0, self.cells[1] + 1, self.cells[0] + 2, 1))

    @property
    def selected(self) -> bool:
        return self._selected

    @selected.setter
    def selected(self, selected: bool) -> None:
        if selected != self._selected:
            self._selected = selected
            columns, rows = self.cells
            self.refresh(Region(0, 0, columns + 2, 1), Region(0, rows + 1, columns + 2, 1))

    def _resize(self, width: int, height: int, scale: int) -> None:
        if (width, height, scale) == (self.image_width, self.image_height, self.scale):
            return
        rgb, done, same = self._rgb, self.rows_done, (width, height) == (self.image_width, self.image_height)
        self._reset(width, height, scale)
        if same and done:
            self._show(rgb, done, finished=done == height)
        self.refresh(layout=True)

    def _show(self, rgb: bytes, done: int, finished: bool) -> None:
        width, height = self.image_width, self.image_height
        if len(rgb) != 3 * width * height:
            raise ValueError(f"{len(rgb)} bytes do not make an image of {width}x{height} in RGB")
        line = 3 * width
        old, before = self._rgb, self.rows_done
        changed = [
            y
            for y in range(max(done, before))
            if (y < done) != (y < before) or old[y * line : (y + 1) * line] != rgb[y * line : (y + 1) * line]
        ]
        self._rgb, self.rows_done = bytes(rgb), done
        few = self.depth in ("256", "16") and self.scale >= 1
        if few and (changed or finished != self._dithered):
            changed = self._dither(changed, finished)
        self._refresh_rows(changed)

    def _dither(self, changed: list[int], finished: bool) -> list[int]:
        """Bring the indexed image up to date; returns the pixel rows that look different."""
        assert self.depth in ("256", "16")
        width, height, line = self.image_width, self.image_height, 3 * self.image_width
        if finished:
            new = floyd_steinberg(self._rgb, width, height, self.depth)
            parts = [slice(y * width, (y + 1) * width) for y in range(height)]
            rows = set(changed).union(y for y, part in enumerate(parts) if new[part] != self._indexed[part])
            self._indexed[:] = new
        else:
            rows = set(range(self.rows_done)) if self._dithered else set(changed)
            for y in rows:
                row = bayer_row(self._rgb[y * line : (y + 1) * line], y, self.depth)
                self._indexed[y * width : (y + 1) * width] = row
        self._dithered = finished
        return sorted(rows)

    def _refresh_rows(self, pixel_rows: list[int]) -> None:
        columns, rows = self.cells
        height, scale = self.image_height, self.scale
        stale: set[int] = set()
        for y in pixel_rows:
            if scale >= 1:
                stale.update(range(y * scale // 2, ((y + 1) * scale - 1) // 2 + 1))
            else:
                stale.update(r for r in range(rows) if r * height // rows <= y < max(-(-(r + 1) * height // rows), 1))
        for row in stale:
            self._cells[row] = None
        if stale:
            self.refresh(*(Region(0, row + 1, columns + 2, 1) for row in stale))

    # -- drawing ---------------------------------------------------------------------------------------------------

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Pixels are of the terminal's depth already; only what surrounds them has to be mapped."""
        return depth_filters(self.depth)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._inks = None

    def _on_resize(self, event: events.Resize) -> None:
        self._inks = None

    def _make_styles(self) -> Inks:
        theme = theme_for(self.app.current_theme.dark)
        background = self.background_colors[1].hex6.lower()
        self._inks = Inks(self.depth, background)
        self._cells = [None] * self.cells[1]
        self._marks = {
            "empty": Style(color=theme.faint, bgcolor=background),
            "label": Style(color=theme.muted, bgcolor=background),
            "frame": Style(color=theme.accent, bgcolor=background, bold=True),
        }
        return self._inks

    def render_line(self, y: int) -> Strip:
        inks = self._inks or self._make_styles()
        columns, rows = self.cells
        frame = self._marks["frame"]
        if y == 0 or y > rows + 1:
            top = f"┏{'━' * columns}┓" if self._selected and y == 0 else " " * (columns + 2)
            return Strip([Segment(top, frame)], columns + 2)
        if y == rows + 1:
            return self._label_line(columns)
        cells = self._cells[y - 1]
        if cells is None:
            cells = self._cells[y - 1] = self._picture_row(y - 1, columns, rows, inks)
        side = Segment(
            " ", frame
        )  # textual sends a row from the widget's left edge on: a frame there would send it all
        return Strip([side, *cells, side], columns + 2)

    def _label_line(self, columns: int) -> Strip:
        label = set_cell_size(self._label, columns) if cell_len(self._label) > columns else self._label
        space = columns - cell_len(label)
        left, right = space // 2, space - space // 2
        if not self._selected:
            return Strip([Segment(" " * (left + 1) + label + " " * (right + 1), self._marks["label"])], columns + 2)
        return Strip([Segment(f"┗{'━' * left}{label}{'━' * right}┛", self._marks["frame"])], columns + 2)

    def _picture_row(self, row: int, columns: int, rows: int, inks: Inks) -> list[Segment]:
        empty = Segment(("╱" if self.depth != "none" else "/") * columns, self._marks["empty"])
        if self.scale < 1:
            if row * self.image_height // rows >= self.rows_done:
                return [empty]
            rgb = self._rgb[: 3 * self.image_width * self.rows_done].ljust(len(self._rgb), b"\x40")
            cells = quadrant_cells(rgb, self.image_width, self.image_height, columns, rows, row)
            return inks.quadrant_segments(cells)
        upper, lower = 2 * row // self.scale, (2 * row + 1) // self.scale
        if upper >= self.rows_done:
            return [empty]
        if self.depth == "none":
            text = ramp_text(self._row(self._rgb, upper, 3), self._row(self._rgb, lower, 3), self.scale)
            return [Segment(text, Style.null())]
        pixels, size = (self._rgb, 3) if self.depth == "truecolor" else (bytes(self._indexed), 1)
        top, bottom = self._row(pixels, upper, size), self._row(pixels, lower, size)
        return inks.half_block_segments(top, bottom, size, self.scale)

    def _row(self, pixels: bytes, y: int, size: int) -> bytes:
        """Pixels of a row; none of one that is not drawn."""
        if y >= self.rows_done:
            return b""
        return pixels[size * self.image_width * y : size * self.image_width * (y + 1)]
