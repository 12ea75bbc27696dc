"""What a run's events add up to: one fold for runs that train here, elsewhere, or no more."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeVar

from pixeltui.events import (
    AnyEvent,
    CheckpointSaved,
    Evaluated,
    Notice,
    SampleSaved,
    Started,
    State,
    StateChanged,
    Step,
    Telemetry,
)
from pixeltui.store.log import EventReader

NEWEST_STEPS = 512

Done = TypeVar("Done", Evaluated, SampleSaved)
RunState = Literal["training", "paused", "finished", "stopped", "failed", "crashed", "damaged"]


@dataclass
class RunView:
    """The state of a run after the events folded so far."""

    started: Started | None = None
    created: float | None = None
    updated: float | None = None
    last_state: State | None = None
    reason: str = ""
    trains_since: float = 0.0
    """when it began to train, or went on after a pause"""
    peak_lr: float | None = None
    """of the learning rate, where the log says so"""
    steps: list[Step] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    samples: list[SampleSaved] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    telemetry: Telemetry | None = None
    """the newest"""
    count: int = 0
    """events folded"""
    most_steps: int | None = None
    """of the step events, how many of the newest are kept at least; None: all"""

    def fold(self, events: Iterable[AnyEvent]) -> "RunView":
        for kind, group in groupby(events, type):
            if kind is Step:
                self._add_steps([event for event in group if isinstance(event, Step)])
            else:
                for event in group:
                    self._fold(event)
        return self

    def _add_steps(self, steps: list[Step]) -> None:
        self.count += len(steps)
        self.created = steps[0].t if self.created is None else self.created
        self.updated = steps[-1].t
        self.steps += steps
        if self.most_steps is not None and len(self.steps) > 2 * self.most_steps:
            del self.steps[: -self.most_steps]

    def _fold(self, event: AnyEvent) -> None:
        self.count += 1
        self.created = event.t if self.created is None else self.created
        self.updated = event.t
        match event:
            case Evaluated():
                _add(self.evaluations, event, lambda e: (e.step, e.split, e.weights))
            case Telemetry():
                self.telemetry = event
            case Started():
                self._rewind(event)
            case StateChanged():
                self.last_state, self.reason = event.state, event.reason
                if event.state == "training":
                    self.trains_since = event.t
            case CheckpointSaved():
                self.checkpoints.append(event)
            case SampleSaved():
                _add(self.samples, event, lambda e: e.path)
            case Notice():
                self.notices.append(event)
                self.peak_lr = event.peak_lr or self.peak_lr
            case _:
                pass

    def _rewind(self, event: Started) -> None:
        """What an earlier process did beyond the step that this one began at is done again."""
        self.started = event
        self.telemetry = None  # it may be another machine
        self.last_state, self.trains_since, self.peak_lr = "training", event.t, event.peak_lr
        for name in ("steps", "evaluations", "checkpoints", "samples"):
            setattr(self, name, [e for e in getattr(self, name) if e.step <= event.step])

    def state(self, *, locked: bool) -> RunState:
        """SPEC's word for where the run is, given whether a process holds its lock."""
        if self.last_state in ("training", "paused"):
            return self.last_state if locked else "crashed"
        if self.last_state is None:
            return "training" if locked else "damaged"
        return self.last_state

    @property
    def step(self) -> int:
        """The last step that anything is known of."""
        last = [events[-1].step for events in (self.steps, self.evaluations, self.checkpoints) if events]
        return max(last, default=self.started.step if self.started else 0)

    @property
    def epoch(self) -> float:
        return self.step / self.started.steps_per_epoch if self.started else 0.0

    def evaluated(self, split: str, weights: str = "ema") -> list[Evaluated]:
        return [e for e in self.evaluations if e.split == split and e.weights == weights]

    @property
    def best(self) -> Evaluated | None:
        """The lowest validation bits/dim."""
        scored = [e for e in self.evaluated("val") if e.bits_per_dim is not None]
        return min(scored, key=lambda e: e.bits_per_dim or 0.0, default=None)

    @property
    def test(self) -> Evaluated | None:
        """The newest figure on the test split."""
        return next(iter(self.evaluated("test")[::-1]), None)

    @property
    def raw_excess(self) -> float | None:
        """bits/dim that the raw weights take more than their average, at the newest validation that tells."""
        return next((e.raw_excess for e in reversed(self.evaluations) if e.raw_excess is not None), None)

    @property
    def images_per_second(self) -> float | None:
        """Mean over the newest step events."""
        newest = [e.images_per_second for e in self.steps[-20:]]
        return round(sum(newest) / len(newest), 2) if newest else None


def _add(done: list[Done], event: Done, what: Callable[[Done], object]) -> None:
    """What is measured or drawn again, after a resume at its own step, takes the place of the first."""
    for index in range(len(done) - 1, -1, -1):
        if done[index].step < event.step:
            break
        if what(done[index]) == what(event):
            done[index] = event
            return
    done.append(event)


def read_view(log: Path) -> tuple[RunView, int]:
    """What a whole log adds up to, with the newest of its steps alone, and how many of its lines were no events."""
    reader, view = EventReader(log), RunView(most_steps=NEWEST_STEPS)
    for events in reader.pieces():
        view.fold(events)
    return view, reader.skipped
