"""A run's events as curves: what the charts draw, by step or by time, raw and smoothed."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pixeltui.events import AnyEvent, Evaluated, Started, Step
from pixeltui.ui.widgets.series import Series, Smoother

Metric = Literal["bits", "nats", "lr", "grad", "speed"]
XKind = Literal["step", "epoch", "time"]

METRICS: Final[dict[Metric, str]] = {
    "bits": "bits/dim",
    "nats": "nats/dim",
    "lr": "learning rate",
    "grad": "gradient norm",
    "speed": "images/s",
}
SMOOTHING: Final = (0.0, 0.6, 0.9, 0.97, 0.99)


@dataclass
class Points:
    """A curve's points. seconds: of training since the run began, the time between two processes left out."""

    steps: "array[float]"
    seconds: "array[float]"
    ys: "array[float]"

    @classmethod
    def none(cls) -> "Points":
        return cls(array("d"), array("d"), array("d"))

    def add(self, step: float, seconds: float, y: float | None) -> None:
        self.steps.append(step)
        self.seconds.append(seconds)
        self.ys.append(float("nan") if y is None else y)

    def cut(self, step: float) -> None:
        """Drops what lies beyond the step."""
        keep = len(self.steps)
        while keep and self.steps[keep - 1] > step:
            keep -= 1
        del self.steps[keep:], self.seconds[keep:], self.ys[keep:]


class Curves:
    """Points of all metrics of one run, and the series of those that a chart asked for, kept up to date."""

    def __init__(self) -> None:
        self.points: dict[str, Points] = {}
        self.steps_per_epoch = 1
        self._origin: float | None = None
        self._now = 0.0

    def fold(self, events: Iterable[AnyEvent]) -> bool:
        """Whether points went away, so that series have to be made anew."""
        rewound = False
        for event in events:
            match event:
                case Started():
                    rewound |= self._rewind(event)
                case Step():
                    self._add(event, "bits/train", event.bits_per_dim)
                    self._add(event, "nats/train", event.loss)
                    self._add(event, "lr/lr", event.lr)
                    self._add(event, "grad/norm", event.grad_norm)
                    self._add(event, "speed/speed", event.images_per_second)
                case Evaluated(split="val"):
                    self._add(event, "bits/val", event.bits_per_dim)
                    self._add(event, "nats/val", event.nats_per_dim)
                case _:
                    pass
        return rewound

    def _rewind(self, event: Started) -> bool:
        self.steps_per_epoch = max(event.steps_per_epoch, 1)
        before = sum(len(points.steps) for points in self.points.values())
        for points in self.points.values():
            points.cut(event.step)
        self._now = max((p.seconds[-1] for p in self.points.values() if p.seconds), default=0.0)
        self._origin = event.t - self._now
        return before != sum(len(points.steps) for points in self.points.values())

    def _add(self, event: Step | Evaluated, name: str, y: float | None) -> None:
        if self._origin is None:
            self._origin = event.t
        points = self.points.setdefault(name, Points.none())
        if points.steps and event.step < points.steps[-1]:
            points.cut(event.step - 1)
        self._now = max(self._now, event.t - self._origin)
        points.add(event.step, self._now, y)


class Drawn:
    """The series of one chart, following its run's curves."""

    def __init__(
        self,
        curves: Curves,
        metric: Metric,
        *,
        kind: XKind = "step",
        smoothing: float = 0.9,
        name: str = "",
        color: str = "",
    ) -> None:
        """name, color: of the run, where several are laid over one another: then one curve a run is drawn."""
        self._curves = curves
        self._kind = kind
        self._done: dict[str, int] = {}
        self._smoother = Smoother(smoothing)
        self._by_name: dict[str, Series] = {}
        self.series: list[Series] = []
        prefix = f"{name} " if name else ""
        if metric in ("bits", "nats"):
            if smoothing and not name:
                self._make(f"{metric}/train", "train, raw", color or "series0", dim=True)
            self._make(f"{metric}/train", f"{prefix}train", color or "series0", smooth=bool(smoothing), dim=bool(name))
            self._make(f"{metric}/val", f"{prefix}val", color or "series1", marker=True)
        elif metric == "lr":
            self._make("lr/lr", name or "rate", color or "series2")
        else:
            source, shade = ("grad/norm", "series3") if metric == "grad" else ("speed/speed", "series4")
            if smoothing and not name:
                self._make(source, "raw", color or shade, dim=True)
            self._make(source, name or ("smoothed" if smoothing else "raw"), color or shade, smooth=bool(smoothing))
        self.update()

    def _make(
        self, source: str, name: str, color: str, *, smooth: bool = False, dim: bool = False, marker: bool = False
    ) -> None:
        series = Series(name, color=color, dim=dim, marker=marker)
        self._by_name[f"{source} {'smooth' if smooth else 'raw'}"] = series
        self.series.append(series)

    def update(self) -> bool:
        """Appends the points that are new; whether there were any."""
        changed = False
        for key, series in self._by_name.items():
            source, how = key.split(" ")
            points = self._curves.points.get(source)
            if points is None or len(series) == len(points.steps):
                continue
            start = len(series)
            xs = points.seconds if self._kind == "time" else points.steps
            ys: Iterable[float | None] = points.ys[start:]
            series.extend(xs[start:], self._smoother(ys) if how == "smooth" else ys)
            changed = True
        return changed
