"""What the trainer tells its sink, and the clock behind the speeds that it tells."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from pixeltui import events
from pixeltui.events import AnyEvent, Frame
from pixeltui.telemetry import Readings
from pixeltui.train.evaluate import Likelihood


class Sink(Protocol):
    """Takes what the trainer reports; no call raises, and `emit` and `frame` do not block."""

    def emit(self, event: AnyEvent) -> None: ...

    def frame(self, frame: Frame) -> None: ...

    def sync(self) -> None:
        """Returns once what was emitted is on the disk, as far as the disk takes it. Called from any thread."""
        ...


class Clock:
    """Where the time goes, since the last `restart`."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self._depth = 0
        self._trained = 0.0
        self._elsewhere = 0.0
        self._began = now()
        self.restart()

    def restart(self) -> None:
        self._trained += self.training_seconds
        self._began = self.now()
        self._elsewhere = 0.0
        self._sampling = 0.0
        self.images = 0

    @contextlib.contextmanager
    def elsewhere(self, *, sampling: bool = False) -> Iterator[None]:
        """Time that is not training's: evaluation, checkpoints, pauses, samples, these in a pause too."""
        began = self.now()
        self._depth += 1
        try:
            yield
        finally:
            seconds = self.now() - began
            self._depth -= 1
            self._elsewhere += 0.0 if self._depth else seconds
            self._sampling += seconds if sampling else 0.0

    @property
    def training_seconds(self) -> float:
        return self.now() - self._began - self._elsewhere

    @property
    def trained_seconds(self) -> float:
        """Training's own, restarts or not."""
        return self._trained + self.training_seconds

    @property
    def sample_share(self) -> float:
        """Of the time that training and samples took together."""
        together = self.training_seconds + self._sampling
        return self._sampling / together if together else 0.0


@dataclass
class Reporter:
    """Events with the run's place and time filled in; the clock is the loop's."""

    sink: Sink
    steps_per_epoch: int
    clock: Clock
    step: int = 0

    def emit(self, event_type: Any, /, **fields: Any) -> None:
        fields.setdefault("step", self.step)
        self.sink.emit(event_type(t=max(time.time(), 0.0), **fields))  # a clock may stand before 1970

    def notice(self, level: Literal["info", "warning", "error"], kind: str, message: str, **fields: Any) -> None:
        self.emit(events.Notice, level=level, kind=kind, message=message, **fields)

    def state(self, state: events.State, reason: str = "") -> None:
        self.emit(events.StateChanged, state=state, reason=reason)

    def acknowledge(self, command_id: str, command: events.AnyCommand, refused: str = "") -> None:
        if command_id:
            name = str(type(command).__struct_config__.tag)
            self.emit(events.Acknowledged, id=command_id, command=name, ok=not refused, message=refused)

    def measured(self, readings: Readings) -> None:
        self.emit(events.Telemetry, **asdict(readings))

    def trained(self, lr: float, means: dict[str, float | None], skipped: int, waited: float) -> None:
        """The steps since the clock was restarted. waited: seconds that they spent on getting their batches."""
        loss, clock = means["loss"], self.clock
        seconds = max(clock.training_seconds, 1e-9)
        self.emit(
            events.Step,
            epoch=self.step / self.steps_per_epoch,
            loss=loss,
            bits_per_dim=None if loss is None else loss / math.log(2),
            lr=lr,
            grad_norm=means["grad_norm"],
            images_per_second=round(clock.images / seconds, 2),
            data_wait=round(min(waited / seconds, 1.0), 4),
            sample_share=round(clock.sample_share, 4),
            skipped=skipped,
        )

    def evaluated(self, split: str, weights: str, result: Likelihood, **fields: Any) -> None:
        self.emit(
            events.Evaluated,
            epoch=self.step / self.steps_per_epoch,
            split=split,
            weights=weights,
            images=result.images,
            bits_per_dim=result.bits_per_dim,
            bits_per_dim_se=result.bits_per_dim_se,
            nats_per_dim=result.nats_per_dim,
            perplexity=result.perplexity,
            **fields,
        )

    def sampling(self, sample: Any, levels: int, names: list[str]) -> None:
        count, channels, height, width = sample.images.shape
        self.sink.frame(
            Frame(
                step=sample.step,
                rows_done=sample.rows_done,
                levels=levels,
                shape=(count, channels, height, width),
                pixels=sample.images.numpy().tobytes(),
                labels=tuple(names),
            )
        )
