"""A line to type, whatever its text came from."""

from rich.cells import cell_len
from rich.text import Text
from textual.geometry import Region
from textual.widgets import Input

from pixeltui.errors import printable


class Line(Input):
    """Shows its value without what could steer a terminal; the value itself stays what it is."""

    @property
    def _value(self) -> Text:
        return Text(printable(self.value), no_wrap=True, overflow="ignore", end="")

    def show_cursor(self) -> None:
        """Scrolls to it: a value longer than the line begins at its beginning."""
        self.scroll_to_region(Region(self._cursor_offset, 0, 1, 1), force=True, animate=False)

    def _position_to_cell(self, position: int) -> int:
        return cell_len(printable(self.value[:position]))
