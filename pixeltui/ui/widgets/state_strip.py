"""The strip that says how a run is doing: labels and values in one or two lines. Where there is no room the least
important ones are left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.ui.colors import Depth, current_depth, theme_for

NARROW = 100
_GAP = 3  # cells between two items, a line in the middle


@dataclass(frozen=True)
class Item:
    """One value. priority: 0 is never left out before 1. width: cells to keep for the value. color: a theme's token."""

    key: str
    label: str
    value: str
    priority: int = 5
    width: int = 0
    color: str = "text"


def arrange(items: Sequence[Item], widths: dict[str, int], width: int, lines: int) -> list[list[Item]]:
    """Items by line, in their order: as many as fit, dropping from the least important and the last of these."""
    kept = list(items)
    while kept:
        rows: list[list[Item]] = [[]]
        used = 0
        for item in kept:
            size = item_width(item, widths)
            if rows[-1] and used + _GAP + size > width:
                rows.append([])
                used = 0
            used += size + (_GAP if rows[-1] else 0)
            rows[-1].append(item)
        if len(rows) <= lines and (len(kept) == 1 or all(_line_width(row, widths) <= width for row in rows)):
            return rows
        worst = max(range(len(kept)), key=lambda i: (kept[i].priority, i))
        del kept[worst]
    return []


def item_width(item: Item, widths: dict[str, int]) -> int:
    """Cells of label and value."""
    return cell_len(item.label) + bool(item.label) + max(widths.get(item.key, 0), cell_len(item.value))


def _line_width(row: Sequence[Item], widths: dict[str, int]) -> int:
    return sum(item_width(item, widths) for item in row) + _GAP * (len(row) - 1)


class StateStrip(Widget):
    """Items side by side. A value keeps the widest room that it ever took, so that its neighbours stand still."""

    DEFAULT_CSS = """
    StateStrip { width: 1fr; height: auto; }
    """

    def __init__(
        self,
        items: Iterable[Item] = (),
        *,
        lines: int = 1,
        narrow_lines: int | None = None,
        depth: Depth | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 (textual's name)
        classes: str | None = None,
    ) -> None:
        """narrow_lines: in a window of under 100 columns, where that is another number."""
        super().__init__(name=name, id=id, classes=classes)
        self._lines, self._narrow_lines = lines, narrow_lines or lines
        self.depth: Depth = depth or current_depth()
        self._items: list[Item] = []
        self._widths: dict[str, int] = {}
        self._shown: list[list[Item]] = []
        self.set_items(items)

    @property
    def lines(self) -> int:
        return self._lines_at(self.size.width)

    def _lines_at(self, width: int) -> int:
        return self._narrow_lines if 0 < width < NARROW else self._lines

    @property
    def items(self) -> list[Item]:
        return list(self._items)

    @property
    def shown(self) -> list[list[Item]]:
        """What there is room for, by line."""
        return self._shown

    def set_items(self, items: Iterable[Item]) -> None:
        """Show these; lines that stay the same are not drawn again."""
        self._items = list(items)
        for item in self._items:
            self._widths[item.key] = max(self._widths.get(item.key, 0), item.width, cell_len(item.value))
        if not self.is_mounted:
            return
        before = self._shown
        widths_before = [_line_width(row, self._widths) for row in before]
        self._shown = arrange(self._items, self._widths, self._room, self.lines)
        width = self.size.width
        for y in range(self.lines):
            old, new = before[y : y + 1], self._shown[y : y + 1]
            if old != new or widths_before[y : y + 1] != [_line_width(row, self._widths) for row in new]:
                self.refresh(Region(0, y, width, 1))

    @property
    def _room(self) -> int:
        return max(0, self.size.width - 2)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._lines_at(width)

    def on_resize(self) -> None:
        self._shown = arrange(self._items, self._widths, self._room, self.lines)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        background = self.background_colors[1].hex6

        def style(color: str, bold: bool = False) -> Style:
            return Style(color=theme.resolve(color), bgcolor=background, bold=bold)

        width = self.size.width
        segments = [Segment(" ", style("text"))]
        for i, item in enumerate(self._shown[y] if y < len(self._shown) else ()):
            if i:
                segments.append(Segment(" │ " if self.depth != "none" else " | ", style("faint")))
            if item.label:
                segments.append(Segment(item.label + " ", style("muted")))
            room = max(self._widths.get(item.key, 0), cell_len(item.value))
            value = item.value.rjust(room) if item.label else set_cell_size(item.value, room)
            segments.append(Segment(value, style(item.color, bold=not item.label)))
        return Strip(segments).adjust_cell_length(width, style("text"))
