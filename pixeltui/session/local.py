"""A run that trains in a thread of this process, beside the console."""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Literal

from pixeltui.config import Config
from pixeltui.errors import UserError
from pixeltui.events import AnyCommand, AnyEvent, Frame, Notice, SampleSaved, StateChanged, Stop
from pixeltui.session import worker
from pixeltui.session.worker import Commands, TrainRequest
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir

if TYPE_CHECKING:
    from pixeltui.data import DataSet
    from pixeltui.train.trainer import Outcome


class LocalSession:
    """A Session whose worker imports torch, loads the data, makes the run and trains it, all in one thread.

    The thread is no daemon: it outlives the console, and the process ends with it.
    """

    local = True
    looks_on = False

    def __init__(self, request: TrainRequest, *, also: Commands | None = None) -> None:
        """also: commands from elsewhere, such as signals, beside those that are sent."""
        self.request = request
        self._also = also
        self.run: RunDir | None = None
        self.past: EventReader | None = None
        self.status = "starting torch"
        self.paused = False
        self.outcome: Outcome | None = None
        self.error: UserError | None = None
        self._events: deque[AnyEvent] = deque()
        self._commands: deque[AnyCommand] = deque()
        self._frame: Frame | None = None
        self._started = False
        self._thread = threading.Thread(target=self._work, name="training", daemon=False)

    def start(self) -> "LocalSession":
        self._thread.start()
        self._started = True
        return self

    @property
    def alive(self) -> bool:
        return not self._started or self._thread.is_alive()

    @property
    def read_only(self) -> bool:
        return not self.alive

    def poll(self) -> list[AnyEvent]:
        past, self.past = self.past, None
        before = past.read_new() if past else []
        return before + [self._events.popleft() for _ in range(len(self._events))]

    def send(self, command: AnyCommand) -> None:
        if not self.alive:
            raise UserError("training is over")
        self._commands.append(command)

    def take(self) -> list[AnyCommand]:
        """The trainer's side of `send`."""
        sent = [self._commands.popleft() for _ in range(len(self._commands))]
        return [*(self._also.take() if self._also else ()), *sent]

    def latest_frame(self) -> Frame | None:
        return self._frame

    def close(self) -> None:
        """Training goes on; what it reports is kept in the log only."""
        self._closed = True
        self._events.clear()

    def join(self, timeout: float | None = None) -> None:
        if self._started:
            self._thread.join(timeout)

    # -- the training thread ---------------------------------------------------------------------------------------

    _closed = False

    def show(self, event: AnyEvent) -> None:
        self.status = ""
        if isinstance(event, SampleSaved):
            self._frame = None
        if isinstance(event, StateChanged):
            self.paused = event.state == "paused"
        if not self._closed:
            self._events.append(event)

    def show_frame(self, frame: Frame) -> None:
        self._frame = frame

    def _work(self) -> None:
        try:
            with worker.prepared(self.request, self._load) as job:
                if job.resume:  # what is logged from here on comes by `show`
                    path = job.run.events_path
                    self.past = EventReader(path, end=EventReader(path).unread)
                self.run = job.run
                self.status = "building the model"
                self.outcome = worker.train(job, self, self, lambda message: self._notice("warning", "disk", message))
        except UserError as error:
            self._failed(error)
        except Exception as error:
            self._failed(UserError(f"unexpected {type(error).__name__}: {error}"))
        finally:
            self.status = ""

    def _load(self, config: Config) -> "DataSet":
        from pixeltui.data import load

        if any(isinstance(command, Stop) for command in self._commands):
            raise UserError("stopped before training began")
        name = config.data.name
        self.status = f"loading {name}"

        def progress(done: int, total: int) -> None:
            self.status = f"loading {name} {done / max(total, 1):.0%}"

        return load(config.data, progress=progress)

    def _failed(self, error: UserError) -> None:
        self.error = error
        where = f"; the whole story is in {self.run.log_path}" if self.run is not None else ""
        self._notice("error", "failed", f"{error}{where}")
        self.show(StateChanged(t=time.time(), state="failed", step=0, reason=str(error)))

    def _notice(self, level: Literal["info", "warning", "error"], kind: str, message: str) -> None:
        self.show(Notice(t=time.time(), level=level, kind=kind, message=message))
