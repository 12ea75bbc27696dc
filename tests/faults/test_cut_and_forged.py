"""Terminals that go, processes that are killed again and again, and files that somebody made up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import tiny_arguments

from pixeltui.cli import main
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.store.view import RunView
from pixeltui.train.checkpoint import load, save
from pixeltui.ui.sheets import ImageShape, sheet_pictures

SECONDS = 60.0
TORTURE = Path(__file__).parents[2] / "benchmarks" / "torture.py"


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_at_random_moments_runs_end_bit_for_bit_the_same() -> None:
    """A handful; `python benchmarks/torture.py --kills 200` does more."""
    done = subprocess.run([sys.executable, str(TORTURE), "--kills", "4"], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.startswith("4 kills of 1 runs")
    assert "1 of 1 ended bit for bit the same" in done.stdout


@pytest.mark.parametrize("nohup", [False, True])
def test_a_hang_up_stops_a_headless_run_that_was_asked_to_and_not_under_nohup(
    nohup: bool, tiny_npz: Path, tmp_path: Path
) -> None:
    arguments = [*tiny_arguments(tiny_npz), "--set", "train.steps=100000", "--set", "train.eval_every=0"]
    command = [sys.executable, "-m", "pixeltui", "--no-ui", "--runs-dir", str(tmp_path), "train", *arguments]
    command = [*(["nohup"] * nohup), *command, "--name", "run", "--on-hangup", "stop"]
    run = RunDir(tmp_path / "run")

    def step() -> int:
        return RunView().fold(run.read_events()[0]).step

    def heed_hangups() -> None:
        """Also where these tests themselves run under nohup, whose children are born deaf to it."""
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, preexec_fn=heed_hangups, **pipes) as process:
        try:
            wait_for(lambda: run.path.exists() and step() > 2)
            process.send_signal(signal.SIGHUP)
            if nohup:
                before = step()
                wait_for(lambda: step() > before + 20)
                assert process.poll() is None
                process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 128 + (signal.SIGTERM if nohup else signal.SIGHUP), output
    assert summarize(run.path).state == "stopped"
    assert load(run.checkpoints_dir / "last.safetensors")[1]["step"] == step()


def forge(path: Path, change: Callable[[dict], object]) -> None:
    """The checkpoint with another description, under checksums that are right."""
    tensors, tree = load(path)
    change(tree)
    save(path, tensors, tree)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["config"]["model"].update(channels=1_000_000),
        lambda tree: tree["config"]["model"].update(blocks=10**9),
        lambda tree: tree["config"].update(model="small"),
        lambda tree: tree["data"].update(image_shape=[1, 10**9, 10**9]),
        lambda tree: tree["data"].update(levels=10**9),
        lambda tree: tree.pop("data"),
    ],
    ids=["wide", "deep", "no model", "large images", "levels", "no data"],
)
def test_a_forged_description_is_one_line_and_takes_no_memory(
    change: Callable[[dict], object], runs_copy: Path, tmp_path: Path, capsys
) -> None:
    for path in (runs_copy / "done" / "checkpoints").glob("*.safetensors"):
        forge(path, change)
    capsys.readouterr()
    command = ["--runs-dir", str(runs_copy), "sample", "done", "-n", "1", "--out", str(tmp_path / "a.png")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.count("\n") <= 2
    assert "unexpected" not in error
    assert "Traceback" not in error
    assert not (tmp_path / "a.png").exists()


def test_a_resume_refuses_a_forged_description(runs_copy: Path, capsys) -> None:
    for path in (runs_copy / "done" / "checkpoints").glob("*.safetensors"):
        forge(path, lambda tree: tree.update(progress={"step": "many"}))
    capsys.readouterr()
    assert main(["--no-ui", "--runs-dir", str(runs_copy), "train", "--resume", "done", "--set", "train.steps=12"]) == 1
    assert "unexpected" not in capsys.readouterr().err


def test_only_png_is_opened_as_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to another program; a pipe would never end."""
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **how: started.append(words))
    monkeypatch.setattr(subprocess, "check_call", lambda *words, **how: started.append(words))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print showpage\n%%EOF\n"
    sheet = tmp_path / "step-00000001.png"
    sheet.write_bytes(script)
    assert sheet_pictures(sheet, ImageShape(8, 8)) == []
    assert started == []
    sheet.unlink()
    os.mkfifo(sheet)
    assert sheet_pictures(sheet, ImageShape(8, 8)) == []
