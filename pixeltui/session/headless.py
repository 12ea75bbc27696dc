"""Training without the console: a progress display on a terminal, plain lines otherwise."""

import errno
import os
import sys
import time
from typing import Protocol

from pixeltui.curves.ticks import format_rate
from pixeltui.events import AnyEvent, Frame, Notice, Started, StateChanged, Step
from pixeltui.session.describe import describe, figure
from pixeltui.store.summary import speed

LINE_SECONDS = 5.0
FULL = (errno.ENOSPC, errno.EDQUOT)


class Display(Protocol):
    def show(self, event: AnyEvent) -> None: ...

    def show_frame(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class NoDisplay:
    """That of a process that is one of several: the first shows everything."""

    def show(self, event: AnyEvent) -> None:
        pass

    def show_frame(self, frame: Frame) -> None:
        pass

    def close(self) -> None:
        pass


class PlainLines:
    """A line an event on stdout; of the step events one every few seconds, and the first and the last."""

    def __init__(self) -> None:
        self._total = 0
        self._next_step_line = 0.0

    def show(self, event: AnyEvent) -> None:
        if isinstance(event, Started):
            self._total = event.total_steps
        if isinstance(event, Step):
            now = time.monotonic()
            if now < self._next_step_line and event.step < self._total:
                return
            self._next_step_line = now + LINE_SECONDS
        line = describe(event, self._total)
        if line:
            print(line, flush=True)

    def show_frame(self, frame: Frame) -> None:
        """Partial images have no place without the console."""

    def close(self) -> None:
        pass


class ProgressDisplay:
    """A bar with the newest figures at the bottom of the terminal, the other events as lines above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._total = 0
        self._progress.start()

    def show(self, event: AnyEvent) -> None:
        if isinstance(event, Started):
            self._total = event.total_steps
            self._progress.update(self._task, total=event.total_steps, completed=event.step)
        if isinstance(event, StateChanged) and event.state == "training":
            self._progress.reset(self._task, completed=event.step)  # the time left is told from what comes now
        if isinstance(event, Step):
            figures = (
                f"{figure(event.bits_per_dim)} bits/dim  lr {format_rate(event.lr)}  "
                f"{speed(event.images_per_second)} images/s"
            )
            self._progress.update(self._task, completed=event.step, description=figures)
            return
        line = describe(event, self._total)
        if line:
            style = {"warning": "yellow", "error": "red"}.get(getattr(event, "level", ""), "")
            self._console.print(line, style=style, markup=False)

    def show_frame(self, frame: Frame) -> None:
        """Partial images have no place without the console."""

    def close(self) -> None:
        self._progress.stop()


class WhileThere:
    """A display that may lose its terminal or its pipe: from then on nothing is shown, and training goes on.

    Of a disk that is full only lines are lost: it may be freed again.
    """

    def __init__(self, display: Display) -> None:
        self._display: Display | None = display

    def show(self, event: AnyEvent) -> None:
        if isinstance(event, Notice) and event.kind == "failed":
            return  # the command's own last line says it
        try:
            if self._display is not None:
                self._display.show(event)
        except (OSError, ValueError) as error:
            self._miss(error)

    def show_frame(self, frame: Frame) -> None:
        """Partial images have no place without the console."""

    def close(self) -> None:
        try:
            if self._display is not None:
                self._display.close()
        except (OSError, ValueError) as error:
            self._miss(error)

    def _miss(self, error: OSError | ValueError) -> None:
        if not isinstance(error, OSError) or error.errno not in FULL:
            self._leave()

    def _leave(self) -> None:
        """Whatever else in this process prints meets no dead terminal either; the run's log has everything."""
        self._display = None
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)


def make_display() -> Display:
    return WhileThere(ProgressDisplay() if sys.stdout.isatty() else PlainLines())
