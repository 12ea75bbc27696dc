"""A process between the shell and the console, so that training can go on when the shell gets its terminal back.

Forked before anything else has been imported or started: the parent waits, the child is the console.
"""

import contextlib
import os
import signal
import sys
import termios
from types import FrameType
from typing import Final

FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)
RELEASED: Final = b"d"
# Out of the alternate screen, cursor shown, mouse, paste and focus reports and the kitty keyboard off.
TIDY: Final = b"\x1b[<u\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h"


class Guard:
    """The child's handle on the parent that waits."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def release(self) -> None:
        """Gives the terminal back to the shell; this process goes on in a session of its own."""
        with contextlib.suppress(OSError):
            os.setsid()
        with contextlib.suppress(OSError):
            os.write(self._pipe, RELEASED)
            os.close(self._pipe)


def guard() -> Guard:
    """Forks; returns in the child only. The parent exits as the child does, or with 0 when it is released."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.set_inheritable(writer, False)
        return Guard(writer)
    os.close(writer)
    os._exit(_wait(child, reader))


def _wait(child: int, reader: int) -> int:
    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    before = None
    with contextlib.suppress(termios.error, OSError):
        before = termios.tcgetattr(0)
    if os.read(reader, 1) == RELEASED:
        return 0
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        with contextlib.suppress(termios.error, OSError):
            os.write(2, TIDY)
            if before is not None:
                termios.tcsetattr(0, termios.TCSANOW, before)
        sys.stderr.write(f"pixeltui: the console was ended by {signal.Signals(-status).name}\n")
        sys.stderr.flush()
        return 128 - status
    return status
