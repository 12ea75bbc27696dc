"""A chart of curves over a common x axis, on the Line API: only the rows that changed are drawn and sent."""

from collections.abc import Sequence
from math import inf, isnan

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.ui.colors import Depth, current_depth, mix, theme_for
from pixeltui.ui.widgets.plot import (
    BLANK,
    CURSOR,
    GAP,
    GRID,
    LABEL,
    TITLE,
    VALUE,
    Entry,
    Runs,
    axis_rows,
    legend_row,
    letter,
    plot_rows,
)
from pixeltui.ui.widgets.raster import SYMBOLS, Frame, GraphSymbol
from pixeltui.ui.widgets.series import Series
from pixeltui.ui.widgets.ticks import XKind, format_time, format_value, y_ticks
from pixeltui.ui.widgets.viewport import XView, YView


class Chart(Widget, can_focus=True):
    """Curves with axes, legend and a value cursor.

    `series` are drawn in their order, dim ones first; change them in place (append, extend) or with `set_series`, then
    call `update_data`. xs are in the unit of `set_x_kind`, times its scale.
    """

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; min-height: 5; }
    """

    class CursorMoved(Message):
        """The cursor stands at x (in the series' own unit), or was put away."""

        def __init__(self, chart: "Chart", x: float | None) -> None:
            super().__init__()
            self.chart = chart
            self.x = x

        @property
        def control(self) -> "Chart":
            return self.chart

    class ViewChanged(Message):
        """The user zoomed or moved the x range."""

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
        self.title = title
        self.series = list(series)
        self.graph_symbol: GraphSymbol = graph_symbol
        self.depth: Depth = depth or current_depth()
        self.x_view = XView()
        self.x_view.live = live
        self.y_view = YView()
        self.x_kind: XKind = "step"
        self.x_scale = 1.0
        self.cursor: float | None = None
        self._label_width = 0
        self._rows: list[Runs] = []
        self._strips: list[Strip] = []
        self._styles: dict[int, Style] = {}
        self._stale = True

    # -- data and view ---------------------------------------------------------------------------------------------

    def set_series(self, series: Sequence[Series]) -> None:
        self.series = list(series)
        self._label_width = 0
        self._styles = {}
        self.update_data()

    def update_data(self) -> None:
        """Draw what changed since the last call. A chart that is not on the screen waits until it is."""
        if self.is_mounted and self.size and self.is_on_screen:
            self._redraw()
        else:
            self._stale = True
            self.refresh()

    @property
    def log_y(self) -> bool:
        return self.y_view.log

    @log_y.setter
    def log_y(self, log: bool) -> None:
        self.y_view.set_log(log)
        self._label_width = 0
        self.update_data()

    @property
    def live(self) -> bool:
        return self.x_view.live

    @live.setter
    def live(self, live: bool) -> None:
        self.x_view.live = live
        self.update_data()

    def set_x_kind(self, kind: XKind, scale: float = 1.0) -> None:
        """How x is written: the series' xs times `scale` are steps, epochs or seconds."""
        self.x_kind, self.x_scale = kind, scale
        self.update_data()

    def set_graph_symbol(self, symbol: GraphSymbol) -> None:
        self.graph_symbol = symbol
        self.update_data()

    def set_x_range(self, x0: float, x1: float) -> None:
        """Show [x0, x1] (the series' own unit) without a message: to keep charts in step. Raises ValueError."""
        self.x_view.set(x0, x1)
        self.update_data()

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor at x without a message, or away."""
        self.cursor = x
        self.update_data()

    def zoom_x(self, factor: float) -> None:
        """A factor above 1 shows less, larger."""
        self.x_view.zoom(factor, self.cursor)
        self._view_changed()

    def pan_x(self, fraction: float) -> None:
        """Move to the right by a share of the width."""
        self.x_view.pan(fraction)
        self._view_changed()

    def zoom_y(self, factor: float) -> None:
        self.y_view.zoom(factor)
        self.update_data()

    def pan_y(self, fraction: float) -> None:
        """Move up by a share of the height."""
        self.y_view.pan(fraction)
        self.update_data()

    def fit(self) -> None:
        """All of the data, on both axes."""
        self.x_view.fit()
        self.y_view.fit()
        self._view_changed()

    def follow(self) -> None:
        """Keep the newest point in view, values fitted."""
        self.x_view.follow()
        self.y_view.fit()
        self._view_changed()

    def move_cursor(self, cells: int) -> None:
        """By so many cells; a cursor that was away appears at the newest point in view."""
        frame = self._frame()
        x0, x1 = frame.x0, frame.x1
        high = max((s.xs[-1] for s in self.series if len(s)), default=x1)
        if self.cursor is None or not x0 <= self.cursor <= x1:
            x = min(high, x1)
        else:
            x = frame.x_at(frame.column(self.cursor, frame.width) + cells, frame.width)
        self._put_cursor(max(x0, min(x, high, x1)))

    def _put_cursor(self, x: float | None) -> None:
        self.set_cursor(x)
        self.post_message(self.CursorMoved(self, x))

    def _view_changed(self) -> None:
        self.update_data()
        self.post_message(self.ViewChanged(self))

    def values_at(self, x: float) -> list[tuple[Series, float | None]]:
        """The value nearest to x of every series; None where it has none there, NaN in a gap."""
        return [(s, point[1] if (point := s.value_at(x)) else None) for s in self.series]

    def format_x(self, x: float) -> str:
        """x of the series as the axis writes it."""
        x *= self.x_scale
        if self.x_kind == "time":
            return format_time(x)
        return f"{x:,.0f}" if self.x_kind == "step" else f"{x:,.2f}"

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
        if self.cursor is None:
            self.move_cursor(0)
        else:
            self._put_cursor(None)

    def action_move_cursor(self, cells: int) -> None:
        self.move_cursor(cells)

    # -- drawing ---------------------------------------------------------------------------------------------------

    def _on_resize(self, event: events.Resize) -> None:
        self._label_width = 0
        self._stale = True

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}
        self._stale = True

    def render_line(self, y: int) -> Strip:
        if self._stale or len(self._strips) != self.size.height:
            self._compose_rows()
        return self._strips[y]

    def _redraw(self) -> None:
        """Draw again and refresh the rows that are not what they were."""
        before = self._rows
        self._compose_rows()
        changed = [y for y, row in enumerate(self._rows) if y >= len(before) or row != before[y]]
        width = self.size.width
        if len(before) != len(self._rows):
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def _frame(self) -> Frame:
        width = max(2, self.size.width - self._label_width - 3)
        return Frame(*self.x_view.range, *self.y_view.range, width, max(2, self.size.height - 3), self.log_y)

    def _fit_views(self) -> None:
        drawn = [s for s in self.series if len(s)]
        if not drawn:
            return
        self.x_view.update(min(s.xs[0] for s in drawn), max(s.xs[-1] for s in drawn))
        low, high = inf, -inf
        for one in drawn:
            a, b = one.extremes(*one.view(*self.x_view.range))
            low, high = min(low, a), max(high, b)
        self.y_view.update(low, high)

    def _compose_rows(self) -> None:
        """Every row's content, and the strips of those that changed."""
        self._stale = False
        width, height = self.size
        if not self._styles:
            self._make_styles()
            self._rows = []
        blank: Runs = ((" " * width, BLANK),)
        rows = self._all_rows(height) if width >= 20 and height >= 4 else [blank] * height
        old, strips = self._rows, self._strips
        if len(old) != len(rows):
            old, strips = [()] * len(rows), self._strips[:0] * len(rows)
        styles = self._styles
        self._strips = [
            strips[y] if row == old[y] else Strip([Segment(text, styles[key]) for text, key in row], width)
            for y, row in enumerate(rows)
        ]
        self._rows = rows

    def _all_rows(self, height: int) -> list[Runs]:
        self._fit_views()
        symbols = SYMBOLS[self.graph_symbol]
        ticks, labels = y_ticks(*self.y_view.range, height - 3, self.log_y)
        widest = max(map(len, labels), default=1)
        if not widest <= self._label_width <= widest + 2:
            self._label_width = widest
        frame = self._frame()
        row_of = frame.row_of(frame.height * symbols.rows)
        tick_rows = [min(frame.height - 1, round(row_of(t)) // symbols.rows) for t in ticks]
        letters = self.depth == "none"
        rows = [self._legend(symbols.swatch, letters)]
        rows += plot_rows(
            self.series,
            frame,
            symbols,
            dict(zip(tick_rows, labels, strict=True)),
            label_width=self._label_width,
            cursor=self.cursor,
            letters=letters,
        )
        return rows + axis_rows(frame, symbols, self.x_kind, self.x_scale, self._label_width)

    def _legend(self, swatch: str, letters: bool) -> Runs:
        entries = []
        for i, (one, value) in enumerate(
            self.values_at(self.cursor) if self.cursor is not None else [(s, s.last) for s in self.series]
        ):
            text = "–" if value is None else ("gap" if isnan(value) else format_value(value))
            entries.append(Entry(one.name, text.rjust(5), i + 1, letter(i + 1) if letters else swatch))
        at = f"{self.x_kind} {self.format_x(self.cursor)}" if self.cursor is not None else ""
        return legend_row(self.title + (" (log)" if self.log_y else ""), entries, at, self.size.width)

    def _make_styles(self) -> None:
        theme = theme_for(self.app.current_theme.dark)
        background = self.background_colors[1].hex6.lower()
        plain = self.depth == "none"

        def style(color: str, share: float = 1.0, bold: bool = False, dim: bool = False) -> Style:
            if plain:
                return Style(dim=dim or share < 1, bold=bold)
            return Style(color=mix(theme.resolve(color), background, share), bgcolor=background, bold=bold)

        self._styles = {
            BLANK: style("text"),
            TITLE: style("text", bold=True),
            LABEL: style("muted"),
            VALUE: style("text"),
            GRID: style("faint", dim=True),
            CURSOR: style("accent", bold=True),
            GAP: style("bad", bold=True),
        }
        for i, one in enumerate(self.series):
            self._styles[i + 1] = style(one.color, 0.55 if one.dim else 1.0)
