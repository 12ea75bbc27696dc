"""The console over a real pseudo-terminal that goes away."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from conftest import tiny_arguments

from pixeltui import events
from pixeltui.store import control
from pixeltui.store.files import holder
from pixeltui.ui.driver import STALLED_SECONDS, PatientWriter

SECONDS = 90.0


def start(arguments: list[str]) -> tuple[int, int]:
    """The program on a terminal of 80x24: process and the terminal's other end."""
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "TEXTUAL_ANIMATIONS": "none"}
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which training in this process has set it to pass over
        os.execve(sys.executable, [sys.executable, "-m", "pixeltui", *arguments], environ)
    return pid, terminal


def read_until(terminal: int, met: object) -> bytes:
    """Reads what is drawn until the condition holds, as a terminal would."""
    seen = b""
    deadline = time.monotonic() + SECONDS
    while not met(seen):  # type: ignore[operator]
        assert time.monotonic() < deadline, seen[-2000:]
        if select.select([terminal], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):
                seen += os.read(terminal, 65536)
    return seen


def wait_for(met: object) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def last_event(run: Path) -> dict[str, object]:
    try:
        event = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    except (OSError, IndexError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def is_there(pid: int) -> bool:
    """Whether the process runs: one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def words(tiny_npz: Path, runs: Path, *overrides: str) -> list[str]:
    settings = [word for override in overrides for word in ("--set", override)]
    return ["--runs-dir", str(runs), "train", *tiny_arguments(tiny_npz), *settings, "--name", "one"]


def test_training_ends_headless_when_the_terminal_dies(tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    pid, terminal = start(
        words(tiny_npz, tmp_path, "train.steps=200", "train.eval_every=0", "train.checkpoint_every=0")
    )
    read_until(terminal, lambda _: last_event(run).get("type") == "step")
    step = int(str(last_event(run)["step"]))
    assert step < 200
    os.close(terminal)
    os.waitpid(pid, 0)
    wait_for(lambda: last_event(run).get("state") == "finished")
    wait_for(lambda: not is_there(int(holder(run)["pid"])))
    log = (run / "log.txt").read_text()
    assert "Traceback" not in log
    assert "samples" in log or "test" in log


def stalled(terminal: int) -> None:
    """Until nothing more goes into a terminal that reads nothing."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < 2:
        time.sleep(0.1)
        waiting = int.from_bytes(fcntl.ioctl(terminal, termios.FIONREAD, bytes(4)), sys.byteorder)
        if waiting != seen:
            seen, since = waiting, time.monotonic()


def ended(pid: int) -> int:
    """The exit status, while nobody reads what is drawn."""
    deadline = time.monotonic() + SECONDS
    while not (found := os.waitpid(pid, os.WNOHANG))[0]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return os.waitstatus_to_exitcode(found[1])


def test_sigterm_ends_a_console_whose_terminal_reads_nothing(tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    often = ("ui.curves_per_second=30", "ui.images_per_second=30", "train.eval_every=0", "train.checkpoint_every=0")
    pid, terminal = start(words(tiny_npz, tmp_path, "train.steps=1000000", *often))
    read_until(terminal, lambda _: last_event(run).get("type") == "step")
    stalled(terminal)
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 128 + signal.SIGTERM
    os.close(terminal)
    assert last_event(run)["state"] == "stopped"
    assert (run / "checkpoints" / "last.safetensors").is_file()
    assert "--resume one" in (run / "log.txt").read_text()


def test_ctrl_c_while_processes_start_ends_them(tiny_npz: Path, tmp_path: Path) -> None:
    pid, terminal = start([*words(tiny_npz, tmp_path, "train.steps=1000000"), "--processes", "2"])
    read_until(terminal, lambda seen: b"starting 2 processes" in seen)
    os.write(terminal, b"\x03")
    assert ended(pid) == 128 + signal.SIGINT
    os.close(terminal)
    mentions = str(tmp_path).encode()
    left = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if mentions in content(path)]
    for number in left:
        os.kill(int(number), signal.SIGKILL)
    assert not left


def test_a_hang_up_stops_the_processes_behind_a_console_where_it_is_to(tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    arguments = words(tiny_npz, tmp_path, "train.steps=1000000", "train.eval_every=0", "train.checkpoint_every=0")
    pid, terminal = start([*arguments, "--processes", "2", "--on-hangup", "stop"])
    read_until(terminal, lambda seen: b"\x1b[?1049h" in seen and last_event(run).get("type") == "step")
    os.close(terminal)
    ended(pid)
    wait_for(lambda: last_event(run).get("state") == "stopped")
    assert (run / "checkpoints" / "last.safetensors").is_file()


def test_leaving_processes_that_train_says_how_to_see_them_again(tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    pid, terminal = start([*words(tiny_npz, tmp_path, "train.steps=1000000", "train.eval_every=0"), "--processes", "2"])
    read_until(terminal, lambda seen: b"\x1b[?1049h" in seen and last_event(run).get("type") == "step")
    os.write(terminal, b"d")
    read_until(
        terminal, lambda seen: f"one trains on; to see it again: pixeltui --runs-dir {tmp_path}".encode() in seen
    )
    assert ended(pid) == 0
    os.close(terminal)
    control.post(run / "control", events.Stop())
    wait_for(lambda: last_event(run).get("state") == "stopped")


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_sigterm_ends_the_browser_too(tmp_path: Path) -> None:
    pid, terminal = start(["--runs-dir", str(tmp_path)])
    read_until(terminal, lambda seen: b"no runs yet" in seen)
    os.kill(pid, signal.SIGTERM)
    read_until(terminal, lambda seen: b"\x1b[?1049l" in seen)
    assert ended(pid) == 128 + signal.SIGTERM
    os.close(terminal)


def test_a_stalled_terminal_is_waited_for_unless_the_process_is_to_end() -> None:
    hurries = threading.Event()
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as terminal:
        thread = PatientWriter(terminal, lambda: None, hurries.is_set)
        thread.start()
        feeding = threading.Thread(target=lambda: [thread.write("x" * 10000) for _ in range(100)], daemon=True)
        feeding.start()
        feeding.join(STALLED_SECONDS + 1)
        assert feeding.is_alive()
        assert not thread.gave_up
        hurries.set()
        feeding.join(STALLED_SECONDS + 1)
        assert not feeding.is_alive()
        assert thread.gave_up
        thread.stop()
        os.close(reader)
        with contextlib.suppress(OSError):
            terminal.close()


def test_a_writer_that_fails_first_ends_the_console() -> None:
    """Output may notice the end of the terminal before input does."""
    told = threading.Event()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        thread = PatientWriter(broken, told.set)
        thread.start()
        for _ in range(100):
            thread.write("x" * 10000)
        thread.stop()
        assert told.is_set()
        with contextlib.suppress(OSError):
            broken.close()


def test_all_that_was_written_is_out_when_the_writer_has_stopped() -> None:
    """The end of its queue is there before the last text is taken: the alternate screen is left all the same."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as terminal:
        thread = PatientWriter(terminal, lambda: None)
        thread.write("left")
        thread._queue.put(None)
        thread.run()
        os.set_blocking(reader, False)
        assert os.read(reader, 100) == b"left"
    os.close(reader)


def test_detaching_gives_the_shell_back_and_a_stop_from_elsewhere_is_obeyed(tiny_npz: Path, tmp_path: Path) -> None:
    from pixeltui.events import Stop
    from pixeltui.session.attach import AttachedSession
    from pixeltui.store.rundir import find_run

    run = tmp_path / "one"
    pid, terminal = start(words(tiny_npz, tmp_path, "train.steps=1000000", "train.eval_every=0"))
    read_until(terminal, lambda _: last_event(run).get("type") == "step")
    os.write(terminal, b"d")
    seen = read_until(terminal, lambda seen: b"attach one" in seen)
    assert b"\x1b[?1049l" in seen, "the screen as it was"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    session = AttachedSession(find_run(tmp_path, "one"))
    assert session.alive
    session.send(Stop())
    wait_for(lambda: last_event(run).get("state") == "stopped")
    wait_for(lambda: not AttachedSession(find_run(tmp_path, "one")).alive)


def test_detaching_from_a_paused_run_says_that_it_stays_so(tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    pid, terminal = start(words(tiny_npz, tmp_path, "train.steps=1000000", "train.eval_every=0"))
    read_until(terminal, lambda _: last_event(run).get("type") == "step")
    os.write(terminal, b"p")
    read_until(terminal, lambda _: last_event(run).get("state") == "paused")
    os.write(terminal, b"q")
    read_until(terminal, lambda seen: b"it stays paused until p in pixeltui attach one" in seen)
    os.write(terminal, b"d")
    seen = read_until(terminal, lambda seen: b"until p in: pixeltui" in seen)
    assert b"one is paused" in seen
    assert b"trains on" not in seen
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    os.kill(int(holder(run)["pid"]), signal.SIGTERM)
    wait_for(lambda: last_event(run).get("state") == "stopped")


def test_sigterm_writes_a_checkpoint_and_leaves_the_screen_clean(tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    never = ("train.eval_every=0", "train.checkpoint_every=0")
    pid, terminal = start(words(tiny_npz, tmp_path, "train.steps=1000000", *never))
    read_until(terminal, lambda _: last_event(run).get("type") == "step")
    os.kill(pid, signal.SIGTERM)
    seen = read_until(terminal, lambda seen: b"--resume one" in seen)
    assert b"\x1b[?1049l" in seen
    assert b"\x1b[?1000l" in seen, "mouse reports off"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGTERM
    os.close(terminal)
    assert last_event(run)["state"] == "stopped"
    assert (run / "checkpoints" / "last.safetensors").is_file()


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.4, 0.7])
def test_a_terminal_that_goes_while_the_console_starts_takes_it_along(seconds: float, finished_runs: Path) -> None:
    """Before there is a driver that could tell, and before there is an app that could be told."""
    pid, terminal = start(["--runs-dir", str(finished_runs)])
    time.sleep(seconds)
    os.close(terminal)
    wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)


def test_a_character_that_comes_in_two_pieces_does_not_end_the_console(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    pid, terminal = start(["--runs-dir", str(tmp_path)])
    try:
        read_until(terminal, lambda seen: b"1 run " in seen)
        os.write(terminal, b"/")
        read_until(terminal, lambda seen: b"ords in name" in seen)
        first, second = "é".encode()[:1], "é".encode()[1:]
        os.write(terminal, first)
        time.sleep(0.3)  # until it has been read
        os.write(terminal, second + b"x")
        read_until(terminal, lambda seen: "éx".encode() in seen)
    finally:
        os.kill(pid, signal.SIGTERM)
        read_until(terminal, lambda _: os.waitpid(pid, os.WNOHANG)[0])
        os.close(terminal)
