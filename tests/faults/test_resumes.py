"""Resumes that ask for what the run cannot do, or find less than the run left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pixeltui.cli import main
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize

Train = Callable[..., int]


@pytest.fixture
def run(tiny_train: Train, tmp_path: Path, capsys) -> RunDir:
    """A run of four steps with a checkpoint after every other one."""
    words = ("train.steps=4", "train.checkpoint_every=2", "train.eval_every=0", "train.optimizer=muon")
    assert tiny_train(*sets(*words), "--name", "run") == 0
    capsys.readouterr()
    return RunDir(tmp_path / "runs" / "run")


def sets(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def resume(run: RunDir, *overrides: str) -> int:
    return main(["--no-ui", "--runs-dir", str(run.path.parent), "train", "--resume", "run", *sets(*overrides)])


def test_another_optimizer_begins_without_moments_and_says_so(run: RunDir, capsys) -> None:
    for optimizer, before in (("adam", "muon"), ("adamw", "adam"), ("muon", "adamw")):
        steps = (summarize(run.path).step or 0) + 2
        assert resume(run, f"train.steps={steps}", f"train.optimizer={optimizer}") == 0
        assert f"{optimizer} begins without moments: the checkpoint holds those of {before}" in capsys.readouterr().out
        assert resume(run, f"train.steps={steps + 1}") == 0
        assert "moments" not in capsys.readouterr().out
    assert summarize(run.path).step == 13


def test_what_a_resume_set_is_kept_only_once_it_has_loaded_the_checkpoint(run: RunDir) -> None:
    whole = {path: path.read_bytes() for path in run.checkpoints_dir.iterdir()}
    for path in whole:
        path.write_bytes(b"")
    assert resume(run, "train.steps=6") == 1
    assert "overrides" not in run.meta()
    for path, content in whole.items():
        path.write_bytes(content)
    assert resume(run) == 0
    assert summarize(run.path).step == 4
    assert resume(run, "train.steps=6") == 0
    assert run.meta()["overrides"] == ["train.steps=6"]
