"""The lines at the top and the bottom of a screen: title, progress, keys."""

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.errors import printable
from pixeltui.ui.colors import current_depth, theme_for
from pixeltui.ui.keys import Key

SHORTEST_TITLE = 16
"""cells of a title that are worth more than the remark"""


class TitleBar(Widget):
    """What one looks at, on the left, and a remark on the right."""

    DEFAULT_CSS = "TitleBar { height: 1; width: 1fr; dock: top; }"
    title, remark = "", ""

    def show(self, title: str, remark: str = "") -> None:
        title, remark = printable(title), printable(remark)
        if (title, remark) != (self.title, self.remark):
            self.title, self.remark = title, remark
            self.refresh()

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        width = self.size.width
        mark = " ▚ pixeltui " if current_depth() != "none" else " pixeltui "
        room = max(width - cell_len(mark) - 2, 1)
        beside = room - cell_len(self.remark) - 1
        remark = self.remark if beside >= min(cell_len(self.title), SHORTEST_TITLE) else ""
        room = beside if remark else room
        title = self.title if cell_len(self.title) <= room else set_cell_size(self.title, room - 1) + "…"
        panel = theme.panel
        segments = [
            Segment(mark, Style(color=theme.background, bgcolor=theme.accent, bold=True)),
            Segment(f" {title}", Style(color=theme.text, bgcolor=panel, bold=True)),
        ]
        used = sum(cell_len(segment.text) for segment in segments)
        gap = width - used - cell_len(remark) - 1
        if gap > 0:
            muted = Style(color=theme.muted, bgcolor=panel)
            segments += [Segment(" " * gap, muted), Segment(remark + " ", muted)]
        return Strip(segments).adjust_cell_length(width, Style(bgcolor=panel))


class ProgressLine(Widget):
    """How much is done, over the whole width."""

    DEFAULT_CSS = "ProgressLine { height: 1; width: 1fr; }"
    share = 0.0
    color = "accent"
    text = ""

    def show(self, share: float, color: str, text: str) -> None:
        width = self.size.width
        same = round(share * width) == round(self.share * width)
        if not same or (color, text) != (self.color, self.text):
            self.share, self.color, self.text = share, color, text
            self.refresh()

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        background = self.background_colors[1].hex6
        text = f" {self.text} "
        room = max(self.size.width - cell_len(text) - 1, 1)
        done = round(min(max(self.share, 0.0), 1.0) * room)
        full, empty = ("━", "─") if current_depth() != "none" else ("#", "-")
        return Strip(
            [
                Segment(" " + full * done, Style(color=theme.resolve(self.color), bgcolor=background)),
                Segment(empty * (room - done), Style(color=theme.faint, bgcolor=background)),
                Segment(text, Style(color=theme.muted, bgcolor=background)),
            ]
        ).adjust_cell_length(self.size.width)


class KeyBar(Widget):
    """The most useful keys of this screen, as many as there is room for; a click is a key."""

    DEFAULT_CSS = "KeyBar { height: 1; width: 1fr; dock: bottom; }"

    def __init__(self) -> None:
        super().__init__()
        self._keys: Sequence[Key] = ()
        self._places: list[tuple[int, int, Key]] = []

    def show(self, keys: Sequence[Key]) -> None:
        offers: Callable[[Key], bool] = getattr(self.screen, "offers", getattr(self.app, "offers", lambda key: True))
        found = sorted((key for key in keys if key.bar is not None and offers(key)), key=lambda key: key.bar or 0)
        if list(self._keys) != found:
            self._keys = found
            self.refresh()

    def _fitting(self, width: int) -> list[tuple[Key, str]]:
        """Keys and how they are written: the last resorts (help, leave) always, the others while there is room."""
        keymap = getattr(self.app, "keymap", {})
        kept = [(key, key.shown(keymap).split(" ")[0]) for key in self._keys]
        while kept and sum(cell_len(name) + cell_len(key.label) + 3 for key, name in kept) > width:
            index = max((i for i, (key, _) in enumerate(kept) if (key.bar or 0) < 90), default=len(kept) - 1)
            del kept[index]
        return kept

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        width = self.size.width
        name_style = Style(color=theme.accent, bgcolor=theme.surface, bold=True)
        label_style = Style(color=theme.muted, bgcolor=theme.surface)
        segments: list[Segment] = []
        self._places, column = [], 0
        for key, name in self._fitting(width):
            segments += [Segment(f" {name}", name_style), Segment(f" {key.label} ", label_style)]
            end = column + cell_len(name) + cell_len(key.label) + 3
            self._places.append((column, end, key))
            column = end
        return Strip(segments).adjust_cell_length(width, label_style)

    async def on_click(self, event: events.Click) -> None:
        for start, end, key in self._places:
            if start <= event.x < end:
                focused = self.screen.focused
                spaces = [*(focused.ancestors_with_self if focused else ()), self.screen]
                for space in spaces:
                    if await self.app.run_action(key.action, space):
                        return
