"""A table of what differs between runs, its columns as wide as there is room for them."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.widgets import DataTable

from pixeltui.errors import printable
from pixeltui.ui.colors import theme_for

NARROWEST_KEY, NARROWEST, SCROLL_BAR = 10, 6, 2
"""cells"""


class Differences(DataTable[Text]):
    """A row a key, a column a run."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(
            id=id, cursor_type="row", cursor_foreground_priority="renderable", cell_padding=0, classes="pane"
        )
        self._names: Sequence[str] = ()
        self._keys: Sequence[Sequence[str]] = ()
        self._filled: tuple[int, int, int] | None = None

    def show(self, names: Sequence[str], keys: Sequence[Sequence[str]]) -> None:
        """keys: each with its values."""
        self._names, self._keys, self._filled = names, keys, None
        self.on_resize(None)

    def on_resize(self, event: Any) -> None:
        self._fill()
        first, width, gap = self._widths()
        seen, count = (self.size.width - SCROLL_BAR - first) // (width + gap), len(self._names)
        self.border_subtitle = f"{seen} of {count} runs · z shows more" if seen < count else ""

    def _fill(self) -> None:
        """Anew where the columns have another width."""
        widths = self._widths()
        if not self._names or widths == self._filled:
            return
        self._filled = widths
        first, width, gap = widths
        theme, row = theme_for(self.app.current_theme.dark), self.cursor_row
        self.clear(columns=True)
        self.add_column("", width=first + gap)
        for i, name in enumerate(self._names):
            style = f"bold {theme.resolve(f'series{i % 6}')}"
            self.add_column(_cell(ends(name, width), style, width), width=width + gap)
        for key, *values in self._keys:
            style = theme.muted if len(set(values)) == 1 else theme.text
            self.add_row(_cell(key, theme.muted, first), *(_cell(value, style, width) for value in values))
        self.move_cursor(row=row)

    def _widths(self) -> tuple[int, int, int]:
        """Of the keys, of the values of each run, and of what is between them: less where it would cut a run off."""
        first, width = self._widths_beside(gap=2)
        if width >= NARROWEST:
            return first, width, 2
        first, width = self._widths_beside(gap=1)
        return first, max(width, NARROWEST), 1

    def _widths_beside(self, gap: int) -> tuple[int, int]:
        count = max(len(self._names), 1)
        room = self.size.width - SCROLL_BAR - gap * count
        keys = max((len(key) for key, *_ in self._keys), default=0)
        values = max(
            (len(text) for texts in (self._names, *(row[1:] for row in self._keys)) for text in texts), default=0
        )
        first = max(min(keys, max(room - count * values, room // (count + 1) + 4)), NARROWEST_KEY)
        return first, (room - first) // count


def ends(text: str, width: int) -> str:
    """The beginning and the end of what is wider: names of runs that begin alike end in their time and a number."""
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 2
    end = text[max(len(text) - tail, 0) :] if tail else ""
    while cell_len(end) > tail:
        end = end[1:]
    return f"{set_cell_size(text, width - 1 - tail)}…{end}"


def _cell(text: str, style: str, width: int) -> Text:
    """A table would wrap what is too long, and show the first line."""
    found = Text(printable(text), style, no_wrap=True)
    found.truncate(width, overflow="ellipsis")
    return found
