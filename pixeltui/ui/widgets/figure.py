"""A chart without a terminal: series, what is in view, the cursor; rows of text on request."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf, isnan

from pixeltui.curves.series import OPENING, Series
from pixeltui.curves.ticks import TINY, TINY_RATE, XKind, format_rate, format_time, format_value, y_ticks
from pixeltui.ui.widgets.plot import BLANK, LABEL, LOG, Entry, Runs, axis_rows, legend_row, letter, plot_rows
from pixeltui.ui.widgets.raster import SYMBOLS, Frame, GraphSymbol, Trace
from pixeltui.ui.widgets.viewport import XView, YView

MIN_WIDTH, MIN_HEIGHT = 20, 4
MANY = 40
"""points of a curve whose opening may lie above the chart"""


class Figure:
    """Rows of one chart; what it is asked for again costs only what is new."""

    def __init__(self, title: str, series: Sequence[Series], symbol: GraphSymbol, live: bool, letters: bool) -> None:
        """letters: name the curves by letters, for want of colours."""
        self.title = title
        self.symbol: GraphSymbol = symbol
        self.letters = letters
        self.rates = False
        """whether the values are learning rates"""
        self.falls = False
        """whether curves begin far above what they are about"""
        self.x_view, self.y_view = XView(), YView()
        self.x_view.live = live
        self.x_kind: XKind = "step"
        self.cursor: float | None = None
        self.traces: list[Trace] = []
        self.series: list[Series] = []
        self.label_width = 0
        self._size = (MIN_WIDTH, MIN_HEIGHT)
        self.set_series(series)

    def set_series(self, series: Sequence[Series]) -> None:
        kept = {id(trace.series): trace for trace in self.traces}
        self.series = list(series)
        self.traces = [kept.get(id(one)) or Trace(one) for one in series]

    @property
    def newest(self) -> float | None:
        """The largest x there is."""
        return max((s.xs[-1] for s in self.series if len(s)), default=None)

    @property
    def frame(self) -> Frame:
        """The plot's part of the last size asked for."""
        width, height = self._size
        columns = max(2, width - self.label_width - 2)
        return Frame(*self.x_view.range, *self.y_view.range, columns, max(2, height - 3), self.y_view.log)

    def cursor_after(self, cells: int) -> float:
        """Where the cursor is after so many cells; one that was away, or out of view, appears at the newest point."""
        frame = self.frame
        right = min(frame.x1, frame.x1 if self.newest is None else self.newest)
        if self.cursor is None or not frame.x0 <= self.cursor <= frame.x1:
            return max(frame.x0, right)
        x = frame.x_at(frame.column(self.cursor, frame.width) + cells, frame.width)
        return max(frame.x0, min(x, right))

    def values_at(self, x: float) -> list[tuple[Series, float | None]]:
        """The value nearest to x of every series; None where it has none there, NaN in a gap."""
        return [(s, point[1] if (point := s.value_at(x)) else None) for s in self.series]

    def format_x(self, x: float) -> str:
        """x as the axis writes it."""
        if self.x_kind == "time":
            return format_time(x)
        return f"{x:,.0f}" if self.x_kind == "step" else f"{x:,.2f}"

    def rows(self, width: int, height: int) -> list[Runs]:
        """As many rows as `height`, each `width` cells; blank where that is too small for a chart."""
        self._size = (width, height)
        if width < MIN_WIDTH or height < MIN_HEIGHT:
            return [((" " * width, BLANK),)] * height
        if not any(len(one) for one in self.series):
            return self._nothing(width, height)
        self._fit_views()
        symbols = SYMBOLS[self.symbol]
        ticks, labels = y_ticks(*self.y_view.range, height - 3, self.y_view.log, TINY_RATE if self.rates else TINY)
        widest = max(map(len, labels), default=1)
        if not widest <= self.label_width <= widest + 2:
            self.label_width = widest
        frame = self.frame
        row_of = frame.row_of(frame.height * symbols.rows)
        tick_rows = [min(frame.height - 1, round(row_of(t)) // symbols.rows) for t in ticks]
        plot = plot_rows(
            self.traces,
            frame,
            symbols,
            dict(zip(tick_rows, labels, strict=True)),
            label_width=self.label_width,
            cursor=self.cursor,
            letters=self.letters,
        )
        axis = axis_rows(frame, symbols, self.x_kind, self.label_width)
        return [self._legend(symbols.swatch, width), *plot, *axis]

    def _nothing(self, width: int, height: int) -> list[Runs]:
        """Before the first point: axes would show a range that no data have."""
        blank: Runs = ((" " * width, BLANK),)
        told = (("nothing yet" if self.x_view.live else "no values").center(width), LABEL)
        rows = [legend_row(self.title, [], "", width), *[blank] * (height - 1)]
        rows[height // 2] = (told,)
        return rows

    def _fit_views(self) -> None:
        drawn = [s for s in self.series if len(s)]
        self.x_view.update(min(s.xs[0] for s in drawn), max(s.xs[-1] for s in drawn))
        low, high = inf, -inf
        for one in drawn:
            start, stop = one.view(*self.x_view.range)
            if self.falls and self.x_view.mode == "all" and not one.marker and stop - start >= MANY:
                start = bisect_left(one.xs, one.xs[0] + OPENING * (one.xs[-1] - one.xs[0]))
            a, b = one.extremes(start, stop)
            low, high = min(low, a), max(high, b)
        self.y_view.update(low, high)

    def _legend(self, swatch: str, width: int) -> Runs:
        values = [(s, s.last) for s in self.series] if self.cursor is None else self.values_at(self.cursor)
        entries, write = [], format_rate if self.rates else format_value
        for i, (one, value) in enumerate(values):
            text = "–" if value is None else ("gap" if isnan(value) else write(value))
            mark = letter(i + 1) if self.letters else swatch
            entries.append(Entry(one.name, text.rjust(5), i + 1, mark, one.dim))
        at = "" if self.cursor is None else f"{self.x_kind} {self.format_x(self.cursor)}"
        return legend_row(self.title + (LOG if self.y_view.log else ""), entries, at, width)
