"""A driver for terminals that die: training in this process goes on, and nothing spins or blocks."""

import contextlib
import math
import os
import select
import signal
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from queue import Full
from typing import Any, Final, TextIO

from textual._xterm_parser import XTermParser
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.message import Message

HANGUP = "hangup"
STALLED_SECONDS: Final = 1.5
"""for which a terminal reads nothing before a process that is to end gives up on it"""
LOOK_SECONDS: Final = 0.1
PIECE: Final = 2048
"""bytes"""
ESCAPE = "\x1b"
ESCAPE_SECONDS: Final = 0.025
"""in which what begins with an esc, as an arrow does, goes on; a terminal writes it in one piece"""


class PatientWriter(WriterThread):
    """Goes on emptying its queue when the terminal is gone: a full one would block the event loop for good.

    A terminal that is there and reads nothing is waited for, but not where the process `hurries`.
    """

    def __init__(self, file: TextIO, on_gone: Callable[[], None], hurries: Callable[[], bool] = lambda: False) -> None:
        super().__init__(file)
        self._terminal = file
        self._on_gone = on_gone
        self._hurries = hurries
        self._began = math.inf  # to put out a piece
        self.gave_up = False
        """on a terminal that reads nothing"""

    def write(self, text: str | None) -> None:
        while not self._gives_up():
            with contextlib.suppress(Full):
                self._queue.put(text, timeout=LOOK_SECONDS)
                return

    def stop(self) -> None:
        self.write(None)
        while self.is_alive() and not self._gives_up():
            self.join(LOOK_SECONDS)

    def _gives_up(self) -> bool:
        if time.monotonic() - self._began > STALLED_SECONDS and self._hurries():
            self.gave_up = True
        return self.gave_up

    def run(self) -> None:
        gone, ended = False, False
        while not ended:
            text = self._queue.get()
            ended = text is None
            if gone:
                continue
            try:
                self._put_out(text or "")
            except (OSError, ValueError):
                gone = True
                self._on_gone()

    def _put_out(self, text: str) -> None:
        """Past the file's buffer, whose lock this thread would hold at the end of the process."""
        content = text.encode(self._terminal.encoding, self._terminal.errors or "strict")
        while content and not self.gave_up:
            self._began = time.monotonic()
            content = content[os.write(self._terminal.fileno(), content[:PIECE]) :]
            self._began = math.inf


class Typed:
    """What a terminal sends, as messages. Textual's parser waits for 0.1 s whether an esc is a key, and takes another
    key in that time for alt with it: both would be lost."""

    def __init__(self, *, debug: bool = False) -> None:
        self._parser = XTermParser(debug)
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self.escape = False
        """whether an esc came last"""

    def feed(self, data: bytes) -> Iterator[Message]:
        text = self._decode(data)
        if not text:
            return  # half a character; the parser would take it for the end
        if self.escape and text[0] in "[O":
            text = ESCAPE + text
        elif self.escape:
            yield Key("escape", ESCAPE)
        self.escape = text.endswith(ESCAPE)
        if text := text.removesuffix(ESCAPE):
            yield from self._parser.feed(text)

    def rest(self) -> Iterator[Message]:
        """What came is all, for now."""
        if self.escape:
            self.escape = False
            yield Key("escape", ESCAPE)
        yield from self._parser.tick()


class HangupDriver(LinuxDriver):
    """Textual's driver, which takes the end of its terminal (SIGHUP, EOF, EIO) as a wish to end with HANGUP."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gone = threading.Event()
        if terminal := os.environ.get("PIXELTUI_TERMINAL"):
            self._file = os.fdopen(int(terminal), "w", closefd=False)
        # Stopping the process would stop training with it: the console's own key for ctrl+z asks instead.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        signal.signal(signal.SIGCONT, self._continued)
        signal.signal(signal.SIGHUP, lambda *_: self.hang_up())

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        writer = self._writer_thread
        if writer is not None and self._file is not None:
            patient = PatientWriter(
                self._file, self.hang_up, lambda: getattr(self._app, "stopped_by", None) is not None
            )
            patient.start()
            self._writer_thread = patient
            writer.stop()

    @property
    def gave_up(self) -> bool:
        """Whether the terminal reads nothing, and what was to be written is lost."""
        return isinstance(self._writer_thread, PatientWriter) and self._writer_thread.gave_up

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._file.fileno() if self._file else 2)
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    def _continued(self, *_: Any) -> None:
        """After a hang-up the kernel continues what it thinks was stopped; a terminal that is there is drawn anew."""
        if not self._gone.is_set():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(getattr(self._app, "action_redraw", self._app.refresh))

    @property
    def gone(self) -> bool:
        """Whether the terminal is."""
        return self._gone.is_set()

    def hang_up(self) -> None:
        """The terminal is gone. From any thread and from a signal handler."""
        if not self._gone.is_set():
            self._gone.set()
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._app.exit, HANGUP)

    def run_input_thread(self) -> None:
        """As textual's, but input that ends is a hang-up."""
        typed = Typed(debug=self._debug)
        while not self.exit_event.is_set() and not self._gone.is_set():
            ready, _, _ = select.select([self.fileno], [], [], ESCAPE_SECONDS if typed.escape else LOOK_SECONDS)
            messages = typed.rest()
            if ready:
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""
                if not data:
                    self.hang_up()
                    return
                messages = typed.feed(data)
            for message in messages:
                self.process_message(message)
