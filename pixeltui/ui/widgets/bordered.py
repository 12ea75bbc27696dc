"""A pane whose remark in the lower border changes often: that line alone is drawn again."""

from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.geometry import Region

from pixeltui.errors import printable

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # a class takes default styles and focus from its first base that is a widget: the container


class Bordered(Widget):
    """To inherit from before a container. Textual would draw all of the pane, its children too, for its subtitle."""

    remark = ""
    _only_remark = False

    def set_remark(self, remark: str) -> None:
        """Plain text, whatever is in it."""
        remark = printable(remark)
        if remark == self.remark:
            return
        self.remark = remark
        self._only_remark = bool(self.size)
        try:
            self.border_subtitle = Text(remark)
        finally:
            self._only_remark = False

    def refresh(self, *regions: Region, **how: Any) -> Any:
        if self._only_remark:
            regions = (Region(-1, self.size.height, self.outer_size.width, 1),)
        return super().refresh(*regions, **how)
