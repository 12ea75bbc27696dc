"""A program on a terminal of its own, and what it writes there, without an emulator: for measurements."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from pixeltui.errors import UserError, printable

SIZE = (120, 40)
"""columns, rows"""
PATIENCE = 60.0
"""seconds to wait for something that must come"""
_SEQUENCES = re.compile(rb"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|[PX^_\]].*?(?:\x1b\\|\x07)|[ -/]*[0-~])", re.DOTALL)
_UNFINISHED = 4096
"""bytes kept for a word, or a sequence, that the next piece ends"""


class PseudoTerminal:
    """Ends its program when it is left."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], size: tuple[int, int] = SIZE) -> None:
        self._fd, inner = pty.openpty()
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        own = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.since = time.perf_counter()
        """when the program was started, or the last key pressed"""
        self.written = 0
        """bytes, of all of its output"""
        self.fresh = b""
        """what was written since then"""
        self._process = subprocess.Popen(
            words, stdin=inner, stdout=inner, stderr=inner, env={**environ, **own}, start_new_session=True
        )
        os.close(inner)

    def __enter__(self) -> "PseudoTerminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, seconds: float) -> bool:
        """Waits up to `seconds` for output; whether some came. Raises UserError where the program has ended."""
        if not select.select([self._fd], [], [], max(seconds, 0.0))[0]:
            return False
        try:
            piece = os.read(self._fd, 1 << 16)
        except OSError:
            piece = b""
        if not piece:
            said = printable(self.text().strip()[-300:])
            raise UserError(f"the console ended before it was measured: {said}")
        self.written += len(piece)
        self.fresh += piece
        return True

    def text(self) -> str:
        """What was written since the last key, in the order of writing, without control sequences."""
        return _SEQUENCES.sub(b"", self.fresh).decode(errors="replace")

    def press(self, keys: str) -> None:
        """What came before is not looked at any more."""
        self.fresh = b""
        self.since = time.perf_counter()
        os.write(self._fd, keys.encode())

    def until(self, pattern: str, seconds: float = PATIENCE) -> float:
        """Seconds from the last key, or the start, until output that matches was read. Raises UserError."""
        end, wanted = time.perf_counter() + seconds, re.compile(pattern)
        while not wanted.search(self.text()):
            if not self._read(end - time.perf_counter()):
                raise UserError(f"the console did not show {pattern!r} within {seconds:g} s")
            if len(self.fresh) > 64 * _UNFINISHED and not wanted.search(self.text()):
                self.fresh = self.fresh[-_UNFINISHED:]
        return time.perf_counter() - self.since

    def read_for(self, seconds: float) -> int:
        """Bytes written in that time."""
        before, end = self.written, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.fresh = b""
            self._read(left)
        return self.written - before

    def settled(self, quiet: float) -> float:
        """Seconds from the last key until the last output before so many seconds without any. Raises UserError."""
        last, end = time.perf_counter(), time.perf_counter() + PATIENCE
        while self._read(quiet):
            last = time.perf_counter()
            if last > end:
                raise UserError(f"the console never was quiet for {quiet:g} s")
        return last - self.since

    def close(self) -> None:
        """SIGTERM, on which training writes a checkpoint; what has not ended by then is killed."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        end = time.perf_counter() + PATIENCE / 2
        while self._process.poll() is None and time.perf_counter() < end:
            with contextlib.suppress(UserError):
                if self._read(0.1):
                    self.fresh = b""
                    continue
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._fd)
