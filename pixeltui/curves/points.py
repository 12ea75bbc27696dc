"""A run's events as points, by step and by time of training."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pixeltui.events import AnyEvent, Evaluated, Started, Step

Metric = Literal["bits", "nats", "lr", "grad", "speed"]

METRICS: Final[dict[Metric, str]] = {
    "bits": "bits/dim",
    "nats": "nats/dim",
    "lr": "learning rate",
    "grad": "gradient norm",
    "speed": "images/s",
}


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
        points = self.points.get(name)
        if points is None:
            points = self.points[name] = Points.none()
        if points.steps and event.step < points.steps[-1]:
            points.cut(event.step - 1)
        self._now = max(self._now, event.t - self._origin)
        points.add(event.step, self._now, y)
