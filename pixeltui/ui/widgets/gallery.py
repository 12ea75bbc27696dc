"""Many images in pages of tiles that reflow with the window."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from pixeltui.errors import printable
from pixeltui.ui.colors import Depth, theme_for
from pixeltui.ui.widgets.images import MAX_SCALE, MIN_SCALE, ImageTile
from pixeltui.ui.widgets.pixels import cell_size, largest_scale


@dataclass
class Picture:
    """An image of a gallery. rgb: row-major, three bytes a pixel. rows_done: None for all of them."""

    rgb: bytes
    width: int
    height: int
    label: str = ""
    rows_done: int | None = None


class _Status(Widget):
    """The line under the tiles."""

    DEFAULT_CSS = "_Status { height: 1; width: 1fr; dock: bottom; }"
    parts: tuple[str, ...] = ()

    def show(self, *parts: str) -> None:
        """The most important first: the last go where there is no room."""
        if parts != self.parts:
            self.parts = parts
            self.refresh()

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        style = Style(color=theme.muted, bgcolor=self.background_colors[1].hex6)
        width, parts = self.size.width, self.parts
        while len(text := "   ".join(parts)) > width - 2 and parts:
            parts = parts[:-1]
        return Strip([Segment(text.center(width), style)], width)


class Gallery(Widget, can_focus=True):
    """Tiles of pictures of one size, a cursor among them, as many pages as it takes.

    `scale` is what was asked for; `shown_scale` what fits (quadrants where not one whole tile does).
    """

    DEFAULT_CSS = """
    Gallery { width: 1fr; height: 1fr; overflow: hidden; }
    Gallery > #tiles { width: 1fr; height: 1fr; overflow: hidden; }
    Gallery ImageTile { position: absolute; }
    Gallery .row-name { position: absolute; width: auto; height: 1; color: $text-muted; }
    """

    class Highlighted(Message):
        """The cursor stands on the picture of this index."""

        def __init__(self, gallery: "Gallery", index: int) -> None:
            super().__init__()
            self.gallery = gallery
            self.index = index

        @property
        def control(self) -> "Gallery":
            return self.gallery

    class Selected(Highlighted):
        """The picture of this index was opened."""

    def __init__(
        self,
        pictures: Sequence[Picture] = (),
        *,
        scale: int = 1,
        depth: Depth | None = None,
        empty: str = "no pictures yet",
        name: str | None = None,
        id: str | None = None,  # noqa: A002 (textual's name)
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.pictures = list(pictures)
        self.scale = self.shown_scale = scale
        self.depth = depth
        self.empty = empty
        self.index = 0
        self.columns = self.rows = 1
        self.shows_cursor = True
        self.most_columns: int | None = None
        """images that belong in one row, where some do"""
        self.row_names: Sequence[str] = ()
        """of these rows, to their left; the labels of their images may begin with them"""
        self._tiles: list[ImageTile] = []
        self._names: list[Static] = []

    def compose(self) -> ComposeResult:
        yield Container(id="tiles")
        yield _Status()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    # -- pictures --------------------------------------------------------------------------------------------------

    def set_pictures(self, pictures: Sequence[Picture]) -> None:
        """Show others; the cursor stays at its place while there is one."""
        self.pictures = list(pictures)
        self.index = max(0, min(self.index, len(self.pictures) - 1))
        self._arrange()

    def set_rows(self, index: int, rgb: bytes, rows_done: int) -> None:
        """A picture in progress: its first rows are drawn. Raises IndexError."""
        picture = self.pictures[index]
        picture.rgb, picture.rows_done = rgb, rows_done
        place = index - self.page * self.page_size
        if 0 <= place < len(self._tiles):
            self._tiles[place].set_rows(rgb, rows_done)

    @property
    def page_size(self) -> int:
        return self.columns * self.rows

    @property
    def page(self) -> int:
        return self.index // self.page_size

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.pictures) // self.page_size))

    def set_scale(self, scale: int) -> None:
        """1 to 8: half blocks; 0 and below: quadrants, halved each time."""
        self.scale = max(MIN_SCALE, min(MAX_SCALE, scale))
        self._arrange()

    def fit(self) -> None:
        """The largest scale at which one page shows everything: large images no smaller than half, rows a quarter."""
        if not self.pictures or not self.size:
            return
        width, height, count = self.size.width, self.size.height - 1, len(self.pictures)
        smallest = -1 if self.most_columns else 0 if self.pictures[0].width > 16 else 1
        for scale in range(MAX_SCALE, smallest - 1, -1):
            cells = cell_size(self.pictures[0].width, self.pictures[0].height, scale)
            across = min((width - self._gutter) // (cells[0] + 2), self.most_columns or count)
            if self.most_columns and across < self.most_columns:
                continue
            if across * (height // (cells[1] + 2)) >= count:
                break
        self.set_scale(scale)

    def show_cursor(self, shown: bool) -> None:
        """Whether there is a frame around the picture that the cursor stands on."""
        self.shows_cursor = shown
        if self._tiles:
            self._mark()

    def move_to(self, index: int) -> None:
        """Put the cursor on a picture, the nearest one there is."""
        index = max(0, min(index, len(self.pictures) - 1))
        if index == self.index or not self.pictures:
            return
        page = self.page
        self.index = index
        if self.page != page:
            self._arrange()
        else:
            self._mark()
        self.post_message(self.Highlighted(self, index))

    # -- actions, for bindings -------------------------------------------------------------------------------------

    def action_move(self, columns: int, rows: int) -> None:
        """By tiles. Up and down keep the column; past the page's edge comes the next page."""
        index = self.index + columns + rows * self.columns
        if rows and not 0 <= index < len(self.pictures):
            return
        self.move_to(index)

    def action_page(self, pages: int) -> None:
        self.move_to(self.index + pages * self.page_size)

    def action_first(self) -> None:
        self.move_to(0)

    def action_last(self) -> None:
        self.move_to(len(self.pictures) - 1)

    def action_zoom(self, steps: int) -> None:
        """From what is shown now, so that a step always does something where it can."""
        self.set_scale(self.shown_scale + steps)

    def action_toggle_renderer(self) -> None:
        """Between half blocks and quadrants of half the size."""
        self.set_scale(0 if self.shown_scale >= 1 else 1)

    def action_select(self) -> None:
        if self.pictures:
            self.post_message(self.Selected(self, self.index))

    def on_click(self, event: events.Click) -> None:
        if isinstance(event.widget, ImageTile) and event.widget in self._tiles:
            self.move_to(self.page * self.page_size + self._tiles.index(event.widget))

    # -- layout ----------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Sizes of tiles and pages, and the tiles of this page: those that are there already are used again."""
        if not self.is_mounted or not self.size:
            return
        width, height = self.size.width, self.size.height - 1
        if not self.pictures:
            self._show_tiles([], width)
            status = self.query_one(_Status)
            status.styles.offset = (0, -(height // 2))
            status.show(self.empty)
            return
        self.query_one(_Status).styles.offset = (0, 0)
        first = self.pictures[0]
        fits = largest_scale(first.width, first.height, width - 2, height - 2)
        self.shown_scale = min(self.scale, fits)
        cells = cell_size(first.width, first.height, self.shown_scale)
        self.columns, self.rows = max(1, (width - self._gutter) // (cells[0] + 2)), max(1, height // (cells[1] + 2))
        if self.most_columns and self.columns < self.most_columns:
            self.columns = max(1, width // (cells[0] + 2))  # rows are no rows here
        self.columns = min(self.columns, self.most_columns or self.columns)
        start = self.page * self.page_size
        self._show_tiles(self.pictures[start : start + self.page_size], width)
        self._mark()

    def _show_tiles(self, pictures: Sequence[Picture], width: int) -> None:
        container = self.query_one("#tiles")
        new = [ImageTile(p.width, p.height, depth=self.depth) for p in pictures[len(self._tiles) :]]
        self._tiles += new
        for tile in self._tiles[len(pictures) :]:
            tile.remove()
        del self._tiles[len(pictures) :]
        names = self.row_names if self.most_columns and self.columns == self.most_columns else ()
        gutter = self._gutter if names else 0
        shift, first = 0, self.page * self.rows
        for place, (tile, picture) in enumerate(zip(self._tiles, pictures, strict=True)):
            tile.show(picture.rgb, picture.width, picture.height, self.shown_scale, picture.rows_done)
            row = place // self.columns
            name = names[first + row] if first + row < len(names) else ""
            tile.label = picture.label.removeprefix(name).lstrip() if name else picture.label
            columns, rows = tile.cells[0] + 2, tile.cells[1] + 2
            shift = max(0, width - gutter - columns * min(self.columns, len(self.pictures))) // 2
            tile.styles.offset = (shift + gutter + place % self.columns * columns, row * rows)
        self._show_names(names[first : first + self.rows] if pictures else (), shift)
        if new:
            container.mount_all(new)

    @property
    def _gutter(self) -> int:
        """Cells for the names of rows."""
        return max((cell_len(name) for name in self.row_names), default=-1) + 1

    def _show_names(self, names: Sequence[str], left: int) -> None:
        """Each beside the middle of its row."""
        for old in self._names[len(names) :]:
            old.remove()
        new = [Static(classes="row-name", markup=False) for _ in names[len(self._names) :]]
        self._names = [*self._names[: len(names)], *new]
        height = self._tiles[0].cells[1] if self._tiles else 0
        for row, (line, name) in enumerate(zip(self._names, names, strict=True)):
            line.update(printable(name))
            line.styles.offset = (left, row * (height + 2) + (height + 1) // 2)
        self.query_one("#tiles").mount_all(new)

    def _mark(self) -> None:
        place = self.index - self.page * self.page_size
        for i, tile in enumerate(self._tiles):
            tile.selected = i == place and self.shows_cursor
        start, shown = self.page * self.page_size, len(self._tiles)
        size = f"{self.shown_scale}:1" if self.shown_scale >= 1 else f"1:{2 ** (1 - self.shown_scale)}"
        pages = [f"page {self.page + 1} of {self.pages}"] * (self.pages > 1)
        seen = f"{start + 1}–{start + shown}" if shown > 1 else str(start + 1)
        self.query_one(_Status).show(f"{seen} of {len(self.pictures)}", *pages, size)
