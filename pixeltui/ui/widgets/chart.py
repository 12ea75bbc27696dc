"""A chart of curves over a common x axis, on the Line API: only the rows that changed are drawn and sent."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.curves.series import Series
from pixeltui.curves.ticks import XKind
from pixeltui.ui.colors import Depth, current_depth, mix, theme_for
from pixeltui.ui.widgets.figure import Figure
from pixeltui.ui.widgets.plot import BLANK, CURSOR, GAP, GRID, LABEL, TITLE, VALUE, Runs
from pixeltui.ui.widgets.raster import GraphSymbol

_DIM = 0.55  # share of its colour that a dim series keeps


class Chart(Widget, can_focus=True):
    """Curves with axes, legend and a value cursor.

    `series` are drawn in their order, dim ones first; change them in place (append, extend) or with
    `set_series`, then call `update_data`. xs are in the unit of `set_x_kind`.
    """

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; min-height: 4; }
    """

    class CursorMoved(Message):
        """The user put the cursor at x (in the series' own unit), or away."""

        def __init__(self, chart: "Chart", x: float | None) -> None:
            super().__init__()
            self.chart = chart
            self.x = x

        @property
        def control(self) -> "Chart":
            return self.chart

    class ViewChanged(Message):
        """The user changed the x range: see `figure.x_view` and `follows`."""

        def __init__(self, chart: "Chart") -> None:
            super().__init__()
            self.chart = chart

        @property
        def control(self) -> "Chart":
            return self.chart

    def __init__(
        self,
        title: str = "",
        series: Sequence[Series] = (),
        *,
        graph_symbol: GraphSymbol = "braille",
        live: bool = True,
        depth: Depth | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 (textual's name)
        classes: str | None = None,
    ) -> None:
        """live: leave room on the right for what comes. depth: colours of the terminal, by default this process's."""
        super().__init__(name=name, id=id, classes=classes)
        self.depth: Depth = depth or current_depth()
        self.figure = Figure(title, series, graph_symbol, live, letters=self.depth == "none")
        self._rows: list[Runs] = []
        self._strips: list[Strip] = []
        self._styles: dict[int, Style] = {}
        self._stale = True

    # -- data ------------------------------------------------------------------------------------------------------

    @property
    def series(self) -> list[Series]:
        return self.figure.series

    def set_series(self, series: Sequence[Series]) -> None:
        self.figure.set_series(series)
        self._styles = {}
        self.update_data()

    def update_data(self) -> None:
        """Draw what changed since the last call. A chart that is not on the screen waits until it is."""
        if not (self.is_mounted and self.size and self.is_on_screen):
            self._stale = True
            self.refresh()
            return
        before = self._rows
        self._compose_rows()
        width = self.size.width
        if len(before) != len(self._rows):
            self.refresh()
        elif changed := [y for y, row in enumerate(self._rows) if row != before[y]]:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    # -- view ------------------------------------------------------------------------------------------------------

    @property
    def log_y(self) -> bool:
        return self.figure.y_view.log

    @log_y.setter
    def log_y(self, log: bool) -> None:
        self.figure.y_view.set_log(log)
        self.update_data()

    @property
    def live(self) -> bool:
        return self.figure.x_view.live

    @live.setter
    def live(self, live: bool) -> None:
        self.figure.x_view.live = live
        self.update_data()

    @property
    def follows(self) -> bool:
        """Whether the newest point stays in view."""
        return self.figure.x_view.mode != "fixed"

    def set_x_kind(self, kind: XKind) -> None:
        """What the series' xs are: steps, epochs, or seconds."""
        self.figure.x_kind = kind
        self.update_data()

    def zoom_x(self, factor: float) -> None:
        """A factor above 1 shows less, larger: around the cursor, or else the newest point."""
        self.figure.x_view.zoom(factor, self.cursor)
        self._view_changed()

    def pan_x(self, fraction: float) -> None:
        """Move to the right by a share of the width."""
        self.figure.x_view.pan(fraction)
        self._view_changed()

    def zoom_y(self, factor: float) -> None:
        self.figure.y_view.zoom(factor)
        self.update_data()

    def pan_y(self, fraction: float) -> None:
        """Move up by a share of the height."""
        self.figure.y_view.pan(fraction)
        self.update_data()

    def fit(self) -> None:
        """All of the data, on both axes."""
        self.figure.x_view.fit()
        self.figure.y_view.fit()
        self._view_changed()

    def follow(self) -> None:
        """Keep the width and the newest point in view, values fitted."""
        self.figure.x_view.follow()
        self.figure.y_view.fit()
        self._view_changed()

    def _view_changed(self) -> None:
        self.update_data()
        self.post_message(self.ViewChanged(self))

    # -- cursor ----------------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> float | None:
        """x of the value cursor, in the series' own unit; None while it is away."""
        return self.figure.cursor

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor at x, or away, without a message."""
        self.figure.cursor = x
        self.update_data()

    def move_cursor(self, cells: int) -> None:
        """By so many cells; a cursor that was away appears at the newest point in view."""
        self._put_cursor(self.figure.cursor_after(cells))

    def values_at(self, x: float) -> list[tuple[Series, float | None]]:
        """The value nearest to x of every series; None where it has none there, NaN in a gap."""
        return self.figure.values_at(x)

    def _put_cursor(self, x: float | None) -> None:
        self.set_cursor(x)
        self.post_message(self.CursorMoved(self, x))

    def on_click(self, event: events.Click) -> None:
        frame = self.figure.frame
        column = event.get_content_offset_capture(self).x - self.figure.label_width - 2
        if 0 <= column < frame.width:
            self._put_cursor(frame.x_at(column, frame.width))

    # -- actions, for bindings -------------------------------------------------------------------------------------

    def action_zoom_x(self, factor: float) -> None:
        self.zoom_x(factor)

    def action_zoom_y(self, factor: float) -> None:
        self.zoom_y(factor)

    def action_pan_x(self, fraction: float) -> None:
        self.pan_x(fraction)

    def action_pan_y(self, fraction: float) -> None:
        self.pan_y(fraction)

    def action_fit(self) -> None:
        self.fit()

    def action_follow(self) -> None:
        self.follow()

    def action_toggle_log_y(self) -> None:
        self.log_y = not self.log_y

    def action_toggle_cursor(self) -> None:
        self._put_cursor(self.figure.cursor_after(0) if self.cursor is None else None)

    def action_move_cursor(self, cells: int) -> None:
        self.move_cursor(cells)

    # -- drawing ---------------------------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}
        self._stale = True

    def render_line(self, y: int) -> Strip:
        if self._stale or len(self._strips) != self.size.height or self._strips[0].cell_length != self.size.width:
            self._compose_rows()
        return self._strips[y]

    def _compose_rows(self) -> None:
        """Every row's content, and the strips of those that changed."""
        self._stale = False
        width, height = self.size
        if not self._styles:
            self._styles = self._make_styles()
            self._rows = []
        rows = self.figure.rows(width, height)
        styles, old, strips = self._styles, self._rows, self._strips
        keep = len(old) == len(rows)
        self._strips = [
            strips[y] if keep and row == old[y] else Strip([Segment(text, styles[key]) for text, key in row], width)
            for y, row in enumerate(rows)
        ]
        self._rows = rows

    def _make_styles(self) -> dict[int, Style]:
        theme = theme_for(self.app.current_theme.dark)
        background = self.background_colors[1].hex6.lower()

        def style(color: str, share: float = 1.0, bold: bool = False, dim: bool = False) -> Style:
            if self.depth == "none":
                return Style(dim=dim or share < 1, bold=bold)
            faint = theme.faint_16(color) if self.depth == "16" and share < 1 else None
            return Style(color=faint or mix(theme.resolve(color), background, share), bgcolor=background, bold=bold)

        styles = {
            BLANK: style("text"),
            TITLE: style("text", bold=True),
            LABEL: style("muted"),
            VALUE: style("text"),
            GRID: style("faint", dim=True),
            CURSOR: style("accent", bold=True),
            GAP: style("bad", bold=True),
        }
        return styles | {i + 1: style(s.color, _DIM if s.dim else 1.0) for i, s in enumerate(self.series)}
