"""Several processes that are stopped, or wait for one another, at awkward times."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from several import Start, found, launched, run_of, settings

from pixeltui import events
from pixeltui.train.checkpoint import load

NEVER = ("train.steps=100000", "train.eval_every=0", "train.checkpoint_every=0")


@pytest.fixture
def start(tiny_npz: Path, tmp_path: Path) -> Iterator[Start]:
    with launched(tiny_npz, tmp_path) as begin:
        yield begin


def test_three_processes_that_go_on_are_bit_for_bit_those_that_never_stopped(start: Start, tmp_path: Path) -> None:
    three = ("--nproc-per-node=3",)
    words = settings("train.lr=0.01", "train.schedule=constant", "train.checkpoint_every=4", "train.keep=9")
    whole = start(*words, "--set", "train.steps=8", "--name", "run", launcher=three)
    _, errors = whole.communicate(timeout=240)
    assert whole.returncode == 0, errors
    run, expected = run_of(tmp_path), tmp_path / "expected.safetensors"
    shutil.copy(run.checkpoints_dir / "last.safetensors", expected)
    for name in ("step-00000008", "last", "best"):
        (run.checkpoints_dir / f"{name}.safetensors").unlink(missing_ok=True)
    rest = start("--resume", "run", "--set", "train.steps=8", launcher=three, new=False)
    _, errors = rest.communicate(timeout=240)
    assert rest.returncode == 0, errors
    assert [event.step for event in found(tmp_path, events.Started)] == [0, 4]
    went_on, never_stopped = load(run.checkpoints_dir / "last.safetensors")[0], load(expected)[0]
    assert [name for name in never_stopped if not torch.equal(never_stopped[name], went_on[name])] == []
