"""Config and log: lines of text, coloured by what they are."""

from collections.abc import Iterable
from textwrap import wrap
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.reactive import Reactive
from textual.strip import Strip
from textual.widgets import RichLog

from pixeltui.config import Config, as_dict
from pixeltui.errors import printable
from pixeltui.toml import flat
from pixeltui.ui.colors import theme_for
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import bindings
from pixeltui.ui.screens.dialogs import Prompt
from pixeltui.ui.widgets.bordered import Bordered


class TextPane(Bordered, RichLog, inherit_bindings=False):
    """Lines that scroll; nothing in them is taken for markup."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("text")]
    scope: Scope = "text"
    virtual_size = Reactive(Size(0, 0))
    """as every widget's, but a line more does not lay out the whole screen anew"""

    def watch_virtual_size(self, before: Size, now: Size) -> None:
        height = self.size.height
        if (before.height > height) == (now.height > height):
            self._scroll_update(now)
        else:  # the scroll bar comes or goes
            self.refresh(layout=True)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.recolor())

    def recolor(self) -> None:
        """Lines in the colours of another theme."""

    def _matches(self, line: str) -> bool:
        """Whether every word of the filter is somewhere in it."""
        return all(word in line.lower() for word in self.words.lower().split())

    def render_line(self, y: int) -> Strip:
        if self.lines or not self.words:
            return super().render_line(y)
        width, said = self.size.width, printable(f"nothing matches {self.words}: / changes it")
        text = dict(enumerate(wrap(said, max(width, 1)))).get(y, "")
        muted = Style(color=theme_for(self.app.current_theme.dark).muted, bgcolor=self.background_colors[1].hex6)
        return Strip([Segment(text, muted)]).adjust_cell_length(width, muted)

    def filter_by(self, words: str) -> None:
        """Only the lines with these words."""
        self.words = words
        self.set_remark(words)
        self.recolor()

    def action_filter(self) -> None:
        def show(words: str | None) -> None:
            if words is not None:
                self.filter_by(words)

        title = f"Filter the {str(self.border_title).lower()}"
        self.app.push_screen(Prompt(title, self.words, hint="words of its lines; empty: all lines"), show)

    def __init__(self, title: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="pane", max_lines=5000, wrap=True, markup=False, min_width=10)
        self.border_title = title
        self.words = ""
        self._folded = 0

    def on_resize(self, event: Resize) -> None:
        self._fold()

    def on_show(self) -> None:
        self._fold()

    def _fold(self) -> None:
        """Breaks lines anew where the pane has another width; while it is not seen it has none."""
        width = self.size.width if self.is_on_screen else 0
        if width and width != self._folded:
            self._folded = width
            self.recolor()

    def on_hide(self) -> None:
        self._folded = 0


class LogPane(TextPane):
    """Events as they come, the newest at the bottom."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__("Log", id)
        self._lines: list[tuple[str, str]] = []

    def add(self, lines: Iterable[tuple[str, str]]) -> None:
        """(level, text) each."""
        theme = theme_for(self.app.current_theme.dark)
        colors = {"warning": theme.warn, "error": theme.bad, "state": theme.accent}
        for level, text in lines:
            self._lines.append((level, text))
            if self._matches(text):
                stamp, _, rest = printable(text).partition("  ")
                line = Text(f"{stamp} ", theme.muted)
                self.write(line.append(rest, colors.get(level, theme.text)))
        del self._lines[:-5000]

    def recolor(self) -> None:
        self.clear()
        kept, self._lines = self._lines, []
        self.add(kept)


class ConfigPane(TextPane):
    """A run's config, keys with the values that it was given."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__("Config", id)
        self.auto_scroll = False
        self._shown: tuple[Config | None, str] = (None, "")

    def recolor(self) -> None:
        shown, self._shown = self._shown, (None, "")
        self.show(*shown)

    def show(self, config: Config | None, why: str = "") -> None:
        """why: there is none."""
        if (config, why) == self._shown:
            return
        self._shown = config, why
        theme = theme_for(self.app.current_theme.dark)
        self.clear()
        if config is None:
            if why:
                self.write(Text(printable(why), theme.bad))
            return
        default = flat(as_dict(Config()))
        table = ""
        for key, value in flat(as_dict(config)).items():
            text = printable(show_value(value))
            if not self._matches(f"{key} {text}"):
                continue
            head, _, name = key.rpartition(".")
            if head != table:
                table = head
                self.write(Text(head, f"bold {theme.accent}"))
            line = Text(f"  {name} ", theme.muted)
            changed = default.get(key) != value
            room = self.size.width - line.cell_len - 1
            if "/" in text and 8 < room < len(text):
                text = "…" + text[1 - room :]  # of a path the end says more
            self.write(line.append(text, f"bold {theme.text}" if changed else theme.text))


def show_value(value: object) -> str:
    """As TOML writes it, near enough."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show_value, value))}]"
    return str(value)
