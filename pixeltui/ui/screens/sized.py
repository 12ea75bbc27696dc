"""What the screens of the console share: classes that say how large the terminal is, for the style sheet."""

from typing import Final

from textual.screen import Screen

BY_WIDTH: Final = [(0, "-narrow"), (100, "-wide"), (160, "-vast")]
BY_HEIGHT: Final = [(0, "-low"), (32, "-tall"), (48, "-high")]
"""Classes of a screen from so many columns, rows on."""


class SizedScreen(Screen[None]):
    """Has its classes before its first layout; Textual would add them after it, and what has no room would flash up."""

    HORIZONTAL_BREAKPOINTS = BY_WIDTH
    VERTICAL_BREAKPOINTS = BY_HEIGHT

    def on_compose(self) -> None:
        width, height = self.app.size
        for breakpoints, length in ((BY_WIDTH, width), (BY_HEIGHT, height)):
            self.add_class(next(name for least, name in reversed(breakpoints) if length >= least))
