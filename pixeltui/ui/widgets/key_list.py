"""Keys and what they do, by scope, on the Line API: a table of rich takes long to lay out."""

from collections.abc import Callable, Sequence
from textwrap import wrap

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.ui.colors import theme_for
from pixeltui.ui.key_table import TITLES, Scope
from pixeltui.ui.keys import Key, in_scope

GAP = 2


class KeyList(Widget):
    """As high as its lines; to be put into something that scrolls."""

    DEFAULT_CSS = "KeyList { height: auto; width: 1fr; }"

    def __init__(self, scopes: Sequence[Scope], keymap: dict[str, str], offers: Callable[[Key], bool]) -> None:
        super().__init__()
        self._sections = [
            (TITLES[scope], [(key.shown(keymap), key.meaning) for key in in_scope(scope) if offers(key)])
            for scope in scopes
        ]
        self._lines: list[tuple[str, str]] = []
        self._width = 0

    @property
    def column(self) -> int:
        """Cells of the keys."""
        return max((len(keys) for _, rows in self._sections for keys, _ in rows), default=0) + GAP

    def lines(self, width: int) -> list[tuple[str, str]]:
        """(keys, meaning) by line; a title has no meaning."""
        if width != self._width:
            self._width, self._lines = width, []
            room = max(width - self.column - 1, 10)
            for title, rows in self._sections:
                self._lines += [("", "")] * bool(self._lines) + [(title, "")]
                for keys, meaning in rows:
                    first, *others = wrap(meaning, room) or [""]
                    self._lines += [(keys, first), *(("", other) for other in others)]
        return self._lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines(width))

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        width, under = self.size.width, self.background_colors[1].hex6
        lines = self.lines(width)
        keys, meaning = lines[y] if y < len(lines) else ("", "")
        if not meaning:
            return Strip([Segment(keys.ljust(width), Style(color=theme.text, bgcolor=under, bold=True))], width)
        segments = [
            Segment(f" {keys}".ljust(self.column + 1), Style(color=theme.accent, bgcolor=under)),
            Segment(meaning, Style(color=theme.text, bgcolor=under)),
        ]
        return Strip(segments).adjust_cell_length(width, Style(bgcolor=under))
