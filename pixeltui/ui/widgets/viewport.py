"""What stretch of the data a chart shows. Ranges move in steps, so that most frames leave most rows as they are."""

from math import inf, isfinite, log10
from typing import Literal

GROWTH = 1.25
"""Ratio by which a range grows at once."""
FLAT = 1e-9
"""Values that differ by less of themselves are one, but for rounding."""

Range = tuple[float, float]


class XView:
    """The horizontal range: all of the data, a window at its right edge, or a stretch that the user chose."""

    def __init__(self) -> None:
        self.mode: Literal["all", "follow", "fixed"] = "all"
        self.live = True
        self._data: Range = (0.0, 1.0)
        self._range: Range | None = None

    @property
    def range(self) -> Range:
        return self._range or self._data

    def update(self, low: float, high: float) -> None:
        """The data now reach from low to high."""
        self._data = (low, high) if low < high else (low, low + 1.0)
        low, high = self._data
        x0, x1 = self.range
        if self.mode == "all":
            if not self.live:
                self._range = self._data
            elif self._range is None or x0 != low or high > x1 or (high - low) * GROWTH**2 < x1 - x0:
                self._range = (low, low + (high - low) * GROWTH)
        elif self.mode == "follow" and not x0 <= high <= x1:
            room = (x1 - x0) * (1 - 1 / GROWTH) if self.live else 0.0
            self._range = (high + room - (x1 - x0), high + room)

    def set(self, x0: float, x1: float) -> None:
        """Show [x0, x1], kept within the data. Raises ValueError for an empty range."""
        if not (isfinite(x0) and isfinite(x1) and x0 < x1):
            raise ValueError(f"x range {x0} to {x1} is empty")
        low, high = self._data
        room = 1 - 1 / GROWTH if self.live else 0.0
        if (x1 - x0) * (1 - room) >= high - low:
            self.fit()
            return
        right = high + (x1 - x0) * room
        shift = low - x0 if x0 < low else min(0.0, right - x1)
        self._range = (x0 + shift, x1 + shift)
        self.mode = "follow" if x0 + shift <= high <= x1 + shift else "fixed"

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Show 1 / factor of the range: around `at` where it is in view, or around the newest point where that is, or
        else around the middle."""
        x0, x1 = self.range
        high = self._data[1]
        if at is None or not x0 <= at <= x1:
            at = high if x0 <= high <= x1 else (x0 + x1) / 2
        self.set(at - (at - x0) / factor, at + (x1 - at) / factor)

    def pan(self, fraction: float) -> None:
        """Move by a share of the width, as far as there are data."""
        x0, x1 = self.range
        if self.mode != "all":
            self.set(x0 + fraction * (x1 - x0), x1 + fraction * (x1 - x0))

    def fit(self) -> None:
        self.mode = "all"
        self._range = None
        self.update(*self._data)

    def follow(self) -> None:
        """Keep the width, and the newest point in view."""
        if self.mode != "all":
            self.mode = "follow"
            self.update(*self._data)


class YView:
    """The vertical range: fitted to what is in view, or chosen. Works on log10 of the values on a log axis."""

    def __init__(self) -> None:
        self.log = False
        self.auto = True
        self._range: Range | None = None

    @property
    def range(self) -> Range:
        low, high = self._range or (0.0, 1.0)
        return (10.0**low, 10.0**high) if self.log else (low, high)

    def set_log(self, log: bool) -> None:
        if log != self.log:
            self.log, self.auto, self._range = log, True, None

    def update(self, low: float, high: float) -> None:
        """The values in view reach from low to high; (inf, -inf) for none."""
        if not self.auto or low > high:
            return
        floor = 0.0 if low >= 0 and not self.log else -inf  # there is nothing to see under a zero
        flat = high - low <= FLAT * max(abs(low), abs(high))
        if self.log:
            if high <= 0:
                return
            low, high = log10(max(low, high * 1e-9)), log10(high)
        span = high - low
        if flat:
            middle = (low + high) / 2
            span = 0.5 if self.log else abs(middle) * 0.2 or 1.0
            low, high = middle - span / 2, middle + span / 2
        if self._range is None or span * GROWTH**3 < self._range[1] - self._range[0]:
            y0, y1 = low - span * 0.06, high + span * 0.06
        else:
            y0, y1 = self._range
            growth = (y1 - y0) * (GROWTH - 1)
            if low < y0:
                y0 = min(low - span * 0.03, y0 - growth)
            if high > y1:
                y1 = max(high + span * 0.03, y1 + growth)
        self._range = (max(y0, floor), y1)

    def zoom(self, factor: float) -> None:
        y0, y1 = self._range or (0.0, 1.0)
        middle, half = (y0 + y1) / 2, (y1 - y0) / 2 / factor
        if 1e-12 * max(1.0, abs(middle)) < half < inf:
            self.auto = False
            self._range = (middle - half, middle + half)

    def pan(self, fraction: float) -> None:
        """Move up by a share of the height."""
        y0, y1 = self._range or (0.0, 1.0)
        shift = fraction * (y1 - y0)
        self.auto = False
        self._range = (y0 + shift, y1 + shift)

    def fit(self) -> None:
        self.auto = True
        self._range = None
