"""A run's events as points, by step and by time of training."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pixeltui.events import AnyEvent, Evaluated, Started, Step


class Metric(NamedTuple):
    """What one chart shows: a field of step events, and one of evaluations of the validation split, or "" for none."""

    title: str
    of_step: str
    of_evaluation: str = ""
    smooth: bool = True
    """whether single steps are so noisy that a smoothed curve says more"""
    log: bool = False
    """whether a report draws it on a logarithmic axis"""


METRICS: Final = {
    "bits": Metric("bits/dim", "bits_per_dim", "bits_per_dim"),
    "nats": Metric("nats/dim", "loss", "nats_per_dim"),
    "lr": Metric("learning rate", "lr", smooth=False),
    "grad": Metric("gradient norm", "grad_norm", log=True),
    "speed": Metric("images/s", "images_per_second"),
}
"""Every chart there is. The curves of "bits" are called "bits/train" and "bits/val"."""
OF_STEP: Final = [(f"{name}/train", metric.of_step) for name, metric in METRICS.items()]
OF_EVALUATION: Final = [
    (f"{name}/val", metric.of_evaluation) for name, metric in METRICS.items() if metric.of_evaluation
]


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
                    self._add(event, OF_STEP)
                case Evaluated(split="val"):
                    self._add(event, OF_EVALUATION)
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

    def _add(self, event: Step | Evaluated, curves: list[tuple[str, str]]) -> None:
        if self._origin is None:
            self._origin = event.t
        self._now = max(self._now, event.t - self._origin)
        for name, field in curves:
            points = self.points.get(name)
            if points is None:
                points = self.points[name] = Points.none()
            if points.steps and event.step < points.steps[-1]:
                points.cut(event.step - 1)
            points.add(event.step, self._now, getattr(event, field))
