"""Event files that TensorBoard reads, beside the run's own log."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pixeltui.errors import UserError
from pixeltui.events import AnyEvent, Evaluated, SampleSaved, Started, Step
from pixeltui.store.files import read_regular
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import RunView

RETRY_SECONDS = 30.0
LARGEST_PNG = 16 << 20


class TensorBoardWriter:
    """Scalars of step and evaluation events, and samples, under tensorboard/ in the run.

    Each process writes one file, which begins with all that the run's log holds up to the step where it goes on, tells
    TensorBoard to forget what it read before. So curves have neither gaps nor steps twice, however the process before
    ended. Raises UserError without tensorboard, and nothing afterwards.
    """

    def __init__(self, run: RunDir, on_trouble: Callable[[str], None] = lambda message: None) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            raise UserError("log.tensorboard needs tensorboard: pip install 'pixeltui[tensorboard]'") from None
        self._events, self._summaries, self._record_writer = event_pb2, summary_pb2, RecordWriter
        self._run = run
        self._on_trouble = on_trouble
        self._records: Any = None
        self._newest: dict[str, int] = {}
        self._retry_at = 0.0
        self._troubled = False

    def emit(self, event: AnyEvent) -> None:
        """The event, which the run's log has got already."""
        try:
            if isinstance(event, Started) or (self._records is None and time.monotonic() >= self._retry_at):
                self._begin()
            elif self._records is not None:
                self._write(event)
                self._records.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        if self._records is not None:
            with contextlib.suppress(OSError):
                self._records.close()

    def _begin(self) -> None:
        """A file with the whole log in it, which takes the place of those there were."""
        self.close()
        folder = self._run.own(self._run.tensorboard_dir)
        folder.mkdir(exist_ok=True)
        older = sorted(folder.glob("events.out.tfevents.*"))
        # By name the newest is the last, which is the order that TensorBoard reads in.
        name = f"events.out.tfevents.{time.time():020.9f}.{socket.gethostname()}.{os.getpid()}"
        self._records = self._record_writer((folder / name).open("wb"))
        self._newest = {}
        self._record(time.time(), file_version="brain.Event:2")
        if older:
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._record(time.time(), step=0, session_log=start)
        view = RunView().fold(self._run.read_events()[0])
        told: list[Step | Evaluated | SampleSaved] = [*view.steps, *view.evaluations, *view.samples]
        for event in sorted(told, key=lambda event: event.step):
            self._write(event)
        self._records.flush()
        for path in older[:-1]:  # a TensorBoard that has the last one open finds the new one by it
            path.unlink(missing_ok=True)
        self._troubled = False

    def _write(self, event: AnyEvent) -> None:
        if isinstance(event, Step | Evaluated | SampleSaved):
            values = [value for value in self._values(event) if self._newest.get(value.tag, -1) < event.step]
            self._newest.update({value.tag: event.step for value in values})
            if values:
                self._record(event.t, step=event.step, summary=self._summaries.Summary(value=values))

    def _values(self, event: Step | Evaluated | SampleSaved) -> Iterator[Any]:
        match event:
            case Step():
                for name in ("bits_per_dim", "lr", "grad_norm", "images_per_second"):
                    yield from self._scalar(f"train/{name}", getattr(event, name))
                yield from self._scalar("train/nats_per_dim", event.loss)
            case Evaluated():
                for name in ("bits_per_dim", "nats_per_dim", "perplexity"):
                    yield from self._scalar(f"{event.split}_{event.weights}/{name}", getattr(event, name))
            case SampleSaved():
                yield from self._image("samples", self._run.samples_dir / Path(event.path).name)

    def _scalar(self, tag: str, value: float | None) -> Iterator[Any]:
        if value is not None:
            yield self._summaries.Summary.Value(tag=tag, simple_value=value)

    def _image(self, tag: str, path: Path) -> Iterator[Any]:
        with contextlib.suppress(OSError):
            png = read_regular(path, most=LARGEST_PNG)
            width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))
            image = self._summaries.Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
            yield self._summaries.Summary.Value(tag=tag, image=image)

    def _record(self, t: float, **content: Any) -> None:
        self._records.write(self._events.Event(wall_time=t, **content).SerializeToString())

    def _give_up(self, error: OSError) -> None:
        """For a while; then from the log again, so that nothing is missing."""
        self.close()
        self._records, self._retry_at = None, time.monotonic() + RETRY_SECONDS
        if not self._troubled:
            self._troubled = True
            self._on_trouble(f"tensorboard/ cannot be written: {error.strerror or error}; it is tried again")
