"""Looks after a training thread: says when it is stuck, and where."""

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pixeltui.store.files import open_to_append

STUCK_SECONDS = 120.0
LOOKS = 24
"""while STUCK_SECONDS pass"""


class Watchdog:
    """Calls `on_stuck(seconds)` from a thread of its own, once for each time that no `beat` came for so long.

    A process that was stopped, or a machine that slept, is not stuck: the watchdog slept with it.
    """

    def __init__(self, on_stuck: Callable[[float], None], *, seconds: float | None = None) -> None:
        self._on_stuck = on_stuck
        self._seconds = STUCK_SECONDS if seconds is None else seconds
        self._last = time.monotonic()
        self._told = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        self._last, self._told = time.monotonic(), False

    def close(self) -> None:
        """Nothing is being told any more when this returns: what it is told to may go."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = self._seconds / LOOKS
        looked = time.monotonic()
        while not self._over.wait(pause):
            now = time.monotonic()
            if now - looked > 4 * pause:
                self._last = now
            elif not self._told and now - self._last > self._seconds:
                self._told = True
                self._on_stuck(now - self._last)
            looked = now


@contextlib.contextmanager
def stacks_on_request(log: Path) -> Iterator[Callable[[], None]]:
    """In the block, SIGQUIT appends to `log` what every thread is doing; so does calling what is yielded.

    Written by the signal handler itself: it works where no Python code runs any more. Where the log cannot be opened,
    stderr takes its place.
    """
    try:
        handle = open_to_append(log)
    except OSError:
        handle = os.dup(2)
    faulthandler.register(signal.SIGQUIT, file=handle, all_threads=True)
    try:
        yield lambda: faulthandler.dump_traceback(file=handle, all_threads=True)
    finally:
        faulthandler.unregister(signal.SIGQUIT)
        os.close(handle)
