"""The one writer of a run's log: lines whole or not at all, whatever the disk does."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pixeltui import events
from pixeltui.session import recorder as module
from pixeltui.session.recorder import Recorder
from pixeltui.store.rundir import RunDir


def notice(message: str = "m") -> events.Notice:
    return events.Notice(t=1.0, level="info", kind="x", message=message)


def messages(run: RunDir) -> tuple[list[str], int]:
    found, skipped = run.read_events()
    return [event.message for event in found if isinstance(event, events.Notice)], skipped


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run", "", {})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)


class Disk:
    """os.write on a disk that takes that many bytes more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def write(self, handle: int, content: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(handle, content[: self.room])
        self.room -= written
        return written


def test_events_and_words(run: RunDir) -> None:
    recorder = Recorder(run)
    recorder.emit(notice("first"))
    assert messages(run) == (["first"], 0), "a line is in the file as soon as it is told"
    figures = dict(loss=float("nan"), bits_per_dim=float("inf"), grad_norm=None)
    recorder.emit(events.Step(t=1.0, step=1, epoch=1.0, lr=1.0, images_per_second=1.0, **figures))
    recorder.close()
    last = json.loads(run.events_path.read_bytes().splitlines()[-1])
    assert (last["loss"], last["bits_per_dim"]) == (None, None), "what is not finite is null"
    assert "info: first" in run.log_path.read_text()


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_fills_in_mid_line_loses_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    recorder = Recorder(run, told.append)
    recorder.emit(notice("before"))
    disk = Disk(room=30)
    monkeypatch.setattr(os, "write", disk.write)
    for number in range(50):
        recorder.emit(notice(f"during {number}"))
    assert messages(run) == (["before"], 0), "the half line was taken back"
    assert len(told) == 2, "once for each file, however often it was tried"
    assert "No space left" in told[0]
    disk.room = 1 << 20
    recorder.emit(notice("after"))
    recorder.close()
    assert messages(run) == (["before", *(f"during {n}" for n in range(50)), "after"], 0)
    assert len(run.log_path.read_text().splitlines()) == 52


@pytest.mark.usefixtures("impatient")
def test_half_a_line_that_cannot_be_taken_back_stays_alone(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(run)
    disk = Disk(room=30)
    monkeypatch.setattr(os, "write", disk.write)
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", lambda handle, size: disk.write(handle, b""))
        recorder.emit(notice("one"))
    disk.room = 1 << 20
    recorder.emit(notice("two"))
    assert messages(run) == (["one", "two"], 1)


@pytest.mark.usefixtures("impatient")
def test_a_line_cut_by_a_crash_stays_alone_even_if_closing_it_failed_at_first(run: RunDir, monkeypatch) -> None:
    run.events_path.write_bytes(b'{"type":"notice","t":1')
    disk = Disk(room=0)
    recorder = Recorder(run)
    monkeypatch.setattr(os, "write", disk.write)
    recorder.emit(notice("one"))
    disk.room = 1 << 20
    recorder.emit(notice("two"))
    assert messages(run) == (["one", "two"], 1)


def test_whoever_is_told_of_trouble_may_report_it(run: RunDir) -> None:
    run.events_path.unlink()
    run.events_path.mkdir()
    told: list[str] = []

    def report(message: str) -> None:
        told.append(message)
        recorder.emit(notice(message))

    recorder = Recorder(run, report)
    recorder.emit(notice())
    assert len(told) == 1
    run.events_path.rmdir()
    recorder.close()
    assert messages(run)[0] == ["m", told[0]]


@pytest.mark.usefixtures("impatient")
def test_what_waits_is_bounded_and_the_loss_is_told(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    told: list[str] = []
    recorder = Recorder(run, told.append)
    disk = Disk(room=0)
    monkeypatch.setattr(os, "write", disk.write)
    for number in range(20):
        recorder.emit(notice(str(number)))
    assert sum("oldest lines are lost" in message for message in told) == 2
    disk.room = 1 << 20
    recorder.close()
    assert messages(run)[0] == ["15", "16", "17", "18", "19"]


def test_nothing_that_an_event_holds_stops_it(run: RunDir) -> None:
    recorder = Recorder(run)
    recorder.emit(notice("half a character \udcff, \x1b[31m, \u2028, a\nb"))
    recorder.emit(events.StateChanged(t=1.0, state="paused", step=1, reason="\x1b]0;title\x07\nforged line"))
    recorder.close()
    assert len(run.read_events()[0]) == 2
    log = run.log_path.read_text()
    assert len(log.splitlines()) == 2
    assert "\x1b" not in log


def test_a_disk_that_fails_at_the_end_raises_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    recorder = Recorder(run, told.append)
    recorder.emit(notice())

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    recorder.close()
    assert len(told) == 2


def test_links_and_pipes_in_place_of_the_log_are_not_written_to(run: RunDir, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    run.events_path.unlink()
    run.events_path.symlink_to(mine)
    told: list[str] = []
    recorder = Recorder(run, told.append)
    recorder.emit(notice())
    recorder.close()
    assert mine.read_text() == "mine"
    assert told


def test_killed_in_mid_writing_leaves_whole_lines(run: RunDir) -> None:
    """A real process, killed while it writes as fast as it can, then another one that goes on."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom pixeltui import events\n"
        "from pixeltui.session.recorder import Recorder\nfrom pixeltui.store.rundir import RunDir\n"
        "recorder = Recorder(RunDir(Path(sys.argv[1])))\nn = 0\n"
        "while True:\n    recorder.emit(events.Notice(t=1.0, level='info', kind='x', message=str(n) + 'x' * 3000))\n"
        "    n += 1\n    n == 100 and print('many', flush=True)"
    )
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.communicate()
    found, skipped = messages(run)
    assert len(found) >= 200
    assert skipped <= 1
