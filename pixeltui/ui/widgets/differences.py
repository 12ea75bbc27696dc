"""A table of what differs between runs, its columns as wide as there is room for them."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.widgets import DataTable

from pixeltui.errors import printable
from pixeltui.ui.colors import theme_for

NARROWEST_KEY, NARROWEST = 10, 6


class Differences(DataTable[Text]):
    """A row a key, a column a run."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, cursor_type="row", cursor_foreground_priority="renderable", classes="pane")
        self._names: Sequence[str] = ()
        self._keys: Sequence[Sequence[str]] = ()
        self._filled: tuple[int, int] | None = None

    def show(self, names: Sequence[str], keys: Sequence[Sequence[str]]) -> None:
        """keys: each with its values."""
        self._names, self._keys, self._filled = names, keys, None
        self._fill()

    def on_resize(self, event: Any) -> None:
        self._fill()

    def _fill(self) -> None:
        """Anew where the columns have another width."""
        widths = self._widths()
        if not self._names or widths == self._filled:
            return
        self._filled = widths
        first, width = widths
        theme, row = theme_for(self.app.current_theme.dark), self.cursor_row
        self.clear(columns=True)
        self.add_column("", width=first)
        for i, name in enumerate(self._names):
            style = f"bold {theme.resolve(f'series{i % 6}')}"
            self.add_column(_cell(ends(name, width), style, width), width=width)
        for key, *values in self._keys:
            style = theme.muted if len(set(values)) == 1 else theme.text
            self.add_row(_cell(key, theme.muted, first), *(_cell(value, style, width) for value in values))
        self.move_cursor(row=row)

    def _widths(self) -> tuple[int, int]:
        """Of the keys, and of the values of each run."""
        count = max(len(self._names), 1)
        room = self.size.width - 2 * count - 4
        keys = max((len(key) for key, *_ in self._keys), default=0)
        values = max(
            (len(text) for texts in (self._names, *(row[1:] for row in self._keys)) for text in texts), default=0
        )
        first = max(min(keys, max(room - count * values, room // (count + 1) + 4)), NARROWEST_KEY)
        return first, max((room - first) // count, NARROWEST)


def ends(text: str, width: int) -> str:
    """The beginning and the end of what is too long: names of runs that begin alike end in their time and a number."""
    tail = (width - 1) // 2
    return text if len(text) <= width else f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _cell(text: str, style: str, width: int) -> Text:
    """A table would wrap what is too long, and show the first line."""
    found = Text(printable(text), style, no_wrap=True)
    found.truncate(width, overflow="ellipsis")
    return found
