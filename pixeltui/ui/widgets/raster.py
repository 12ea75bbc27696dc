"""Curves into cells: every dot column holds the extremes of the points that fall into it, so that no spike is lost.

A curve is a function of x, so one interval of dots a column is all of it: intervals come from the blocks of `Series`,
whatever the number of points, and are written into cells with two table look-ups and a strided fill.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import floor, inf, isfinite, log10
from typing import Final, Literal

from pixeltui.curves.series import Series

GraphSymbol = Literal["braille", "block", "ascii"]


@dataclass(frozen=True)
class Symbols:
    """How a cell shows its dots: `bits[column][row]` of a mask, `table[mask]` the character."""

    bits: tuple[tuple[int, ...], ...]
    table: str
    marker: str
    gap: str
    cursor: str
    grid: str
    axis: str
    tick: str
    x_axis: tuple[str, str, str]  # corner, line, tick
    swatch: str

    @property
    def columns(self) -> int:
        return len(self.bits)

    @property
    def rows(self) -> int:
        return len(self.bits[0])


_BRAILLE = " " + "".join(chr(0x2800 + mask) for mask in range(1, 256))
# Quadrants: 1 upper left, 2 lower left, 4 upper right, 8 lower right.
_QUADRANTS = " ▘▖▌▝▀▞▛▗▚▄▙▐▜▟█"
SYMBOLS: Final[dict[GraphSymbol, Symbols]] = {
    "braille": Symbols(
        ((1, 2, 4, 64), (8, 16, 32, 128)), _BRAILLE, "●", "✗", "│", "┈", "│", "┤", ("└", "─", "┬"), "━━"
    ),
    "block": Symbols(((1, 2), (4, 8)), _QUADRANTS, "■", "×", "│", "·", "│", "┤", ("└", "─", "┬"), "━━"),
    "ascii": Symbols(((1, 2),), " '.|", "o", "x", "|", ".", "|", "+", ("+", "-", "+"), "--"),
}


@dataclass
class Layer:
    """One curve in cells. cells: row-major, one mask a cell. marks: cell indices of points. gaps: cell columns with a
    point that has no value."""

    cells: bytearray
    marks: set[int] = field(default_factory=set)
    gaps: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Frame:
    """What part of the plane is drawn into how many cells. With `log_y`, y0 and y1 are positive."""

    x0: float
    x1: float
    y0: float
    y1: float
    width: int
    height: int
    log_y: bool = False

    def column(self, x: float, columns: int) -> int:
        """Column of x among `columns` over the whole width; outside of [0, columns) where x is out of view."""
        return floor((x - self.x0) / (self.x1 - self.x0) * (columns - 1) + 0.5)

    def x_at(self, column: float, columns: int) -> float:
        return self.x0 + (self.x1 - self.x0) * column / max(1, columns - 1)

    def row_of(self, rows: int) -> Callable[[float], float]:
        """A function from a value to its row among `rows` (0 on top, not rounded), kept within a row of the edges."""
        top, bottom = (log10(self.y1), log10(self.y0)) if self.log_y else (self.y1, self.y0)
        scale = (rows - 1) / (top - bottom)
        edge = float(rows)

        def row(y: float) -> float:
            if self.log_y:
                y = log10(y) if y > 0 else -inf
            return min(edge, max(-1.0, (top - y) * scale))

        return row


def _nodes(series: Series, frame: Frame, columns: int, at: int) -> list[tuple[int, int, int]]:
    """(column, start, stop): the points from index `at` on of every column that has any, and the neighbours out of view
    among them."""
    start, stop = series.view(frame.x0, frame.x1)
    start = max(start, at)
    xs = series.xs
    if stop - start <= 4 * columns:
        nodes: list[tuple[int, int, int]] = []
        here, first = None, start
        scale = (columns - 1) / (frame.x1 - frame.x0)
        for i in range(start, stop):
            column = floor((xs[i] - frame.x0) * scale + 0.5)
            if column != here:
                if here is not None:
                    nodes.append((here, first, i))
                here, first = column, i
        if here is not None:
            nodes.append((here, first, stop))
        return nodes
    return _dense_nodes(series, frame, columns, start, stop)


def _dense_nodes(series: Series, frame: Frame, columns: int, start: int, stop: int) -> list[tuple[int, int, int]]:
    xs = series.xs
    step = (frame.x1 - frame.x0) / (columns - 1)
    nodes: list[tuple[int, int, int]] = []
    at = start
    for column in range(columns):
        end = bisect_left(xs, frame.x0 + (column + 0.5) * step, at, stop) if column < columns - 1 else stop
        if column == 0 and xs[start] < frame.x0 - step / 2:
            nodes.append((frame.column(xs[start], columns), start, start + 1))
            at = start + 1
        if column == columns - 1 and end > at and xs[end - 1] > frame.x1 + step / 2:
            if end - 1 > at:
                nodes.append((column, at, end - 1))
            nodes.append((max(columns, frame.column(xs[end - 1], columns)), end - 1, end))
        elif end > at:
            nodes.append((column, at, end))
        at = max(at, end)
    return nodes


def _has_gap(series: Series, start: int, stop: int) -> bool:
    return bool(series.gaps) and bisect_left(series.gaps, start) != bisect_left(series.gaps, stop)


def draw(series: Series, frame: Frame, symbols: Symbols) -> Layer:
    """The curve in the frame's cells, a line from each point to the next, broken at gaps."""
    return Trace(series).draw(frame, symbols)


class Trace:
    """Draws a series again and again: as long as the frame stays the same, only added points cost anything."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._key: object = None
        self._layer = Layer(bytearray())
        self._tops: list[float] = []
        self._bottoms: list[float] = []
        self._next = 0  # index of the first point that may still change: the start of the last node
        self._before: tuple[int, float] | None = None  # the column and the last row of the node before that one

    def draw(self, frame: Frame, symbols: Symbols) -> Layer:
        series = self.series
        columns, rows = frame.width * symbols.columns, frame.height * symbols.rows
        key = (frame, symbols)
        if key != self._key or series.marker:
            self._key = key
            self._layer = Layer(bytearray(frame.width * frame.height))
            self._tops, self._bottoms = [inf] * columns, [-inf] * columns
            self._next, self._before = 0, None
        if not len(series) or columns < 2 or rows < 2:
            return self._layer
        nodes = _nodes(series, frame, columns, self._next)
        first = max(0, nodes[0][0] - 1) if nodes else columns
        if self._before is not None:
            first = min(first, max(0, self._before[0]))
        self._add(nodes, frame, symbols)
        _fill(self._layer.cells, self._tops, self._bottoms, frame, symbols, first // symbols.columns)
        return self._layer

    def _add(self, nodes: list[tuple[int, int, int]], frame: Frame, symbols: Symbols) -> None:
        """Widen the columns' intervals by the nodes. Intervals only grow while points are added."""
        series, layer, tops, bottoms = self.series, self._layer, self._tops, self._bottoms
        ys, before = series.ys, self._before
        columns, rows = len(tops), frame.height * symbols.rows
        row_of = frame.row_of(rows)
        mark = series.marker and len(nodes) <= frame.width // 2
        for column, start, stop in nodes:
            inside = 0 <= column < columns
            self._next, self._before = start, before
            if inside and _has_gap(series, start, stop):
                layer.gaps.add(column // symbols.columns)
            low, high = series.extremes(start, stop)
            if low > high:
                before = None
                continue
            first, last = ys[start], ys[stop - 1]
            if inside:
                top, bottom = row_of(high), row_of(low)
                if top < tops[column]:
                    tops[column] = top
                if bottom > bottoms[column]:
                    bottoms[column] = bottom
                if mark and 0 <= (row := round(top)) < rows:
                    layer.marks.add(row // symbols.rows * frame.width + column // symbols.columns)
            if before is not None and isfinite(first):
                _join(tops, bottoms, *before, column, row_of(first))
            before = (column, row_of(last)) if isfinite(last) else None


def _join(tops: list[float], bottoms: list[float], c0: int, r0: float, c1: int, r1: float) -> None:
    """Widen the intervals of the columns from c0 to c1 by the straight line between the two points."""
    if c1 - c0 <= 1:  # 0: a point between two columns, once many and once few were looked at
        middle = (r0 + r1) / 2
        for column in (c0, c1):
            if 0 <= column < len(tops):
                tops[column] = min(tops[column], middle)
                bottoms[column] = max(bottoms[column], middle)
        return
    slope = (r1 - r0) / (c1 - c0)
    for column in range(max(0, c0), min(len(tops), c1 + 1)):
        left = r0 + slope * (max(column - 0.5, c0) - c0)
        right = r0 + slope * (min(column + 0.5, c1) - c0)
        low, high = (left, right) if left < right else (right, left)
        tops[column] = min(tops[column], low)
        bottoms[column] = max(bottoms[column], high)


@cache
def _filled(dots: int) -> bytes:
    """Every mask with these dots set."""
    return bytes(mask | dots for mask in range(256))


def _fill(
    cells: bytearray, tops: list[float], bottoms: list[float], frame: Frame, symbols: Symbols, first_cell: int
) -> None:
    width, per = frame.width, symbols.rows
    rows = frame.height * per
    for side in range(symbols.columns):
        bits = symbols.bits[side]
        starts = [sum(bits[i:]) for i in range(per)]  # dots from i down to the cell's edge
        ends = [sum(bits[: i + 1]) for i in range(per)]  # dots from the cell's upper edge down to i
        full = _filled(ends[-1])
        for x in range(first_cell, width):
            column = x * symbols.columns + side
            top, bottom = tops[column], bottoms[column]
            if top > bottom or top >= rows - 0.5 or bottom < -0.5:
                continue
            first, last = max(0, int(top + 0.5)), min(rows - 1, int(bottom + 0.5))
            cell, stop = first // per, last // per
            if cell == stop:
                cells[cell * width + x] |= starts[first % per] & ends[last % per]
                continue
            cells[cell * width + x] |= starts[first % per]
            cells[stop * width + x] |= ends[last % per]
            inner = slice((cell + 1) * width + x, stop * width + x, width)
            cells[inner] = cells[inner].translate(full)
