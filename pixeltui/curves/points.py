"""A run's events as points, by step and by time of training."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby
from math import inf, isfinite, nan
from operator import attrgetter, le
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
    rate: bool = False
    """whether a console writes its values as learning rates"""
    falls: bool = False
    """whether it begins far above what it is about"""


METRICS: Final = {
    "bits": Metric("bits/dim", "bits_per_dim", "bits_per_dim", falls=True),
    "nats": Metric("nats/dim", "loss", "nats_per_dim", falls=True),
    "lr": Metric("learning rate", "lr", smooth=False, rate=True),
    "grad": Metric("gradient norm", "grad_norm", log=True),
    "speed": Metric("images/s", "images_per_second"),
}
"""Every chart there is. The curves of "bits" are called "bits/train" and "bits/val"."""
MOST: Final = 1 << 16
"""points of a curve; where there are more, neighbours are put together"""


class Points:
    """A curve's points. seconds: of training since the run began, the time between two processes left out.

    Each stands for `per` values that were added: their mean, at the last one's place, with their extremes in `lows` and
    `highs`; `gaps` are the indices of those among whose values one was missing. A point all of whose values are missing
    is NaN. Values that do not make a whole point yet are not among them.
    """

    def __init__(self, per: int = 1, most: int = MOST) -> None:
        self.per = per
        self._most = most
        self.steps, self.seconds, self.ys = array("d"), array("d"), array("d")
        self.lows, self.highs = array("d"), array("d")
        self.gaps = array("q")
        self._rest: tuple[list[float], list[float], list[float]] = ([], [], [])

    @property
    def last_step(self) -> float:
        """-inf while there is none."""
        return self._rest[0][-1] if self._rest[0] else self.steps[-1] if self.steps else -inf

    def extend(self, steps: Sequence[float], seconds: Sequence[float], ys: Sequence[float]) -> bool:
        """In the order of the steps; a missing value is NaN. Whether points were put together."""
        for rest, new in zip(self._rest, (steps, seconds, ys), strict=True):
            rest.extend(new)
        whole = len(self._rest[0]) // self.per * self.per
        steps, seconds, ys = (rest[:whole] for rest in self._rest)
        for rest in self._rest:
            del rest[:whole]
        self.steps.extend(steps[self.per - 1 :: self.per])
        self.seconds.extend(seconds[self.per - 1 :: self.per])
        self._add(ys, ys, ys, self.per)
        folded = False
        while len(self.steps) > self._most:
            self._fold()
            folded = True
        return folded

    def _add(self, ys: Sequence[float], lows: Sequence[float], highs: Sequence[float], per: int) -> None:
        if per == 1:
            start = len(self.ys)
            self.ys.extend(ys)
            finite = isfinite(sum(ys))
            self.lows.extend(lows if finite else [y if isfinite(y) else inf for y in lows])
            self.highs.extend(highs if finite else [y if isfinite(y) else -inf for y in highs])
            if not finite:
                self.gaps.extend(start + i for i, y in enumerate(ys) if not isfinite(y))
            return
        for i in range(0, len(ys), per):
            part = ys[i : i + per]
            mean, low, high = sum(part) / len(part), min(lows[i : i + per]), max(highs[i : i + per])
            if not isfinite(mean):
                self.gaps.append(len(self.ys))
                there = [y for y in part if isfinite(y)]
                mean = sum(there) / len(there) if there else nan
                if lows is ys:
                    low, high = min(there, default=inf), max(there, default=-inf)
            self.ys.append(mean)
            self.lows.append(low)
            self.highs.append(high)

    def _fold(self) -> None:
        """Puts every two neighbours together."""
        ys, lows, highs, gaps = self.ys, self.lows, self.highs, {i // 2 for i in self.gaps}
        last = len(ys) - 1
        ends = [*range(1, last, 2), last]
        self.steps, self.seconds = (array("d", [values[i] for i in ends]) for values in (self.steps, self.seconds))
        self.ys, self.lows, self.highs = array("d"), array("d"), array("d")
        self._add(ys, lows, highs, 2)
        self.gaps = array("q", sorted(gaps))
        self.per *= 2

    def cut(self, step: float) -> None:
        """Drops what lies beyond the step."""
        while self._rest[0] and self._rest[0][-1] > step:
            for rest in self._rest:
                rest.pop()
        keep = bisect_right(self.steps, step)
        if keep == len(self.steps):
            return
        for rest in self._rest:
            rest.clear()
        for values in (self.steps, self.seconds, self.ys, self.lows, self.highs):
            del values[keep:]
        del self.gaps[bisect_left(self.gaps, keep) :]


class Curves:
    """Points of all metrics of one run, and the series of those that a chart asked for, kept up to date."""

    def __init__(self, expected: int = 0, most: int = MOST) -> None:
        """expected: how many step events there are about. most: points of a curve."""
        self.points: dict[str, Points] = {}
        self.steps_per_epoch = 1
        self._of_step = [(f"{name}/train", metric.of_step) for name, metric in METRICS.items()]
        self._of_evaluation = [(f"{name}/val", m.of_evaluation) for name, m in METRICS.items() if m.of_evaluation]
        self._most = most
        self._per = 1
        while expected > self._per * most:
            self._per *= 2
        self._origin: float | None = None
        self._now = 0.0

    def fold(self, events: Iterable[AnyEvent]) -> bool:
        """Whether points went away, so that series have to be made anew."""
        changed = False
        for kind, group in groupby(events, type):
            if kind is Step:
                changed |= self._add([event for event in group if isinstance(event, Step)], self._of_step, self._per)
            elif kind is Evaluated:
                scored = [event for event in group if isinstance(event, Evaluated) and event.split == "val"]
                changed |= self._add(scored, self._of_evaluation, 1)
            elif kind is Started:
                for event in group:
                    changed |= isinstance(event, Started) and self._rewind(event)
        return changed

    def _rewind(self, event: Started) -> bool:
        self.steps_per_epoch = max(event.steps_per_epoch, 1)
        before = sum(len(points.steps) for points in self.points.values())
        for points in self.points.values():
            points.cut(event.step)
        self._now = max((p.seconds[-1] for p in self.points.values() if p.seconds), default=0.0)
        self._origin = event.t - self._now
        return before != sum(len(points.steps) for points in self.points.values())

    def _add(self, events: Sequence[Step] | Sequence[Evaluated], curves: list[tuple[str, str]], per: int) -> bool:
        if not events:
            return False
        points = self.points.get(curves[0][0])
        steps = [event.step for event in events]
        if not all(map(le, steps, steps[1:])) or (points is not None and steps[0] < points.last_step):
            return self._add_in_disorder(events, curves, per)
        if self._origin is None:
            self._origin = events[0].t
        origin = self._origin
        seconds = list(accumulate((event.t - origin for event in events), max, initial=self._now))[1:]
        self._now = seconds[-1]
        folded = False
        for name, field in curves:
            of = attrgetter(field)
            ys = [nan if (y := of(event)) is None else y for event in events]
            if name not in self.points:
                self.points[name] = Points(per, self._most)
            folded |= self.points[name].extend(steps, seconds, ys)
        return folded

    def _add_in_disorder(
        self, events: Sequence[Step] | Sequence[Evaluated], curves: list[tuple[str, str]], per: int
    ) -> bool:
        """A step measured again takes the place of what was measured from it on."""
        cut = False
        for event in events:
            for name, _ in curves:
                points = self.points.get(name)
                if points is not None and event.step < points.last_step:
                    before = len(points.steps)
                    points.cut(event.step - 1)
                    cut |= len(points.steps) != before
            cut |= self._add([event], curves, per)  # type: ignore[arg-type]
        return cut
