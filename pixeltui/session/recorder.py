"""The one writer of a run's events.jsonl and log.txt."""

import errno
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from pixeltui.errors import printable
from pixeltui.events import AnyEvent
from pixeltui.session.describe import describe
from pixeltui.store.files import open_to_append
from pixeltui.store.rundir import RunDir

RETRY_SECONDS = 5.0
MOST_WAITING = 100_000


class AppendOnly:
    """A file that lines are appended to, each whole or not at all. A disk that is full delays them; nothing raises.

    Of more lines than `MOST_WAITING` the oldest are lost, and the loss is told.
    """

    def __init__(self, path: Path, on_trouble: Callable[[str], None]) -> None:
        self._path = path
        self._on_trouble = on_trouble
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._retry_at = 0.0
        self._troubled = False
        self._losing = False
        self._handle = -1
        self._ends_in_newline = False

    def append(self, line: bytes) -> None:
        """The line ends in a newline and has no other."""
        self._waiting.append(line)
        if len(self._waiting) == MOST_WAITING and not self._losing:
            self._losing = True
            self._on_trouble(f"{self._path.name} still cannot be written: from here on its oldest lines are lost")
        if time.monotonic() >= self._retry_at:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        try:
            self._open()
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
            self._troubled, self._losing, self._retry_at = False, False, 0.0
        except OSError as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._tell(f"cannot be written: {error.strerror}; its lines are kept and tried again")

    def _tell(self, trouble: str) -> None:
        """Once for each time that it begins, however often it is tried; whoever is told may append a line about it."""
        if not self._troubled:
            self._troubled = True
            self._on_trouble(f"{self._path.name} {trouble}")

    def _open(self) -> None:
        """The file, at the beginning of a line: one that a crash cut is closed, and stays the only one that is lost."""
        if self._handle < 0:
            self._handle = open_to_append(self._path)
        if not self._ends_in_newline:
            size = os.fstat(self._handle).st_size
            if size and os.pread(self._handle, 1, size - 1) != b"\n":
                self._write(b"\n")
            self._ends_in_newline = True

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._handle).st_size
        self._ends_in_newline = False
        if os.write(self._handle, line) != len(line):
            os.ftruncate(self._handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._ends_in_newline = True

    def handle(self) -> int:
        """Another handle of the file, the caller's to close; -1 where the file could not be opened."""
        return -1 if self._handle < 0 else os.dup(self._handle)

    def close(self) -> None:
        self.flush()
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            self._ends_in_newline = False
            try:
                os.fsync(handle)
            except OSError as error:
                self._tell(f"may not be whole on the disk: {error.strerror}")
            finally:
                os.close(handle)


class Recorder:
    """Writes every event as a line of JSON, and as a line for people. Never raises for a full disk."""

    def __init__(self, run: RunDir, on_trouble: Callable[[str], None] = lambda message: None) -> None:
        self._events = AppendOnly(run.events_path, on_trouble)
        self._log = AppendOnly(run.log_path, on_trouble)
        self._encoder = msgspec.json.Encoder()
        self._total_steps = 0

    def emit(self, event: AnyEvent) -> None:
        self._events.append(self._encode(event) + b"\n")
        self._total_steps = getattr(event, "total_steps", self._total_steps)
        if text := describe(event, self._total_steps):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.t))
            self._log.append(f"{stamp}  {printable(text)}\n".encode())

    def _encode(self, event: AnyEvent) -> bytes:
        try:
            return self._encoder.encode(event)
        except UnicodeEncodeError:
            # A file name that is no UTF-8 came in as half a character, which JSON cannot hold.
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            texts = {name: printable(value) for name, value in fields.items() if isinstance(value, str)}
            return self._encoder.encode(msgspec.structs.replace(event, **texts))

    def flush(self) -> int:
        """Writes the events that wait; returns a handle to fsync them by, the caller's to close, or -1."""
        self._events.flush()
        return self._events.handle()

    def close(self) -> None:
        self._events.close()
        self._log.close()
