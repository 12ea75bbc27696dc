"""Screens of several panes, one of which can have all the room."""

from textual import on
from textual.widget import Widget

from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.sized import SizedScreen


def pane_of(widget: Widget | None) -> Widget | None:
    """The pane that a widget is in, or is."""
    while widget is not None and not widget.has_class("pane"):
        widget = widget.parent if isinstance(widget.parent, Widget) else None
    return widget


class PanesScreen(SizedScreen):
    """To inherit from: who does knows how a pane fills it."""

    _full_for_one = False

    def fill(self, pane: Widget | None) -> None:
        """Shows this pane alone; None: all of them."""
        raise NotImplementedError

    def action_full(self) -> None:
        pane = pane_of(self.focused)
        if pane is not None:
            self.fill(None if pane.has_class("full") else pane)

    def leave_one(self) -> bool:
        """Back from one sample to all of them; whether one was shown."""
        return any(pane.leave_one() for pane in self.query(SamplesPane))

    @on(SamplesPane.Enlarged)
    def _one_sample(self, event: SamplesPane.Enlarged) -> None:
        """One sample has the whole screen, and gives it back."""
        if event.one and not self.has_class("-full"):
            self._full_for_one = True
            self.fill(pane_of(event.pane))
        elif not event.one and self._full_for_one:
            self._full_for_one = False
            self.fill(None)
