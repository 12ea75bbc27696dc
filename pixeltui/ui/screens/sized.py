"""What the screens of the console share: classes that say how large the terminal is, and whose keys are at hand."""

from typing import Final

from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from pixeltui.ui.key_table import Scope

BY_WIDTH: Final = [(0, "-narrow"), (100, "-wide"), (160, "-vast")]
BY_HEIGHT: Final = [(0, "-low"), (32, "-tall"), (48, "-high")]
"""Classes of a screen from so many columns, rows on."""


class SizedScreen(Screen[None]):
    """Has its classes before its first layout; Textual would add them after it, and what has no room would flash up."""

    HORIZONTAL_BREAKPOINTS = BY_WIDTH
    VERTICAL_BREAKPOINTS = BY_HEIGHT
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """as every screen's, but another focus draws what has it and what had it, not the whole screen"""

    def on_compose(self) -> None:
        width, height = self.app.size
        for breakpoints, length in ((BY_WIDTH, width), (BY_HEIGHT, height)):
            self.add_class(next(name for least, name in reversed(breakpoints) if length >= least))

    @property
    def focused_scope(self) -> Scope | None:
        """Whose keys the focused pane has."""
        focused: Widget | None = self.focused
        while focused is not None and not hasattr(focused, "scope"):
            focused = focused.parent if isinstance(focused.parent, Widget) else None
        return getattr(focused, "scope", None)
