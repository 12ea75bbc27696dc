"""Questions: choose, type a line, read the keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from pixeltui.errors import printable
from pixeltui.ui.colors import theme_for
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import Key, bindings
from pixeltui.ui.widgets.key_list import KeyList
from pixeltui.ui.widgets.line import Line


@dataclass(frozen=True)
class Choice:
    key: str
    label: str
    value: str


class Ask(ModalScreen[str | None]):
    """A question with a few answers, each on its letter; enter takes the first, esc none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("enter", "first", show=False),
    ]

    def __init__(self, title: str, body: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title, self._body, self._choices = title, body, choices

    def compose(self) -> ComposeResult:
        theme = theme_for(self.app.current_theme.dark)
        lines = Text()
        for i, choice in enumerate(self._choices):
            lines.append(f" {choice.key:<3} ", f"bold {theme.background} on {theme.accent}")
            lines.append(f" {printable(choice.label)}", "bold" if i == 0 else "")
            lines.append("  (enter)\n" if i == 0 else "\n", theme.muted)
        lines.append(" esc ", f"{theme.text} on {theme.faint}")
        lines.append(" cancel", theme.muted)
        with Vertical(classes="dialog") as box:
            box.border_title = Text(printable(self._title))
            yield Static(Text(printable(self._body)), classes="body")
            yield Static(lines)

    def action_first(self) -> None:
        self.dismiss(self._choices[0].value)

    def on_key(self, event: object) -> None:
        key = getattr(event, "character", None)
        for choice in self._choices:
            if key == choice.key:
                self.dismiss(choice.value)


class Prompt(ModalScreen[str | None]):
    """A line to type, checked as one types: `check` returns what is wrong with it, or ""."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(
        self,
        title: str,
        value: str = "",
        *,
        hint: str = "",
        check: Callable[[str], str] | None = None,
        goes_on: bool = False,
    ) -> None:
        """goes_on: what is typed comes behind the value, not in its place."""
        super().__init__()
        self._goes_on = goes_on
        self._title, self._value, self._hint, self._check = title, value, hint, check

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Text(printable(self._title))
            box.border_subtitle = "enter accepts · esc cancels"
            yield Line(self._value, compact=True, select_on_focus=not self._goes_on)
            yield Static(Text(self._hint), classes="hint")

    def on_mount(self) -> None:
        line = self.query_one(Line)
        line.cursor_blink = False
        self.call_after_refresh(line.show_cursor)

    def on_input_changed(self, event: Input.Changed) -> None:
        wrong = self._check(event.value) if self._check else ""
        line = self.query_one(Static)
        line.set_class(bool(wrong), "wrong")
        line.update(Text(printable(wrong) if wrong else self._hint))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not (self._check and self._check(event.value)):
            self.dismiss(event.value)


class Scroll(VerticalScroll):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("text")]


class Help(ModalScreen[None]):
    """The keys of the screen one is on, those of the focused pane first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter", "dismiss(None)", show=False)]

    def __init__(
        self, scopes: Sequence[Scope], keymap: dict[str, str], offers: Callable[[Key], bool] = lambda key: True
    ) -> None:
        """offers: which keys do anything now."""
        super().__init__()
        self._scopes, self._keymap, self._offers = scopes, keymap, offers

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall") as box:
            box.border_title = "Keys"
            box.border_subtitle = "j k scroll · esc"
            with Scroll():
                yield KeyList(self._scopes, self._keymap, self._offers)
