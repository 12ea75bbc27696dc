"""The console's side of drawing: a process of its own, which holds torch and the model, and dies with the console."""

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from pixeltui.errors import printable
from pixeltui.session import wishes
from pixeltui.session.wishes import AnyAnswer, AnyWish, Draw, Find, Inspect, Keep, Refused, Rows, Score, Stop

NICE: Final = 10
AnyWishType = TypeVar("AnyWishType", Draw, Find, Score, Inspect, Keep, Stop)


class Studio:
    """Started by the first wish, and again by the next one after it ended. Nothing here waits for it.

    A process, not a thread: importing torch would freeze the console for seconds, a thread that draws would slow down
    one that trains, and a crash or a lack of memory ends neither.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: deque[tuple[int, AnyAnswer]] = deque()
        self._wishes: queue.SimpleQueue[AnyWish | None] = queue.SimpleQueue()
        self._last_id = 0
        self._generation = 0
        self._gentle = False
        self._answered = False

    @property
    def pid(self) -> int | None:
        """Of the process, while it lives."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def warm(self) -> bool:
        """Whether it has answered already, so that torch is there."""
        return self.pid is not None and self._answered

    def ask(self, wish: AnyWishType) -> int:
        """Sends it under a number of its own, which is returned and which its answers bear."""
        self._last_id += 1
        if self.pid is None:
            self._start()
        self._wishes.put(msgspec.structs.replace(wish, id=self._last_id))
        return self._last_id

    def be_gentle(self) -> None:
        """A run trains on this machine: it comes first from now on, but for the import of torch, which is awaited."""
        if not self._gentle:
            self._gentle = True
            self._renice()

    def _renice(self) -> None:
        pid = self.pid
        if self._gentle and self._answered and pid is not None:
            # By its group, which it is alone in: on Linux the process alone would mean its main thread.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PGRP, pid, max(NICE, os.getpriority(os.PRIO_PGRP, pid)))
            # Linux may share the processor among sessions first; niceness then counts within one alone.
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/autogroup").write_text(str(NICE))

    def poll(self) -> list[AnyAnswer]:
        """The answers since the last call; of rows of one drawing only the newest."""
        found = [self._answers.popleft() for _ in range(len(self._answers))]
        answers = [answer for generation, answer in found if generation == self._generation]
        newest = {answer.id: i for i, answer in enumerate(answers) if isinstance(answer, Rows)}
        return [answer for i, answer in enumerate(answers) if not isinstance(answer, Rows) or newest[answer.id] == i]

    def close(self) -> None:
        """Ends the process, in the middle of a row if need be."""
        self._generation += 1
        self._wishes.put(None)
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def _start(self) -> None:
        self.close()
        self._wishes = queue.SimpleQueue()
        # Its own words, such as a traceback's, are read when it has died, and never reach the terminal.
        story = tempfile.TemporaryFile()  # noqa: SIM115
        folder = Path(__file__).absolute().parents[2]
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [sys.executable, "-m", "pixeltui.session.studio_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=story,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # ctrl+c in the terminal is not for it; a group of its own
        )
        self._process, self._answered = process, False
        threading.Thread(target=self._write, args=(process, self._wishes), daemon=True).start()
        threading.Thread(target=self._read, args=(process, self._generation, story), daemon=True).start()

    @staticmethod
    def _write(process: "subprocess.Popen[bytes]", todo: "queue.SimpleQueue[AnyWish | None]") -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError), process.stdin:
            while (wish := todo.get()) is not None:
                wishes.send(process.stdin, wish)  # type: ignore[arg-type]

    def _read(self, process: "subprocess.Popen[bytes]", generation: int, story: BinaryIO) -> None:
        assert process.stdout is not None
        with process.stdout, story:
            with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
                while (answer := wishes.read_answer(process.stdout)) is not None:  # type: ignore[arg-type]
                    self._answers.append((generation, answer))
                    if not self._answered and not isinstance(answer, wishes.Progress):
                        self._answered = True
                        self._renice()
            process.kill()
            status = process.wait()
            story.seek(max(0, story.tell() - 4000))
            last = story.read().decode(errors="replace").strip().rpartition("\n")[2]
        why = f"signal {-status}" if status < 0 else printable(last)[:200] or f"status {status}"
        message = f"the process that draws has ended ({why}): draw again, and it is started anew"
        self._answers.append((generation, Refused(id=0, message=message)))
