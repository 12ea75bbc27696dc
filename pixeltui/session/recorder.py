"""The one writer of a run's events.jsonl and log.txt."""

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from pixeltui.events import AnyEvent
from pixeltui.session.describe import describe
from pixeltui.store.rundir import RunDir

RETRY_SECONDS = 5.0
MOST_WAITING = 100_000


class AppendOnly:
    """A file that lines are appended to, each whole or not at all. A disk that is full delays them; nothing raises."""

    def __init__(self, path: Path, on_trouble: Callable[[str], None]) -> None:
        self._path = path
        self._on_trouble = on_trouble
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._retry_at = 0.0
        self._handle = -1

    def append(self, line: bytes) -> None:
        self._waiting.append(line)
        if time.monotonic() >= self._retry_at:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        try:
            if self._handle < 0:
                self._open()
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
            self._retry_at = 0.0
        except OSError as error:
            if not self._retry_at:
                self._on_trouble(
                    f"{self._path.name} cannot be written: {error.strerror}; its lines are kept and tried again"
                )
            self._retry_at = time.monotonic() + RETRY_SECONDS

    def _open(self) -> None:
        self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        size = os.fstat(self._handle).st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            # A crash cut the last line: closed, it stays the only one that is lost.
            self._write(b"\n")

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._handle).st_size
        if os.write(self._handle, line) != len(line):
            os.ftruncate(self._handle, size)
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.flush()
        if self._handle >= 0:
            os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1


class Recorder:
    """Writes every event as a line of JSON, and as a line for people. Never raises for a full disk."""

    def __init__(self, run: RunDir, on_trouble: Callable[[str], None] = lambda message: None) -> None:
        self._events = AppendOnly(run.events_path, on_trouble)
        self._log = AppendOnly(run.log_path, on_trouble)
        self._encoder = msgspec.json.Encoder()
        self._total_steps = 0

    def emit(self, event: AnyEvent) -> None:
        self._events.append(self._encoder.encode(event) + b"\n")
        self._total_steps = getattr(event, "total_steps", self._total_steps)
        if text := describe(event, self._total_steps):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.t))
            self._log.append(f"{stamp}  {text}\n".encode())

    def close(self) -> None:
        self._events.close()
        self._log.close()
