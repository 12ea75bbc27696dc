"""A driver for terminals that die: training in this process goes on, and nothing spins or blocks."""

import contextlib
import os
import select
import signal
import threading
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import IO, Any

from textual._xterm_parser import XTermParser
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver

HANGUP = "hangup"


class PatientWriter(WriterThread):
    """Goes on emptying its queue when the terminal is gone: a full one would block the event loop for good."""

    def __init__(self, file: IO[str], on_gone: Callable[[], None]) -> None:
        super().__init__(file)
        self._on_gone = on_gone

    def run(self) -> None:
        gone, ended = False, False
        while not ended:
            text = self._queue.get()
            ended = text is None
            if gone:
                continue
            try:
                self._file.write(text or "")
                if ended or self._queue.qsize() == 0:
                    self._file.flush()
            except (OSError, ValueError):
                gone = True
                self._on_gone()


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
            patient = PatientWriter(self._file, self.hang_up)
            patient.start()
            self._writer_thread = patient
            writer.stop()

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
                self._loop.call_soon_threadsafe(self._app.refresh)

    def hang_up(self) -> None:
        """The terminal is gone. From any thread and from a signal handler."""
        if not self._gone.is_set():
            self._gone.set()
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._app.exit, HANGUP)

    def run_input_thread(self) -> None:
        """As textual's, but input that ends is a hang-up."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        while not self.exit_event.is_set() and not self._gone.is_set():
            ready, _, _ = select.select([self.fileno], [], [], 0.1)
            if ready:
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""
                if not data:
                    self.hang_up()
                    return
                for message in parser.feed(decode(data)):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)
