"""Line charts as inline SVG that follows the page: its width, its colours, its print.

Places are percentages of the plot, so that text keeps its size at any width; lines are in a plot of 1000 x 1000 units
that is stretched to it, with strokes that are not.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeGuard

from pixeltui.curves.ticks import XKind, format_value, x_ticks, y_ticks
from pixeltui.report.html import Html, tag

UNITS = 1000
MOST_POINTS = 500
"""of a line, beyond which neighbours are drawn as their smallest and their largest"""
CELLS = 96
"""of a terminal that would be as wide, by which the ticks are chosen"""
ROWS = {"tall": 17, "small": 9}
COLORS = 8
"""hues in style.css"""


@dataclass(frozen=True, kw_only=True)
class Line:
    """ys: None or NaN is a gap. errors: one standard error of each y, or none. color: a number of a hue."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    errors: Sequence[float | None] = field(default=())
    color: int = 0
    style: Literal["line", "faint", "dots"] = "line"
    note: str = ""
    """behind the name in the legend"""


@dataclass(frozen=True)
class _Plot:
    x0: float
    x1: float
    y0: float
    y1: float
    log: bool

    def x(self, x: float) -> float:
        return (x - self.x0) / (self.x1 - self.x0)

    def y(self, y: float) -> float:
        """From the top."""
        if self.log:
            return 1 - math.log(y / self.y0) / math.log(self.y1 / self.y0)
        return 1 - (y - self.y0) / (self.y1 - self.y0)


def chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_kind: XKind = "step",
    log: bool = False,
    size: Literal["tall", "small"] = "small",
    top: float | None = None,
) -> Html:
    """A figure with its legend; an empty one where there is nothing to draw. top: what lies above is cut off."""
    lines = [line for line in lines if any(_shown(y, log) for y in line.ys)]
    if not lines:
        return Html()
    plot = _plot(lines, log, top)
    x_at, x_labels = x_ticks(plot.x0, plot.x1, CELLS, x_kind)
    y_at, y_labels = y_ticks(plot.y0, plot.y1, ROWS[size], log)
    drawing = tag(
        "svg",
        *(_grid_row(plot.y(y), label) for y, label in zip(y_at, y_labels, strict=True)),
        *(_grid_column(plot.x(x), label, i) for i, (x, label) in enumerate(zip(x_at, x_labels, strict=True))),
        tag(
            "svg",
            *(part for line in lines for part in _drawn(line, plot)),
            viewBox=f"0 0 {UNITS} {UNITS}",
            preserveAspectRatio="none",
            width="100%",
            height="100%",
        ),
        class_="plot",
        role="img",
        aria_label=f"{title}: {', '.join(line.name for line in lines)}",
    )
    legend = (
        tag("span", tag("i", class_=f"key {line.style} c{line.color % COLORS}"), f"{line.name} ", tag("b", line.note))
        for line in lines
    )
    cut = top is not None and any(y is not None and y > plot.y1 for line in lines for y in line.ys)
    words = (f"{title}, by {x_kind}", ", logarithmic" if log else "", "; its beginning lies above" if cut else "")
    caption = tag("figcaption", tag("strong", *words), tag("span", *legend, class_="legend"))
    return tag("figure", caption, tag("div", drawing, class_="axes"), class_=f"chart {size}")


def _plot(lines: Sequence[Line], log: bool, top: float | None) -> _Plot:
    ys = [y for line in lines for y in line.ys if _shown(y, log)]
    xs = [x for line in lines for x in line.xs]
    low, high = min(ys), max(ys)
    high = high if top is None else max(min(high, top), low)
    if log:
        edge = (high / low) ** 0.05 if high > low else 2.0
        y0, y1 = low / edge, high * edge
    else:
        edge = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        y0, y1 = (0.0 if 0 <= low < 2 * edge else low - edge), high + edge
    x0, x1 = min(*xs, 0.0), max(xs)
    return _Plot(x0, x1 + (x1 - x0) * 0.01 if x1 > x0 else x0 + 1, y0, y1, log)


def _shown(y: float | None, log: bool) -> TypeGuard[float]:
    return y is not None and math.isfinite(y) and (y > 0 or not log)


def _grid_row(place: float, label: str) -> Html:
    y = f"{place:.2%}"
    return tag(
        "g",
        tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid"),
        tag("text", label, x="-8", y=y, dy="0.35em", class_="y"),
    )


def _grid_column(place: float, label: str, index: int) -> Html:
    """Every other one is left out where the page is narrow."""
    x = f"{place:.2%}"
    return tag(
        "g",
        tag("line", x1=x, x2=x, y1="100%", y2="100%", class_="grid"),
        tag("text", label, x=x, y="100%", dy="1.5em", class_="x"),
        class_="odd" if index % 2 else None,
    )


def _drawn(line: Line, plot: _Plot) -> Iterator[Html]:
    if line.style != "dots" or len(line.xs) > 1:
        yield tag("path", d=" ".join(_path(line, plot)), class_=f"{line.style} c{line.color % COLORS}")
    if line.style != "dots":
        return
    errors = line.errors or [None] * len(line.xs)
    for x, y, error in zip(line.xs, line.ys, errors, strict=True):
        if not _shown(y, plot.log):
            continue
        at, middle = plot.x(x) * UNITS, plot.y(y) * UNITS
        value = f"{format_value(y)}{'' if error is None else f' ± {format_value(error, 2)}'} at {format_value(x)}"
        bar = ""
        if error is not None and not plot.log:
            bar = f"M{at:.1f} {plot.y(y - error) * UNITS:.1f}V{plot.y(y + error) * UNITS:.1f}"
        yield tag(
            "g",
            tag("title", f"{line.name}: {value}"),
            tag("path", d=bar, class_="bar") if bar else "",
            tag("path", d=f"M{at:.1f} {middle:.1f}h0", class_="dot"),
            class_=f"c{line.color % COLORS}",
        )


def _path(line: Line, plot: _Plot) -> Iterator[str]:
    pen = "M"
    for x, y in _thinned(line):
        if not _shown(y, plot.log):
            pen = "M"
            continue
        # Far above the plot is as good as just outside it, and keeps the numbers short.
        yield f"{pen}{plot.x(x) * UNITS:.1f} {max(-UNITS, plot.y(y) * UNITS):.1f}"
        pen = "L"


def _thinned(line: Line) -> Iterable[tuple[float, float | None]]:
    points = list(zip(line.xs, line.ys, strict=True))
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(2 * len(points) / MOST_POINTS)
    thinned: list[tuple[float, float | None]] = []
    for start in range(0, len(points), size):
        some = [(y, i) for i, (_, y) in enumerate(points[start : start + size], start) if _shown(y, False)]
        if not some:
            thinned.append((points[start][0], None))
            continue
        thinned += [points[i] for i in sorted({min(some)[1], max(some)[1]})]
    return thinned
