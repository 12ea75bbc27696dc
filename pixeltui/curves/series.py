"""A curve's points, with minima and maxima of blocks of them, so that any stretch is summed up in a few operations."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf, isfinite, nan
from operator import le

BLOCK = 16
OPENING = 0.05
"""share of a curve that falls whose beginning may lie above a chart of all of it"""


class Series:
    """Points in the order of x, which never decreases. A `ys` of None, NaN or an infinity is a gap.

    color: "#rrggbb" or a theme's token ("series0", "accent"...). dim: drawn faint, behind the others (raw values behind
    their smoothed curve). marker: every point gets a mark while there is room for it (values that come seldom).
    Raises ValueError for xs and ys of different lengths, or an x that is not finite or decreases.
    """

    def __init__(
        self,
        name: str,
        xs: Iterable[float] = (),
        ys: Iterable[float | None] = (),
        color: str = "series0",
        dim: bool = False,
        marker: bool = False,
    ) -> None:
        self.name = name
        self.color = color
        self.dim = dim
        self.marker = marker
        self.xs = array("d")
        self.ys = array("d")
        self.gaps = array("q")  # indices of points without a value, or that stand for some that have none
        self._points: tuple[array[float], array[float]] | None = None  # least and greatest of what a point stands for
        self._low: list[array[float]] = []  # level k: minima of BLOCK ** (k + 1) points; +inf for gaps alone
        self._high: list[array[float]] = []
        self.extend(xs, ys)

    def __len__(self) -> int:
        return len(self.xs)

    def append(self, x: float, y: float | None) -> None:
        self.extend((x,), (y,))

    def extend(
        self,
        xs: Iterable[float],
        ys: Iterable[float | None],
        extremes: "tuple[array[float], array[float]] | None" = None,
        gaps: Iterable[int] = (),
    ) -> None:
        """For points that stand for many values each, which all of a series do or none: the least and the greatest of
        these (inf and -inf where there are none), and the indices of points that had gaps among them."""
        new_xs = array("d", xs)
        new_ys = array("d", ys if isinstance(ys, array) else [nan if y is None else y for y in ys])
        if len(new_xs) != len(new_ys):
            raise ValueError(f"series {self.name!r}: {len(new_xs)} xs and {len(new_ys)} ys")
        if not new_xs:
            return
        ordered = all(map(le, new_xs, islice(new_xs, 1, None))) and (not self.xs or self.xs[-1] <= new_xs[0])
        if not (ordered and isfinite(new_xs[0]) and isfinite(new_xs[-1])):
            raise ValueError(f"series {self.name!r}: xs must be finite and must not decrease")
        start = len(self.xs)
        if extremes is not None:
            low, high = self._points = self._points or (array("d"), array("d"))
            low += extremes[0]
            high += extremes[1]
        self.xs += new_xs
        self.ys += new_ys
        if extremes is not None:
            self.gaps.extend(gaps)
        elif not isfinite(sum(new_ys)):
            self.gaps.extend(start + i for i, y in enumerate(new_ys) if not isfinite(y))
        self._build()

    def _build(self) -> None:
        """Add the blocks that have become full."""
        level = 0
        while True:
            done = len(self._low[level]) if level < len(self._low) else 0
            full = (len(self._low[level - 1]) if level else len(self.ys)) // BLOCK
            if done == full:
                return
            if level == len(self._low):
                self._low.append(array("d"))
                self._high.append(array("d"))
            add_low, add_high = self._low[level].append, self._high[level].append
            for start in range(done * BLOCK, full * BLOCK, BLOCK):
                low, high = self._slice(level, start, start + BLOCK)
                add_low(low)
                add_high(high)
            level += 1

    def _slice(self, level: int, start: int, stop: int) -> tuple[float, float]:
        """Extremes of entries [start, stop) one level below `level`; (inf, -inf) where there is no value."""
        if level:
            return min(self._low[level - 1][start:stop]), max(self._high[level - 1][start:stop])
        if self._points is not None:
            return min(self._points[0][start:stop]), max(self._points[1][start:stop])
        part: Sequence[float] = self.ys[start:stop]
        if self.gaps and bisect_left(self.gaps, start) != bisect_left(self.gaps, stop):
            part = [y for y in part if isfinite(y)]
            if not part:
                return inf, -inf
        return min(part), max(part)

    def extremes(self, start: int, stop: int) -> tuple[float, float]:
        """Smallest and largest value of the points [start, stop), in time logarithmic in their number; (inf, -inf) if
        there is none."""
        low, high, level = inf, -inf, 0
        while start < stop:
            if stop - start <= 2 * BLOCK or level == len(self._low):
                a, b = self._slice(level, start, stop)
                return min(low, a), max(high, b)
            inner_start, inner_stop = -(-start // BLOCK), stop // BLOCK
            if start < inner_start * BLOCK:
                a, b = self._slice(level, start, inner_start * BLOCK)
                low, high = min(low, a), max(high, b)
            if inner_stop * BLOCK < stop:
                a, b = self._slice(level, inner_stop * BLOCK, stop)
                low, high = min(low, a), max(high, b)
            start, stop, level = inner_start, inner_stop, level + 1
        return low, high

    def view(self, x0: float, x1: float) -> tuple[int, int]:
        """Indices [start, stop) of the points in [x0, x1], and one neighbour on either side where there is one."""
        return max(0, bisect_left(self.xs, x0) - 1), min(len(self.xs), bisect_right(self.xs, x1) + 1)

    def value_at(self, x: float) -> tuple[float, float] | None:
        """The point nearest to x, with NaN for a gap; None where x is outside of the curve."""
        if not self.xs or not self.xs[0] <= x <= self.xs[-1]:
            return None
        right = bisect_left(self.xs, x)
        index = right if right == 0 or self.xs[right] - x <= x - self.xs[right - 1] else right - 1
        y = self.ys[index]
        return self.xs[index], y if isfinite(y) else nan

    @property
    def last(self) -> float | None:
        """The newest value: None while there is none, or where the curve ends in a gap."""
        return self.ys[-1] if self.ys and isfinite(self.ys[-1]) else None


class Smoother:
    """Exponential moving average of a stream, with the bias towards its start taken out; gaps stay gaps.

    weight: share of the past, in [0, 1); 0 returns the values themselves. Equal values come out exactly.
    """

    def __init__(self, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(f"weight must be in [0, 1), not {weight}")
        self.weight = weight
        self._mean = 0.0
        self._mass = 0.0

    def __call__(self, ys: Iterable[float | None]) -> list[float | None]:
        out: list[float | None] = []
        for y in ys:
            if y is None or not isfinite(y):
                out.append(None)
                continue
            self._mass = self.weight * self._mass + (1 - self.weight)
            self._mean += (1 - self.weight) / self._mass * (y - self._mean)
            out.append(self._mean)
        return out
