"""Real training processes: killed, interrupted, resumed, and two at one run."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.cli import main
from pixeltui.session import worker
from pixeltui.store import control
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.store.view import RunView
from pixeltui.train.checkpoint import load

LONG = 40_000
OVERRIDES = ("model.dropout=0.1", "train.checkpoint_every=5", "train.eval_every=7", "train.lr=0.001")
Launch = Callable[..., subprocess.Popen]


def words(tiny_npz: Path, *overrides: str) -> list[str]:
    extra = (word for override in (*OVERRIDES, *overrides) for word in ("--set", override))
    return [*tiny_arguments(tiny_npz), *extra]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts `python -m pixeltui --no-ui train ...` with its runs in tmp_path."""
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "pixeltui", "--no-ui", "--runs-dir", str(tmp_path), "train", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "\n".join(process.communicate())
        assert time.monotonic() < deadline
        time.sleep(0.01)


def view(run: Path) -> RunView:
    return RunView().fold(RunDir(run).read_events()[0])


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return load(run / "checkpoints" / "last.safetensors")[0]


def test_killed_at_any_moment_and_resumed_is_bit_for_bit_the_same(
    launch: Launch, tiny_npz: Path, tmp_path: Path
) -> None:
    steps = 80
    arguments = words(tiny_npz, f"train.steps={steps}")
    assert main(["--runs-dir", str(tmp_path), "train", *arguments, "--name", "whole"]) == 0
    run = tmp_path / "killed"
    process = launch(*arguments, "--name", "killed")
    for goal in (11, 38):
        wait_for(lambda goal=goal: run.exists() and view(run).step >= goal, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert view(run).step < steps
        assert summarize(run).state == "crashed"
        process = launch("--resume", "killed")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (output, errors)
    assert summarize(run).state == "finished"
    whole, killed = tensors(tmp_path / "whole"), tensors(run)
    assert whole.keys() == killed.keys()
    assert [name for name in whole if not torch.equal(whole[name], killed[name])] == []
    expected, found = view(tmp_path / "whole"), view(run)
    assert [(e.step, e.loss, e.lr, e.grad_norm) for e in found.steps] == [
        (e.step, e.loss, e.lr, e.grad_norm) for e in expected.steps
    ]
    assert {(e.step, e.split, e.weights, e.bits_per_dim, e.best) for e in found.evaluations} == {
        (e.step, e.split, e.weights, e.bits_per_dim, e.best) for e in expected.evaluations
    }


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_checkpoint_within_a_step_and_say_how_to_resume(
    number: signal.Signals, status: int, launch: Launch, tiny_npz: Path, tmp_path: Path
) -> None:
    run = tmp_path / "signalled"
    process = launch(*words(tiny_npz, f"train.steps={LONG}"), "--name", "signalled")
    wait_for(lambda: run.exists() and view(run).step >= 3, process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == status, (output, errors)
    assert f"stopped by {number.name}" in output
    assert f"--runs-dir {tmp_path} --no-ui train --resume signalled" in output
    assert "Traceback" not in errors
    found = view(run)
    assert summarize(run).state == "stopped"
    assert found.checkpoints[-1].step == found.step
    assert load(run / "checkpoints" / "last.safetensors")[1]["step"] == found.step


def test_sigusr1_checkpoints_and_training_goes_on(launch: Launch, tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    never = ("train.checkpoint_every=0", "train.eval_every=0")
    process = launch(*words(tiny_npz, f"train.steps={LONG}", *never), "--name", "run")
    wait_for(lambda: run.exists() and view(run).step >= 3, process)
    assert view(run).checkpoints == []
    process.send_signal(signal.SIGUSR1)
    wait_for(lambda: len(view(run).checkpoints) == 1, process)
    saved = view(run).checkpoints[0].step
    wait_for(lambda: view(run).step > saved + 3, process)


def test_no_more_open_files_are_no_end_of_training(launch: Launch, tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = launch(*words(tiny_npz, f"train.steps={LONG}", "sample.every=5"), "--name", "run")
    wait_for(lambda: run.exists() and view(run).step > 20, process)  # what is loaded late is there by then
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    wait_for(lambda: "Too many open files" in (run / "log.txt").read_text(), process)
    reached = view(run).step
    wait_for(lambda: view(run).step > reached + 20, process)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, (output, errors)
    assert "training goes on and tries again" in output
    assert view(run).checkpoints[-1].step == view(run).step


def test_a_run_that_is_moved_writes_nothing_into_another_of_its_name(
    launch: Launch, tiny_npz: Path, tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    process = launch(*words(tiny_npz, f"train.steps={LONG}", "sample.every=5"), "--name", "run")
    wait_for(lambda: run.exists() and len(view(run).samples) > 0 and len(view(run).checkpoints) > 1, process)
    run.rename(moved)
    assert main(["--runs-dir", str(tmp_path), "train", *words(tiny_npz, "train.steps=4"), "--name", "run"]) == 0
    control.post(RunDir(run).control_dir, events.Stop())
    others = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    wait_for(lambda: f"{run} was moved or deleted" in (moved / "log.txt").read_text(), process)
    reached = view(moved).step
    wait_for(lambda: view(moved).step > reached + 20, process)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == others
    run.rename(tmp_path / "other")
    moved.rename(run)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, (output, errors)
    assert view(run).checkpoints[-1].step == view(run).step
    assert load(run / "checkpoints" / "last.safetensors")[1]["step"] == view(run).step


def test_a_second_process_is_told_who_has_the_run(launch: Launch, tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = launch(*words(tiny_npz, f"train.steps={LONG}"), "--name", "run")
    wait_for(lambda: run.exists() and view(run).step >= 3, first)
    second = launch("--resume", "run")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"in use by process {first.pid}" in errors
    assert first.poll() is None
    assert summarize(run).state == "training"


def test_commands_from_another_process(launch: Launch, tiny_npz: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = launch(*words(tiny_npz, f"train.steps={LONG}"), "--name", "run")
    wait_for(lambda: run.exists() and view(run).step >= 3, process)
    folder = RunDir(run).control_dir
    control.post(folder, events.Pause())
    wait_for(lambda: summarize(run).state == "paused", process)
    (folder / "nonsense.json").write_text("{")
    paused_at = view(run).step
    command_id = control.post(folder, events.Stop(reason="seen enough"))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by seen enough" in output
    assert view(run).step == paused_at
    acknowledged = [e for e in RunDir(run).read_events()[0] if isinstance(e, events.Acknowledged)]
    assert command_id in [e.id for e in acknowledged]


def test_commands_left_for_a_dead_process_are_not_obeyed(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    assert tiny_train("--set", "train.steps=3", "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    control.post(run.control_dir, events.Stop(reason="long ago"))
    words = ["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", "--resume", "run", "--set", "train.steps=5"]
    assert main(words) == 0
    assert summarize(run.path).state == "finished"
    assert summarize(run.path).step == 5


def test_a_command_that_comes_once_a_process_has_the_run_is_obeyed(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its lock on whoever looks takes it for training: a stop that got lost would be waited for, for ever."""
    assert tiny_train("--set", "train.steps=3", "--name", "run") == 0
    run, ids, check = RunDir(tmp_path / "runs" / "run"), [], worker.check_data

    def checks(*arguments: Any) -> None:
        assert run.is_locked()
        ids.append(control.post(run.control_dir, events.Stop(reason="seen enough")))
        check(*arguments)

    monkeypatch.setattr(worker, "check_data", checks)
    words = ["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", "--resume", "run", "--set", "train.steps=5"]
    assert main(words) == 0
    assert summarize(run.path).state == "stopped"
    assert [event.id for event in run.read_events()[0] if isinstance(event, events.Acknowledged)] == ids


def test_a_torn_log_line_is_passed_over_after_a_resume(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    assert tiny_train("--set", "train.steps=4", "--name", "run") == 0
    log = tmp_path / "runs" / "run" / "events.jsonl"
    log.write_bytes(log.read_bytes() + b'{"type":"step","t":17')
    runs = ["--runs-dir", str(tmp_path / "runs")]
    assert main([*runs, "train", "--resume", "run", "--set", "train.steps=6"]) == 0
    found, skipped = RunDir(log.parent).read_events()
    assert skipped == 1
    assert RunView().fold(found).step == 6


def test_all_checkpoints_damaged_is_refused(tiny_train: Callable[..., int], tmp_path: Path, capsys) -> None:
    assert tiny_train("--set", "train.steps=4", "--name", "run") == 0
    for path in (tmp_path / "runs" / "run" / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    capsys.readouterr()
    assert main(["--runs-dir", str(tmp_path / "runs"), "train", "--resume", "run"]) == 1
    assert "every checkpoint of run run is damaged" in capsys.readouterr().err


def test_a_truncated_last_checkpoint_falls_back_and_says_so(
    tiny_train: Callable[..., int], tmp_path: Path, capsys
) -> None:
    assert tiny_train("--set", "train.steps=6", "--set", "train.checkpoint_every=2", "--name", "run") == 0
    last = tmp_path / "runs" / "run" / "checkpoints" / "last.safetensors"
    with last.open("r+b") as file:
        file.truncate(1000)
    capsys.readouterr()
    assert main(["--runs-dir", str(tmp_path / "runs"), "train", "--resume", "run"]) == 0
    out = capsys.readouterr().out
    assert "step-00000006.safetensors is damaged" in out
    assert "set aside" in out
    assert "resumed at step 4" in out
    assert json.loads(json.dumps(summarize(last.parent.parent).state)) == "finished"
