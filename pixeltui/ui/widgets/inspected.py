"""What one looks at on the inspection screen: pictures, a table, or lines of text, with a note under them."""

from typing import Final

from rich.text import Text
from textual import events as textual_events
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import DataTable, Static

from pixeltui.errors import printable
from pixeltui.session.wishes import Group, Pane
from pixeltui.ui.colors import theme_for
from pixeltui.ui.widgets.gallery import Gallery, Picture
from pixeltui.ui.widgets.images import MAX_SCALE, MIN_SCALE
from pixeltui.ui.widgets.pixels import cell_size

BARS: Final = frozenset("▁▂▃▄▅▆▇")
KINDS: Final = {"good": "good", "bad": "bad", "title": "accent", "text": "text", "muted": "muted"}


class Inspected(Vertical):
    """One pane at a time; of each it remembers the group of pictures that one was at."""

    def __init__(self) -> None:
        super().__init__(id="seen", classes="pane")
        self.pane: Pane | None = None
        self._places: dict[str, int] = {}
        self._alone: int | None = None
        """the tile that is seen alone"""

    def compose(self) -> ComposeResult:
        yield Gallery(empty="")
        yield DataTable(id="figures", cursor_type="row", cursor_foreground_priority="renderable")
        with VerticalScroll(id="words"):
            yield Static()
        yield Static(id="note")

    def on_mount(self) -> None:
        for widget in (self.query_one(DataTable), self.query_one("#words")):
            widget.can_focus = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show())

    @property
    def gallery(self) -> Gallery:
        return self.query_one(Gallery)

    @property
    def _group(self) -> Group | None:
        pane = self.pane
        return pane.groups[self._places.get(pane.name, 0)] if pane is not None and pane.groups else None

    def show(self, pane: Pane | None) -> None:
        """None: what was asked for has not come yet."""
        self.pane, self._alone = pane, None
        self._show()

    def wait(self, text: str) -> None:
        """What is said in place of a pane that is not there yet."""
        if self.pane is None:
            self.gallery.empty = text or "…"
            self.gallery.set_pictures([])

    def _show(self) -> None:
        pane = self.pane
        table, words = self.query_one(DataTable), self.query_one("#words")
        table.display = pane is not None and bool(pane.heads)
        words.display = pane is not None and bool(pane.lines)
        self.gallery.display = not table.display and not words.display
        if pane is not None and pane.heads:
            self._fill_table(pane)
        elif pane is not None and pane.lines:
            self._fill_words(pane)
        else:
            self._fill_gallery()
        self._show_note()

    def _fill_words(self, pane: Pane) -> None:
        theme = theme_for(self.app.current_theme.dark)
        text = Text()
        for kind, line in pane.lines:
            bold = "bold " if kind in ("good", "bad", "title") else ""
            text.append(printable(line) + "\n", f"{bold}{theme.resolve(KINDS.get(kind, 'text'))}")
        self.query_one("#words > Static", Static).update(text)

    def _fill_table(self, pane: Pane) -> None:
        theme = theme_for(self.app.current_theme.dark)
        table = self.query_one("#figures", DataTable)
        table.clear(columns=True)
        narrow = self.size.width < 98
        for head in pane.heads:
            table.add_column(Text(head, f"bold {theme.muted}"))
        for row in pane.rows:
            bars = [cell[::2] if narrow and set(cell) & BARS else cell for cell in row]
            cells = [Text(printable(cell), theme.text, no_wrap=True) for cell in bars]
            cells[0].stylize("bold")
            if cells[-1].plain and not cells[-1].plain.startswith("0 of"):
                cells[-1].stylize(theme.accent if set(cells[-1].plain) == {"█"} else theme.bad)
            for cell in cells[1:]:
                if set(cell.plain) & BARS:
                    cell.stylize(theme.resolve("series0"))
            table.add_row(*cells)

    def _fill_gallery(self) -> None:
        """The group's pictures, or the one of them that is seen alone."""
        gallery, group = self.gallery, self._group
        if group is None:
            gallery.set_pictures([])
            return
        tiles = group.tiles if self._alone is None else (group.tiles[self._alone],)
        beside = group.beside if self._alone is None else 1
        gallery.set_pictures([Picture(tile.rgb, tile.width, tile.height, tile.label) for tile in tiles])
        first = tiles[0]
        screen = self.screen.size
        room = gallery.size.width or screen.width - 4, (gallery.size.height or screen.height - 8) - 1
        gallery.most_columns, scale = arranged(first.width, first.height, len(tiles), beside, *room)
        gallery.set_scale(scale)

    def _show_note(self) -> None:
        pane, group = self.pane, self._group
        note, about = pane.note if pane is not None else "", ""
        if pane is not None and group is not None:
            about = group.name
            if len(pane.groups) > 1:
                about = f"↑↓ {self._places.get(pane.name, 0) + 1} of {len(pane.groups)}: {about}"
            note = group.tiles[self.gallery.index if self._alone is None else self._alone].note
        self.border_subtitle = Text(printable(about))
        self.query_one("#note", Static).update(Text(printable(note)))

    def on_resize(self, event: textual_events.Resize) -> None:
        self.call_after_refresh(self._show)

    @on(Gallery.Highlighted)
    def _highlighted(self) -> None:
        self._show_note()

    # -- moving ----------------------------------------------------------------------------------------------------

    def move(self, by: int) -> None:
        """To a picture so many places on."""
        if self._alone is None:
            self.gallery.action_move(by, 0)
        elif self._group is not None:
            self._alone = min(max(self._alone + by, 0), len(self._group.tiles) - 1)
            self._show()

    def turn(self, by: int) -> None:
        """To another group; in a table or a text, lines."""
        pane = self.pane
        if pane is None:
            return
        if pane.heads:
            table = self.query_one(DataTable)
            table.move_cursor(row=min(max(table.cursor_row + by, 0), len(pane.rows) - 1))
        elif pane.lines:
            self.query_one("#words").scroll_relative(y=by, animate=False)
        elif len(pane.groups) > 1:
            before = self._places.get(pane.name, 0)
            self._places[pane.name] = min(max(before + by, 0), len(pane.groups) - 1)
            if self._alone is not None:
                self._alone = min(self._alone, len(pane.groups[self._places[pane.name]].tiles) - 1)
            self._show()
        else:
            self.gallery.action_move(0, by)

    def page(self, by: int) -> None:
        if self.pane is not None and (self.pane.heads or self.pane.lines):
            self.turn(by * max(self.size.height - 4, 1))
        else:
            self.gallery.action_page(by)

    def see_one(self) -> None:
        """One picture as large as there is room, with the arrows to the next; and back."""
        if self._alone is not None:
            self.see_all()
        elif self._group is not None:
            self._alone = self.gallery.index
            self._show()

    def see_all(self) -> bool:
        """Out of the one picture; whether one was seen alone."""
        if self._alone is None:
            return False
        index, self._alone = self._alone, None
        self._show()
        self.gallery.move_to(index)
        return True


def arranged(width: int, height: int, count: int, beside: int, columns: int, rows: int) -> tuple[int, int]:
    """(tiles a row, scale) for pictures of width x height in a gallery of columns x rows cells.

    Everything on one page where that can be at half size or more; else tiles as large as lets a few be seen. Those that
    belong beside one another are.
    """
    best = (beside, MIN_SCALE)
    for scale in range(MIN_SCALE, MAX_SCALE + 1):
        cells = cell_size(width, height, scale)
        across = columns // (cells[0] + 2) // beside * beside
        down = rows // (cells[1] + 2)
        if across >= beside and down >= 1 and (scale <= 0 + (width <= 16) or across * down >= count):
            best = (min(across, count), scale)
    return best
