"""Training without the console, as a terminal and as a pipe see it."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pyte
import pytest
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.session.describe import describe
from pixeltui.session.headless import PlainLines, ProgressDisplay, WhileThere
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize


def screen_of(command: list[str], columns: int = 100) -> list[str]:
    """Every line that a terminal shows after the command, scrolled ones included."""
    pid, handle = pty.fork()
    if pid == 0:
        os.environ.update(COLUMNS=str(columns), LINES="60", TERM="xterm-256color")
        os.execv(command[0], command)
    screen = pyte.Screen(columns, 60)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            content = os.read(handle, 1 << 16)
        except OSError:
            break
        if not content:
            break
        stream.feed(content)
    os.close(handle)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, screen.display
    return [line.rstrip() for line in screen.display]


def command(tiny_npz: Path, runs: Path) -> list[str]:
    words = ["--no-ui", "--runs-dir", str(runs), "train", *tiny_arguments(tiny_npz), "--set", "train.steps=9"]
    return [sys.executable, "-m", "pixeltui", *words, "--name", "a"]


def test_a_terminal_sees_a_bar_and_the_figures(tiny_npz: Path, tmp_path: Path) -> None:
    lines = screen_of(command(tiny_npz, tmp_path))
    shown = "\n".join(lines)
    assert "9/9" in shown
    assert "bits/dim  lr" in shown
    assert "best epoch" in shown
    assert sum("9/9" in line for line in lines) == 1, "one bar, redrawn in place"


def test_a_dropped_terminal_does_not_end_the_run(tiny_npz: Path, tmp_path: Path) -> None:
    words = [*command(tiny_npz, tmp_path), "--set", "train.steps=150", "--set", "train.checkpoint_every=0"]
    pid, handle = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    shown = b""
    while b"bits/dim" not in shown:
        shown += os.read(handle, 1 << 16)
    os.close(handle)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert summarize(tmp_path / "a").state == "finished"
    assert summarize(tmp_path / "a").step == 150


def test_a_reader_that_leaves_does_not_end_the_run(tiny_npz: Path, tmp_path: Path) -> None:
    words = [*command(tiny_npz, tmp_path), "--set", "train.steps=60"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert summarize(tmp_path / "a").state == "finished"


def test_a_pipe_sees_plain_lines(tiny_npz: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(tiny_npz, tmp_path), capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert "step 1/9" in done.stdout
    assert "step 9/9" in done.stdout
    assert "images/s" in done.stdout
    assert done.stderr == ""


def test_step_lines_are_spaced_out_but_the_last_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines()
    start = dict(total_steps=50, steps_per_epoch=10, parameters=1, device="cpu", precision="fp32")
    lines.show(events.Started(t=0.0, step=0, **start))
    for step in range(1, 51):
        figures = dict(epoch=step / 10, loss=1.0, bits_per_dim=1.4, lr=0.1, grad_norm=None, images_per_second=5.0)
        lines.show(events.Step(t=0.0, step=step, **figures))
    shown = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert shown == ["1/50", "50/50"]


def test_a_run_that_is_at_its_end_says_how_to_train_longer() -> None:
    started = dict(t=0.0, total_steps=9, steps_per_epoch=3, parameters=1, device="cpu", precision="fp32")
    assert "train.epochs" in describe(events.Started(step=9, resumed=True, **started), 9)
    assert "train.epochs" not in describe(events.Started(step=8, resumed=True, **started), 9)


def test_messages_reach_the_terminal_without_their_escapes() -> None:
    notice = events.Notice(t=0.0, level="warning", kind="disk", message="\x1b[2J\x07gone\u202e")
    assert describe(notice, 1) == "warning: ?[2J?gone?"


def test_a_figure_that_is_not_finite_is_said_so() -> None:
    step = events.Step(
        t=0.0, step=1, epoch=0.1, loss=None, bits_per_dim=None, lr=0.1, grad_norm=None, images_per_second=5.0
    )
    assert "loss not finite" in describe(step, 1)


@pytest.mark.parametrize("streams", [">/dev/full 2>/dev/full", "<&- >&- 2>&-"])
def test_output_that_is_full_or_closed_does_not_end_the_run(streams: str, tiny_npz: Path, tmp_path: Path) -> None:
    run, started = RunDir(tmp_path / "a"), command(tiny_npz, tmp_path)
    assert subprocess.run(["sh", "-c", f'exec "$@" {streams}', "sh", *started], check=False).returncode == 0
    assert summarize(run.path).state == "finished"
    run.log_path.unlink()
    run.log_path.mkdir()  # what cannot be written is told, on streams that take nothing either
    again = [*started[: started.index("train") + 1], "--resume", "a", "--set", "train.steps=12"]
    assert subprocess.run(["sh", "-c", f'exec "$@" {streams}', "sh", *again], check=False).returncode == 0
    assert summarize(run.path).step == 12


def test_what_a_full_disk_does_not_take_is_missed_and_what_follows_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    display = WhileThere(PlainLines())
    notices = [events.Notice(t=0.0, level="warning", kind="disk", message=text) for text in ("one", "two")]
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        display.show(notices[0])
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    display.show(notices[1])
    assert capsys.readouterr().out == "warning: two\n"


def test_a_command_whose_output_is_not_taken_has_failed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pixeltui", "--runs-dir", str(tmp_path), "runs", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "pixeltui: the output could not be written: No space left on device\n"


def test_a_pause_is_no_part_of_the_time_left() -> None:
    display, now = ProgressDisplay(), 0.0
    display._progress.get_time = lambda: now
    (task,) = display._progress.tasks
    figures = dict(epoch=0.1, loss=1.0, bits_per_dim=1.4, lr=0.1, grad_norm=None, images_per_second=5.0)
    display.show(
        events.Started(t=0.0, step=0, total_steps=64, steps_per_epoch=10, parameters=1, device="", precision="")
    )
    for step in range(1, 31):
        now += 0.1
        display.show(events.Step(t=now, step=step, **figures))
    display.show(events.StateChanged(t=now, state="paused", step=30, reason="asked to pause"))
    now += 20
    display.show(events.StateChanged(t=now, state="training", step=30, reason="asked to go on"))
    assert task.completed == 30
    for step in range(31, 35):
        now += 0.1
        display.show(events.Step(t=now, step=step, **figures))
    display.close()
    assert task.time_remaining == pytest.approx(3, abs=1)
