"""Where the sampling screen's pictures hang: a gallery that fits them to the window until somebody zooms."""

from collections.abc import Sequence
from typing import Final, Literal

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from pixeltui.errors import printable
from pixeltui.ui.sheets import ImageShape
from pixeltui.ui.widgets.gallery import Gallery, Picture

NARROW: Final = 100
"""columns under which an image and its completions take the whole screen: the fields would leave room for two"""
Mode = Literal["draw", "complete", "earlier"]
TITLES: Final[dict[Mode, str]] = {"draw": "1 Images", "complete": "2 Complete", "earlier": "3 Earlier"}
EMPTY: Final = {"draw": "n draws", "complete": "an image of the data comes", "earlier": "nothing kept yet"}


class Canvas(Vertical):
    def __init__(self) -> None:
        super().__init__(id="canvas", classes="pane")
        self.zoomed = False
        self.why_empty = ""
        """what is wrong, where no image comes to be completed"""

    def compose(self) -> ComposeResult:
        yield Gallery()

    @property
    def gallery(self) -> Gallery:
        return self.query_one(Gallery)

    def name_it(self, mode: Mode, *, of_bits: bool) -> None:
        """What is seen here, and what else can be."""
        tabs = "  ".join(f"▸ {title}" if one == mode else title for one, title in TITLES.items())
        self.border_title = "Bits per pixel · ← → other images · esc back" if of_bits else tabs

    def hang(
        self, mode: Mode, pictures: Sequence[Picture], columns: int | None, rows: Sequence[str], *, note: str, fit: bool
    ) -> None:
        """columns: of pictures that belong side by side. rows: names of their rows.

        fit: to the window, unless somebody has zoomed.
        """
        self.gallery.most_columns, self.gallery.row_names = columns, rows
        self.gallery.empty = (mode == "complete" and self.why_empty) or EMPTY[mode]
        self.gallery.set_pictures(pictures)
        if fit:
            self.refit()
        self.border_subtitle = Text(printable(note))

    def refit(self) -> None:
        if not self.zoomed:
            self.gallery.fit()

    def across(self, shape: ImageShape | None) -> int:
        """Images that fit side by side at half their size."""
        return max(1, self.gallery.size.width // (max((shape.width if shape else 8) // 2, 6) + 2))

    def zoom(self, by: int) -> None:
        self.zoomed = True
        self.gallery.action_zoom(by)

    def toggle_renderer(self) -> None:
        self.zoomed = True
        self.gallery.action_toggle_renderer()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.refit)
