"""The fields of the sampling screen, checked as one types."""

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from pixeltui.errors import printable
from pixeltui.ui.draft import COMPLETING, DRAWING, FIELDS, Draft
from pixeltui.ui.widgets.line import Line


class DrawField(Line):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
        Binding("pagedown,ctrl+n", "step(1)", show=False),
        Binding("pageup", "step(-1)", show=False),
    ]

    class Stepped(Message):
        def __init__(self, key: str, by: int) -> None:
            super().__init__()
            self.key, self.by = key, by

    def action_step(self, by: int) -> None:
        self.post_message(self.Stepped(self.id or "", by))


class DrawForm(Vertical):
    """Shows a Draft and changes it."""

    class Changed(Message):
        """A field is another."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Submitted(Message):
        pass

    def __init__(self, draft: Draft, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="pane")
        self.border_title = "Draw"
        self.draft = draft
        self.problem = self._told = ""
        """that is told"""

    def compose(self) -> ComposeResult:
        for name, key in (*FIELDS, *COMPLETING):
            classes = "completing" if (name, key) in COMPLETING else "drawing" if key in DRAWING else ""
            with Horizontal(classes=classes):
                yield Label(name)
                yield DrawField(self.draft.values.get(key, ""), id=key, compact=True)
        yield Static(id="problem")
        yield Static(id="about")

    def on_mount(self) -> None:
        for line in self.query(DrawField):
            line.cursor_blink = False

    def show(self) -> None:
        """The draft's values, where they were changed from elsewhere."""
        for line in self.query(DrawField):
            if line.value != self.draft.values.get(line.id or "", ""):
                line.value = self.draft.values.get(line.id or "", "")
        self.show_problems()

    def completes(self, really: bool) -> None:
        """Whether the fields of an image that is completed are there."""
        self.set_class(really, "-completing")
        self.show_problems()

    def tell(self, text: str) -> None:
        """Below the fields, in lines: what is drawn, how fast."""
        if text != self._told:  # every update lays out the screen anew
            self._told = text
            self.query_one("#about", Static).update(Text("\n".join(map(printable, text.split("\n")))))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        key = event.input.id or ""
        if self.draft.values.get(key) != event.value:
            self.draft.values[key] = event.value
            self.post_message(self.Changed(key))
        self.show_problems()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Submitted())

    @on(DrawField.Stepped)
    def _stepped(self, event: DrawField.Stepped) -> None:
        event.stop()
        line = self.query_one(f"#{event.key}", DrawField)
        line.value = self.draft.stepped(event.key, event.by)
        line.cursor_position = len(line.value)

    def show_problems(self) -> None:
        """What is wrong with the field that is typed into or, where nothing is, with the first that is wrong."""
        own = ""
        for line in self.query(DrawField):
            line.set_class(bool(self.draft.problem(line.id or "")), "wrong")
            own = self.draft.named_problem(line.id or "") if line.has_focus else own
        completing = self.has_class("-completing")
        first = self.draft.first_problem_of_completing if completing else self.draft.first_problem
        if (own or first) != self.problem:
            self.problem = own or first
            self.query_one("#problem", Static).update(Text(self.problem))
