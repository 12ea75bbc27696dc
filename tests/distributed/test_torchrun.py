"""Several real processes, started by torchrun, against one: the same losses, one writer, one decision for all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from several import Start, found, launched, losses, of_rank, run_of, settings, wait_for
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.cli import main
from pixeltui.store import control
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize

LONG = 100_000
HARD = (
    "train.batch_size=15",  # cannot be halved
    "model.dropout=0.2",
    "model.label_dropout=0.3",
    "data.augmentations.random_crop=1",
    "data.augmentations.horizontal_flip=true",
    "train.precision=fp32",
    "train.accumulate=3",
)
SELDOM = ("train.eval_every=50", "train.checkpoint_every=50")


@pytest.fixture
def start(tiny_npz: Path, tmp_path: Path) -> Iterator[Start]:
    with launched(tiny_npz, tmp_path) as begin:
        yield begin


def test_two_processes_train_as_one(start: Start, tiny_npz: Path, tmp_path: Path) -> None:
    words = [*settings(*HARD, "train.steps=100", "train.lr=0.01", *SELDOM), "--name", "run"]
    two = start(*words)
    output, errors = two.communicate(timeout=240)
    assert two.returncode == 0, errors
    assert output.count("run run in ") == output.count("more of them: ") == 1, "one process speaks"
    alone = tmp_path / "alone"
    assert main(["--no-ui", "--runs-dir", str(alone / "runs"), "train", *tiny_arguments(tiny_npz), *words]) == 0
    one, shared = losses(alone), losses(tmp_path)
    assert sorted(shared) == sorted(one) == list(range(1, 101))
    assert max(abs(one[step] - shared[step]) for step in one) < 1e-4
    assert len(found(tmp_path, events.Step)) == 100, "one writer"
    assert [event.processes for event in found(tmp_path, events.Started)] == [2]
    for expected, event in zip(found(alone, events.Evaluated), found(tmp_path, events.Evaluated), strict=True):
        assert (event.split, event.step, event.images, event.best) == (
            expected.split,
            expected.step,
            expected.images,
            expected.best,
        )
        assert event.bits_per_dim == pytest.approx(expected.bits_per_dim, abs=2e-4)
        if expected.bits_per_dim_se is not None:
            assert event.bits_per_dim_se == pytest.approx(expected.bits_per_dim_se, abs=2e-4)
    assert len(found(tmp_path, events.CheckpointSaved)) == len(found(alone, events.CheckpointSaved))


def test_nobody_is_warned_of_how_gradients_lie(start: Start) -> None:
    two = start(*settings("train.steps=2"))
    _, errors = two.communicate(timeout=240)
    assert two.returncode == 0, errors
    assert "Warning" not in errors


def test_batch_norm_is_that_of_the_whole_batch(start: Start, tiny_npz: Path, tmp_path: Path) -> None:
    """An odd batch, so that a mean of the processes' means would be another; the running means score the test split."""
    compare_batch_norm(start, tiny_npz, tmp_path, "train.batch_size=15")


def test_batch_norm_in_micro_batches_is_that_of_one_process(start: Start, tiny_npz: Path, tmp_path: Path) -> None:
    """Of the same images; and one process waits for the other in each of them, though it has 12 of 25 images."""
    compare_batch_norm(start, tiny_npz, tmp_path, "train.batch_size=25", "train.accumulate=5")


OF_BATCH_NORM = ("model.architecture=single_stack", "model.norm=batch", "train.precision=fp32")


def compare_batch_norm(start: Start, tiny_npz: Path, tmp_path: Path, *keys: str) -> None:
    more = ("train.checkpoint_activations=true", "train.lr=0.01", *SELDOM)
    words = [*settings(*OF_BATCH_NORM, *keys, "train.steps=30", *more), "--name", "run"]
    two = start(*words)
    _, errors = two.communicate(timeout=240)
    assert two.returncode == 0, errors
    assert "Warning" not in errors
    alone = tmp_path / "alone"
    assert main(["--no-ui", "--runs-dir", str(alone / "runs"), "train", *tiny_arguments(tiny_npz), *words]) == 0
    one, shared = losses(alone), losses(tmp_path)
    assert max(abs(one[step] - shared[step]) for step in one) < 1e-4
    for expected, event in zip(found(alone, events.Evaluated), found(tmp_path, events.Evaluated), strict=True):
        assert event.bits_per_dim == pytest.approx(expected.bits_per_dim, abs=2e-4)


def test_a_signal_to_any_process_stops_all_and_another_number_goes_on(
    start: Start, tiny_npz: Path, tmp_path: Path
) -> None:
    hard = (*HARD, "train.lr=0.01", "train.schedule=constant", "train.eval_every=0", "train.checkpoint_every=0")
    run = run_of(tmp_path)
    two = start(*settings(*hard, f"train.steps={LONG}"), "--name", "run")
    wait_for(lambda: len(losses(tmp_path)) >= 3, two)
    pause = control.post(run.control_dir, events.Pause())
    wait_for(lambda: summarize(run.path).state == "paused", two)
    assert pause in [event.id for event in found(tmp_path, events.Acknowledged)]
    os.kill(of_rank(two, 1), signal.SIGUSR1)
    wait_for(lambda: found(tmp_path, events.CheckpointSaved), two)
    control.post(run.control_dir, events.Resume())
    at = max(losses(tmp_path))
    wait_for(lambda: max(losses(tmp_path)) > at + 2, two)
    os.kill(of_rank(two, 1), signal.SIGTERM)
    output, errors = two.communicate(timeout=120)
    assert two.returncode != 0
    assert errors.count("exitcode  : 143") == 2 or "exitcode" in errors
    assert "stopped by SIGTERM at step" in output
    stopped = found(tmp_path, events.StateChanged)[-1]
    assert (stopped.state, stopped.step) == ("stopped", max(losses(tmp_path)))
    assert found(tmp_path, events.CheckpointSaved)[-1].step == stopped.step
    more = stopped.step + 20
    words = ["train", "--resume", "run", "--set", f"train.steps={more}"]
    assert main(["--no-ui", "--runs-dir", str(tmp_path / "runs"), *words]) == 0
    alone = tmp_path / "alone"
    whole = [*tiny_arguments(tiny_npz), *settings(*hard, f"train.steps={more}"), "--name", "run"]
    assert main(["--no-ui", "--runs-dir", str(alone / "runs"), "train", *whole]) == 0
    one, both = losses(alone), losses(tmp_path)
    assert sorted(both) == sorted(one)
    assert max(abs(one[step] - both[step]) for step in one) < 1e-3


def test_ctrl_c_on_torchrun_stops_with_a_checkpoint(start: Start, tmp_path: Path) -> None:
    """It reaches every process twice: from the terminal, and from torchrun."""
    two = start(*settings(f"train.steps={LONG}", "train.eval_every=0", "train.checkpoint_every=0"), "--name", "run")
    wait_for(lambda: len(losses(tmp_path)) >= 3, two)
    os.killpg(two.pid, signal.SIGINT)
    output, _ = two.communicate(timeout=120)
    assert "stopped by SIGINT at step" in output
    (saved,) = found(tmp_path, events.CheckpointSaved)
    assert saved.step == max(losses(tmp_path)) == found(tmp_path, events.StateChanged)[-1].step


def test_torchrun_starts_again_and_the_run_goes_on(start: Start, tmp_path: Path) -> None:
    never = ("train.eval_every=0", "train.checkpoint_every=10", "train.steps=100")
    two = start(*settings(*never), launcher=("--max-restarts=1",))
    runs = tmp_path / "runs"
    wait_for(lambda: runs.exists() and [p for p in runs.iterdir() if list(p.glob("checkpoints/*"))], two)
    os.kill(of_rank(two, 1), signal.SIGKILL)
    _, errors = two.communicate(timeout=240)
    assert two.returncode == 0, errors
    (path,) = [path for path in runs.iterdir() if not path.name.startswith(".")]
    run = RunDir(path)
    starts = [event for event in run.read_events()[0] if isinstance(event, events.Started)]
    assert [event.resumed for event in starts] == [False, True]
    assert starts[1].step >= 10
    assert (summarize(path).state, summarize(path).step) == ("finished", 100)


def test_what_all_cannot_do_one_says(start: Start, tmp_path: Path) -> None:
    two = start(*settings("train.batch_size=1"), "--name", "run")
    _, errors = two.communicate(timeout=120)
    assert two.returncode == 1
    assert errors.count("2 processes cannot share a batch of 1 images") == 1
    assert "Traceback (most recent call last):\n  File" not in errors.split("ChildFailedError")[0].split("pixeltui:")[0]


def test_processes_are_started_and_stopped_for_the_user(start: Start, tmp_path: Path) -> None:
    wrong = start(*settings("data.name=/no/such/place"), "--name", "other", through=True)
    two = start(*settings(f"train.steps={LONG}"), "--name", "run", through=True)
    wait_for(lambda: len(losses(tmp_path)) >= 3, two)
    two.send_signal(signal.SIGINT)
    output, errors = two.communicate(timeout=120)
    assert two.returncode == 130
    assert errors == ""
    assert "checkpoint written; to go on" in output
    assert summarize(run_of(tmp_path).path).state == "stopped"
    two = start("--resume", "run", "--set", f"train.steps={max(losses(tmp_path)) + 5}", new=False, through=True)
    output, errors = two.communicate(timeout=120)
    assert (two.returncode, errors) == (0, "")
    assert summarize(run_of(tmp_path).path).state == "finished"
    output, errors = wrong.communicate(timeout=120)
    assert wrong.returncode == 1
    assert errors.count("\n") == 1
    assert errors.startswith("pixeltui: no data set and no path")


SHORT_OF_MEMORY = """
import os, sys, torch
from pixeltui.cli import main
from pixeltui.train.update import Updater
original = Updater._gradients
def gradients(self, images, labels, step, **options):
    room = 1000 if os.environ["RANK"] == "0" else 2 if step < 4 else 1
    if -(-len(images) // self.accumulate) > room:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return original(self, images, labels, step, **options)
Updater._gradients = gradients
sys.exit(main(sys.argv[1:]))
"""


def train_short_of_memory(
    tiny_npz: Path, tmp_path: Path, *overrides: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Two processes, the second of which has room for two images at once, from step 4 on for one; and the words."""
    script = tmp_path / "short.py"
    script.write_text(SHORT_OF_MEMORY)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    words = settings("train.steps=6", "train.checkpoint_every=2", "model.dropout=0.1", *overrides)
    command = ["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", *tiny_arguments(tiny_npz), *words]
    command += ["--name", "run"]
    return subprocess.run([*torchrun, *command], capture_output=True, text=True, timeout=240, check=False), command


def test_where_one_is_short_of_memory_all_halve_together_and_later_it_says_what_to_try(
    tiny_npz: Path, tmp_path: Path
) -> None:
    done, command = train_short_of_memory(tiny_npz, tmp_path)
    assert done.returncode == 1
    first, *others = [event.message for event in found(tmp_path, events.Notice) if event.kind == "memory"]
    assert "out of memory with micro-batches of 8 images: the step was repeated with 2" in first
    assert others == []
    assert "process 1: out of memory with micro-batches of 2 images; try micro-batches of 1" in done.stderr
    assert "--set train.accumulate=8" in done.stderr
    assert found(tmp_path, events.CheckpointSaved)[-1].step == 4
    assert summarize(run_of(tmp_path).path).state == "failed"
    alone = tmp_path / "alone"
    command[2] = str(alone / "runs")
    assert main(command) == 0
    both, one = losses(tmp_path), losses(alone)
    assert sorted(both) == [1, 2, 3, 4]
    assert both == pytest.approx({step: one[step] for step in both}, abs=1e-4)


def test_with_batch_norm_one_that_is_short_of_memory_says_what_to_try(tiny_npz: Path, tmp_path: Path) -> None:
    """The others wait for its statistics, even at the first step: nobody can halve alone."""
    done, _ = train_short_of_memory(tiny_npz, tmp_path, "model.norm=batch")
    assert done.returncode == 1
    assert "process 1: out of memory with micro-batches of 8 images; try micro-batches of 4" in done.stderr
    assert "--set train.accumulate=2 (not quite the same gradient" in done.stderr
    assert "no checkpoint was written yet" in done.stderr
    assert summarize(run_of(tmp_path).path).state == "failed"
