"""What the console's charts draw of a run: by step, epoch or time, raw and smoothed."""

from collections.abc import Iterable
from typing import Final

from pixeltui.curves.points import METRICS, Curves, Points
from pixeltui.curves.series import Series, Smoother
from pixeltui.curves.ticks import XKind
from pixeltui.ui.widgets.plot import SMOOTHED

SMOOTHING: Final = (0.0, 0.6, 0.9, 0.97, 0.99)


class Drawn:
    """The series of one chart, following its run's curves."""

    def __init__(
        self,
        curves: Curves,
        metric: str,
        *,
        kind: XKind = "step",
        smoothing: float = 0.9,
        name: str = "",
        color: str = "",
    ) -> None:
        """metric: of METRICS. name, color: of the run, where several lie over one another: then one curve a run."""
        self._curves = curves
        self._kind = kind
        self._smoother = Smoother(smoothing)
        self._by_name: dict[str, Series] = {}
        self.series: list[Series] = []
        shown, source = METRICS[metric], f"{metric}/train"
        smooth = shown.smooth and smoothing > 0
        if shown.of_evaluation:
            prefix = f"{name} " if name else ""
            label, raw, shade = f"{prefix}train", "train, raw", "series0"
            if smooth and not name:
                label += SMOOTHED
        else:
            alone = "smoothed" if smooth else "raw" if shown.smooth else "value"
            label, raw, shade = name or alone, "raw", f"series{list(METRICS).index(metric)}"
        if smooth and not name:
            self._make(source, raw, color or shade, dim=True)
        self._make(source, label, color or shade, smooth=smooth, dim=bool(name and shown.of_evaluation))
        if shown.of_evaluation:
            self._make(f"{metric}/val", f"{prefix}val", color or "series1", marker=True)
        self.update()

    def _make(
        self, source: str, name: str, color: str, *, smooth: bool = False, dim: bool = False, marker: bool = False
    ) -> None:
        series = Series(name, color=color, dim=dim, marker=marker)
        self._by_name[f"{source} {'smooth' if smooth else 'raw'}"] = series
        self.series.append(series)

    def _xs(self, points: Points, start: int) -> Iterable[float]:
        if self._kind == "time":
            return points.seconds[start:]
        if self._kind == "epoch":  # each run's own: of two runs over one another one may take larger batches
            scale = 1 / self._curves.steps_per_epoch
            return (step * scale for step in points.steps[start:])
        return points.steps[start:]

    def update(self) -> bool:
        """Appends the points that are new; whether there were any."""
        changed = False
        for key, series in self._by_name.items():
            source, how = key.split(" ")
            points = self._curves.points.get(source)
            if points is None or len(series) == len(points.steps):
                continue
            start = len(series)
            xs = self._xs(points, start)
            if how == "smooth":
                series.extend(xs, self._smoother(points.ys[start:]))
            elif points.per == 1:
                series.extend(xs, points.ys[start:])
            else:
                extremes = points.lows[start:], points.highs[start:]
                series.extend(xs, points.ys[start:], extremes, (i for i in points.gaps if i >= start))
            changed = True
        return changed
