"""Devices that fail, losses that turn NaN, clocks that jump, steps that hang."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from harness import start
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.cli import main
from pixeltui.config import Config
from pixeltui.core.gpu import depthwise, feed_forward, mixture_loss, use
from pixeltui.curves.points import Curves
from pixeltui.session import watchdog
from pixeltui.session.watchdog import Watchdog, stacks_on_request
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.store.view import RunView
from pixeltui.train import report
from pixeltui.train.checkpoint import load
from pixeltui.train.update import Updater

SECONDS = 60.0


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- devices -------------------------------------------------------------------------------------------------------


def test_a_device_that_fails_is_told_of_and_the_run_goes_on_from_its_checkpoint(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Updater, step: int, lr: float) -> None:
        if step == 5:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nSearch for `cudaErrorLaunchFailure'")
        original(self, step, lr)

    original = Updater.update
    words = ("train.steps=8", "train.checkpoint_every=2", "train.eval_every=0")
    with monkeypatch.context() as patch:
        patch.setattr(Updater, "update", fail)
        assert tiny_train(*(w for word in words for w in ("--set", word)), "--name", "run") == 1
    run = tmp_path / "runs" / "run"
    said = "the device failed (CUDA error: unspecified launch failure); the last good checkpoint is that of step 4; "
    assert f"{said}to go on from there: pixeltui train --resume {run}" in capsys.readouterr().err
    assert summarize(run).state == "failed"
    assert main(["--no-ui", "train", "--resume", str(run)]) == 0
    assert summarize(run).step == 8


def test_kernels_that_cannot_be_compiled_are_told_of_once_and_training_goes_on(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("Failed to find C compiler\nPlease specify it.")

    monkeypatch.setattr(use, "THERE", True)
    monkeypatch.setattr(use, "compiles_for", lambda _: True)
    monkeypatch.setattr(use, "given_up", {})
    for module in (depthwise, feed_forward, mixture_loss):
        monkeypatch.setattr(module, "kernels", fails)
    words = ("model.architecture=depthwise", "train.precision=bf16", "train.steps=3")
    outcome, sink, _ = start(tiny_config(*words), tmp_path)
    assert outcome.state == "finished"
    (told,) = [notice for notice in sink.of(events.Notice) if notice.kind == "kernels"]
    assert (told.level, told.step) == ("warning", 1)
    assert "(RuntimeError: Failed to find C compiler): torch does their work, more slowly" in told.message


# -- numbers -------------------------------------------------------------------------------------------------------


def test_a_loss_that_turns_nan_is_not_applied_and_training_stops_at_the_last_good_state(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    original, updaters = Updater._gradients, []

    def turn(self: Updater, images: torch.Tensor, labels: torch.Tensor | None, step: int) -> torch.Tensor:
        updaters.append(self)
        loss = original(self, images, labels, step)
        return loss * float("nan") if step == 1 or step >= 4 else loss

    monkeypatch.setattr(Updater, "_gradients", turn)
    words = ("train.steps=40", "train.checkpoint_every=2", "train.eval_every=0")
    assert tiny_train(*(w for word in words for w in ("--set", word)), "--name", "run") == 1
    error = capsys.readouterr().err
    assert "not finite for 10 steps in a row up to step 14; those steps were not applied" in error
    assert "resume with a lower learning rate" in error
    assert f"--resume {tmp_path / 'runs' / 'run'} --set" in error, "it is not where a plain command looks"
    assert "the last good checkpoint is that of step 4;" in error
    last = load(tmp_path / "runs" / "run" / "checkpoints" / "last.safetensors")[0]
    at_the_end = {name: tensor.cpu() for name, tensor in updaters[-1].tensors().items()}
    weights = [name for name in last if name.startswith(("model/", "optimizer/"))]
    assert all(torch.equal(last[name], at_the_end[name]) for name in weights), "none of the ten was applied"
    assert all(last[name].isfinite().all() for name in weights)


# -- clocks --------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_harms_nothing(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """An hour back, a year forward, and before 1970 where a machine has no battery."""
    jumps = iter([0.0, 0.0, -3600.0, 0.0, 3e7, -1.9e9, 0.0, 7200.0] * 50)
    real, clock = time.time, time.perf_counter

    class Clock:
        time = staticmethod(lambda: real() + next(jumps))
        perf_counter = staticmethod(clock)

    monkeypatch.setattr(report, "time", Clock)
    runs = tmp_path / "runs"
    assert tiny_train("--set", "train.steps=12", "--set", "train.checkpoint_every=2", "--name", "run") == 0
    found, skipped = RunDir(runs / "run").read_events()
    view = RunView().fold(found)
    assert [event.step for event in view.steps] == list(range(1, 13))
    assert skipped == 0
    curves = Curves()
    curves.fold(found)
    seconds = curves.points["bits/train"].seconds
    assert list(seconds) == sorted(seconds), "time never goes back along a curve"
    monkeypatch.undo()
    assert summarize(runs / "run").state == "finished"
    assert main(["--runs-dir", str(runs), "runs"]) == 0
    assert main(["--runs-dir", str(runs), "train", "--resume", "run", "--set", "train.steps=14"]) == 0
    assert "Traceback" not in capsys.readouterr().err


# -- steps that hang -----------------------------------------------------------------------------------------------


def test_a_stuck_step_is_told_once_with_the_place_where_it_hangs(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny_train("--set", "train.steps=1", "--name", "before") == 0, "what takes time once is not stuck"
    monkeypatch.setattr(watchdog, "STUCK_SECONDS", 2.0)
    run = RunDir(tmp_path / "runs" / "run")
    original = Updater.update

    def stuck() -> list[events.Notice]:
        return [e for e in run.read_events()[0] if isinstance(e, events.Notice) and e.kind == "stuck"]

    def hang_in_the_third(self: Updater, step: int, lr: float) -> None:
        if step == 2:
            wait_for(lambda: bool(stuck()))
        original(self, step, lr)

    monkeypatch.setattr(Updater, "update", hang_in_the_third)
    assert tiny_train("--set", "train.steps=4", "--name", "run") == 0
    assert len(stuck()) == 1
    log = run.log_path.read_text()
    assert "nothing has happened for" in log
    assert "in hang_in_the_third" in log, "the stack of the training thread"
    assert summarize(run.path).state == "finished"


def test_a_process_that_was_stopped_was_not_stuck() -> None:
    """The watchdog was stopped with it: what was missed meanwhile counts for nothing."""
    code = """
import os, signal, time
from pixeltui.session.watchdog import Watchdog
told = []
dog = Watchdog(told.append, seconds=2.0)
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(0.3)
print(len(told))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        time.sleep(3.0)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=SECONDS)[0].strip() == "0"


def test_what_is_being_told_has_been_told_when_a_run_ends(tmp_path: Path) -> None:
    """Its log is closed then, and another file may have the log's number."""
    begun = threading.Event()
    with stacks_on_request(tmp_path / "log.txt") as write_stacks:

        def tell(seconds: float) -> None:
            begun.set()
            time.sleep(0.3)
            write_stacks()

        with closing(Watchdog(tell, seconds=0.1)):
            assert begun.wait(SECONDS)
    with (tmp_path / "another").open("wb") as another:
        time.sleep(0.5)
        assert os.fstat(another.fileno()).st_size == 0
    assert "test_devices_and_clocks.py" in (tmp_path / "log.txt").read_text()


def test_stacks_on_request(tiny_npz: Path, tmp_path: Path) -> None:
    """SIGQUIT writes where every thread is, and training goes on."""
    arguments = [*tiny_arguments(tiny_npz), "--set", "train.steps=100000", "--set", "train.eval_every=0"]
    command = [sys.executable, "-m", "pixeltui", "--no-ui", "--runs-dir", str(tmp_path), "train", *arguments]
    run = RunDir(tmp_path / "run")
    with subprocess.Popen([*command, "--name", "run"], stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: run.path.exists() and RunView().fold(run.read_events()[0]).step > 2)
            process.send_signal(signal.SIGQUIT)
            wait_for(lambda: "trainer.py" in run.log_path.read_text())
            before = RunView().fold(run.read_events()[0]).step
            wait_for(lambda: RunView().fold(run.read_events()[0]).step > before)
        finally:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert run.read_events()[1] == 0, "the log of events is not touched"
