"""Where a trainer's commands come from: signals to this process, and files that other processes drop into control/."""

import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from pixeltui import launch
from pixeltui.events import AnyCommand, SaveCheckpoint, Stop
from pixeltui.store import control
from pixeltui.store.rundir import RunDir

if TYPE_CHECKING:
    from pixeltui.session.worker import Commands

POLL_SECONDS = 0.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_PRESS_SECONDS = 0.5
"""in which another SIGINT is the first one again: `timeout -s INT`, and programs that pass on a Ctrl-C which the
terminal has sent to all, send two"""


class Signals:
    """SIGINT and SIGTERM ask for a checkpoint and a stop, SIGUSR1 for a checkpoint. A later SIGINT ends at once.

    SIGHUP is passed over: a dropped connection never ends a run, unless `stop_on_hangup` says so and nohup does not.
    From torchrun, which gets it from the terminal in spite of nohup, it says that the processes are to be killed soon.
    """

    def __init__(self, *, stop_on_hangup: bool = False) -> None:
        heeded = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        self.stop_on_hangup = (stop_on_hangup and heeded) or launch.by_torchrun()
        self.stopped_by: signal.Signals | None = None
        self._stopped_at = 0.0
        self._commands: deque[AnyCommand] = deque()

    def install(self) -> None:
        for number in (*STOP_SIGNALS, signal.SIGUSR1):
            signal.signal(number, self._receive)
        signal.signal(signal.SIGHUP, self._receive if self.stop_on_hangup else signal.SIG_IGN)

    def end_at_once(self) -> None:
        """Until they are installed again: processes that wait for one another run no handler of Python's."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._commands.append(SaveCheckpoint())
            return
        # Ctrl-C reaches the processes of torchrun twice: from the terminal, and from torchrun.
        if self.stopped_by is not None and number == signal.SIGINT and not launch.several():
            if time.monotonic() > self._stopped_at + SAME_PRESS_SECONDS:
                raise KeyboardInterrupt
            return
        self.stop(signal.Signals(number))

    def stop(self, number: signal.Signals) -> None:
        """As if that signal had come."""
        if self.stopped_by is None:
            self._stopped_at = time.monotonic()
        self.stopped_by = number
        self._commands.append(Stop(reason=number.name))

    def take(self) -> list[AnyCommand]:
        return [self._commands.popleft() for _ in range(len(self._commands))]


class CommandInbox:
    """The trainer's inbox: signals or keys at once and, where it `polls`, the run's control/ folder twice a second."""

    def __init__(
        self, run: RunDir, commands: "Commands", *, polls: bool = True, on_look: Callable[[], None] = lambda: None
    ) -> None:
        """on_look: called each time that the trainer looks for commands, which it does between any two steps."""
        self._polls = polls
        self._on_look = on_look
        self._run = run
        self._commands = commands
        self._next_poll = 0.0

    def take(self) -> Sequence[tuple[str, AnyCommand]]:
        self._on_look()
        commands: list[tuple[str, AnyCommand]] = [("", command) for command in self._commands.take()]
        if self._polls and time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + POLL_SECONDS
            if self._run.is_in_place():
                commands += control.take(self._run.control_dir)
        return commands
