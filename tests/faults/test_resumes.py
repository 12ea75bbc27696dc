"""Resumes that ask for what the run cannot do, or find less than the run left."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pixeltui import events
from pixeltui.cli import main
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.store.view import RunView
from pixeltui.train.checkpoint import load, save

Train = Callable[..., int]
Tensors = dict[str, torch.Tensor]


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


def relabel(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].view(torch.int32)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda tensors, tree: tensors.update({"ema/extra": torch.zeros(1)}), "its ema does not fit"),
        (lambda tensors, tree: tensors.update({"optimizer/../../x": torch.zeros(1)}), "its optimizer does not fit"),
        (lambda tensors, tree: tensors.pop("optimizer/0/step"), "its optimizer does not fit"),
        (lambda tensors, tree: relabel(tensors, "optimizer/0/step"), "its optimizer does not fit"),
        (lambda tensors, tree: [relabel(tensors, name) for name in tensors if name.startswith("model/")], "its model"),
        (lambda tensors, tree: tensors.update({"metrics/window": torch.zeros(1)}), "its metrics does not fit"),
        (lambda tensors, tree: tree["progress"].update(step=None), "its description cannot be used"),
        (lambda tensors, tree: tree["progress"].update(best_step="none"), "its description cannot be used"),
        (lambda tensors, tree: tree.pop("data"), "its description cannot be used"),
    ],
    ids=["more", "a path", "less", "another type", "weights", "metrics", "no step", "no number", "no data"],
)
def test_a_whole_checkpoint_that_does_not_fit_is_named_and_the_one_before_is_used(
    change: Callable[[Tensors, dict], object], what: str, run: RunDir, capsys
) -> None:
    newest = run.checkpoints_dir / "step-00000004.safetensors"
    tensors, tree = load(newest)
    change(tensors, tree)
    save(newest, tensors, tree)
    for name in ("last", "best"):
        (run.checkpoints_dir / f"{name}.safetensors").unlink()
    assert resume(run) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(told) == 1
    assert f"{newest} is damaged: {what}" in told[0]
    assert told[0].endswith(f"set aside as {newest.name}.damaged")
    assert [e.step for e in run.read_events()[0] if isinstance(e, events.Started)] == [0, 2]
    assert summarize(run.path).state == "finished"


def test_a_checkpoint_of_another_run_is_set_aside(run: RunDir, tiny_train: Train, capsys) -> None:
    assert tiny_train(*sets("train.steps=6", "model.channels=16"), "--name", "other") == 0
    other = run.path.with_name("other") / "checkpoints" / "step-00000006.safetensors"
    shutil.copy(other, run.checkpoints_dir)
    capsys.readouterr()
    assert resume(run) == 0
    output = capsys.readouterr().out
    assert f"{run.checkpoints_dir / other.name} is damaged: its model does not fit the model: model/" in output
    assert "resumed at step 4" in output


def test_checkpoints_none_of_which_fits_stay_as_they_are(run: RunDir, capsys) -> None:
    """It is the run's config that somebody changed, and will put back."""
    names = {path.name for path in run.checkpoints_dir.iterdir()}
    config = run.config_path.read_text()
    run.config_path.write_text(config.replace("channels = 8", "channels = 16"))
    assert resume(run, "train.steps=6") == 1
    assert "no checkpoint of run run fits it: its model does not fit the model: model/" in capsys.readouterr().err
    assert {path.name for path in run.checkpoints_dir.iterdir()} == names
    run.config_path.write_text(config)
    assert resume(run, "train.steps=6") == 0
    assert "resumed at step 4" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"data": None}, {"progress": {}}, {"config": {"model": {"channels": 16}}}], ids=str)
def test_a_checkpoint_that_cannot_be_sampled_is_named(change: dict, run: RunDir, tmp_path: Path, capsys) -> None:
    best = run.checkpoints_dir / "best.safetensors"
    tensors, tree = load(best)
    save(best, tensors, {**tree, **change})
    words = ["sample", "run", "-n", "1", "--out", str(tmp_path / "a.png")]
    assert main(["--runs-dir", str(run.path.parent), *words]) == 1
    error = capsys.readouterr().err
    assert f"{best} is damaged: its " in error
    assert len(error.splitlines()) == 1


@pytest.fixture
def data(tiny_npz: Path, tmp_path: Path) -> Path:
    """Of its own, to change and to move."""
    return Path(shutil.copy(tiny_npz, tmp_path / "own.npz"))


def test_other_data_are_noticed_before_there_is_a_checkpoint(
    tiny_train: Train, tmp_path: Path, data: Path, capsys
) -> None:
    assert tiny_train(*sets("train.steps=4", f"data.name={data}"), "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    for path in run.checkpoints_dir.iterdir():
        path.unlink()
    before = run.events_path.read_bytes()
    np.savez(data, images=np.zeros((96, 6, 5), np.uint8), labels=np.arange(96) % 3)
    assert resume(run) == 1
    assert "own.npz is not the one that run run trains on" in capsys.readouterr().err
    assert run.events_path.read_bytes() == before


def test_data_that_were_moved_are_said_where_they_are_and_others_are_refused(
    tiny_train: Train, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert tiny_train(*sets("train.steps=4", f"data.name={data}"), "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    moved = data.rename(tmp_path / "moved.npz")
    assert resume(run) == 1
    error = capsys.readouterr().err
    assert "no data set and no path" in error
    assert "add --set data.name=PATH" in error
    np.savez(data, images=np.zeros((96, 6, 5), np.uint8), labels=np.arange(96) % 3)
    assert resume(run, f"data.name={data}") == 2
    assert "a run keeps its data and model" in capsys.readouterr().err
    data.unlink()
    monkeypatch.chdir(tmp_path)
    assert resume(run, "train.steps=6", "data.name=moved.npz") == 0
    assert run.meta()["overrides"] == ["train.steps=6", f"data.name={moved}"]
    monkeypatch.chdir(run.path)
    assert resume(run, "train.steps=8", "data.root=/nowhere") == 0
    assert summarize(run.path).step == 8
    again = moved.rename(tmp_path / "again.npz")
    assert resume(run, "train.steps=9", f"data.name={again}") == 0
    step = min(run.checkpoints_dir.glob("step-*"))
    words = ["--checkpoint", str(int(step.stem[5:])), "--split", "val"]
    capsys.readouterr()
    assert main(["--runs-dir", str(run.path.parent), "eval", "run", *words]) == 0, (
        "its checkpoint names the first place"
    )


def test_folders_of_data_hold_from_wherever_the_run_goes_on(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tiny_train(*sets("train.steps=2", "data.root=here"), "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    assert run.config().data.root == str(tmp_path / "here")
    assert resume(run, "train.steps=3", "data.root=there") == 0
    assert run.config(resumed=True).data.root == str(tmp_path / "there")
    assert resume(run, "train.steps=4", "data.root=~/there") == 0
    assert run.config(resumed=True).data.root == "~/there", "the home of whoever goes on"


def test_values_that_a_config_may_not_have_any_more_open(run: RunDir) -> None:
    """What of a new run is refused may stand in an older one: its checkpoints are not damaged."""
    path = run.checkpoints_dir / "step-00000004.safetensors"
    tensors, tree = load(path)
    tree["config"]["train"] |= {"keep": 10**18, "seed": 2**64}
    tree["config"]["sample"] |= {"count": 2**21}
    save(path, tensors, tree)
    assert main(["--runs-dir", str(run.path.parent), "eval", "run", "--checkpoint", "4"]) == 0
    assert resume(run, "train.steps=6") == 0
    assert path.exists()
    assert summarize(run.path).step == 6


def test_a_restart_keeps_the_learning_rate_that_was_set_meanwhile(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun starts the same command once more, which asked for another."""
    assert resume(run, "train.steps=6", "train.lr=0.02", "train.schedule=constant") == 0
    path = run.checkpoints_dir / "step-00000006.safetensors"
    tensors, tree = load(path)
    tree["progress"]["lr"] = 0.001
    save(path, tensors, tree)
    overrides = run.meta()["overrides"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert resume(run, "train.steps=6", "train.lr=0.02", "train.schedule=constant") == 0
    assert run.meta()["overrides"] == overrides
    started = [event for event in run.read_events()[0] if isinstance(event, events.Started)]
    assert [event.peak_lr for event in started[1:]] == [0.02, 0.001]


def test_samples_that_are_drawn_again_are_there_once(tiny_train: Train, tmp_path: Path) -> None:
    """The last ones of a run that goes on longer: its last checkpoint came before them."""
    assert tiny_train(*sets("train.steps=4", "sample.every=2", "train.eval_every=0"), "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    assert resume(run, "train.steps=6") == 0
    found = run.read_events()[0]
    assert [event.step for event in found if isinstance(event, events.SampleSaved)] == [2, 4, 4, 6]
    assert [sample.step for sample in RunView().fold(found).samples] == [2, 4, 6]


def test_micro_batches_are_as_many_as_a_resume_asks_for_else_as_many_as_there_were(run: RunDir) -> None:
    """More than the config's where memory ran out; fewer on a larger machine, where one says so."""
    path = run.checkpoints_dir / "last.safetensors"
    newest = run.checkpoints_dir / "step-00000004.safetensors"
    tensors, tree = load(newest)
    tensors["metrics/accumulate"] = torch.tensor(8)  # as after two halvings of train.accumulate = 2
    tree["config"]["train"]["accumulate"] = 2
    save(newest, tensors, tree)
    for steps, accumulate, expected in ((5, 2, 8), (6, 4, 4), (7, 1, 1)):
        assert resume(run, f"train.steps={steps}", f"train.accumulate={accumulate}") == 0
        tensors, tree = load(path)
        assert (tree["step"], int(tensors["metrics/accumulate"])) == (steps, expected)


def test_a_checkpoint_of_other_data_is_set_aside(run: RunDir, tiny_train: Train, capsys) -> None:
    assert tiny_train(*sets("train.steps=6", "data.split_seed=5", "train.optimizer=muon"), "--name", "other") == 0
    other = run.path.with_name("other") / "checkpoints" / "step-00000006.safetensors"
    shutil.copy(other, run.checkpoints_dir)
    assert resume(run) == 0
    output = capsys.readouterr().out
    assert f"{run.checkpoints_dir / other.name} is damaged: it was trained on other data" in output
    assert "resumed at step 4" in output


def test_checkpoints_that_are_gone_are_missed(run: RunDir, tiny_train: Train, capsys) -> None:
    for path in run.checkpoints_dir.iterdir():
        path.unlink()
    assert resume(run, "train.checkpoint_every=0") == 0
    assert "warning: no checkpoint is left: training begins again at step 0" in capsys.readouterr().out
    assert summarize(run.path).step == 4


@pytest.mark.parametrize("named", [True, False])
def test_a_restart_goes_on_with_the_newest_run_of_its_job(
    named: bool, tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--rdzv-id may name many jobs one after another, each of which has left runs."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "large")
    for name in ("b", "c", "a"):
        assert tiny_train(*sets("train.steps=4"), "--name", name) == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    words = ["--name", "c"] if named else []
    assert tiny_train(*sets("train.steps=6"), *words) == 0
    steps = {name: summarize(tmp_path / "runs" / name).step for name in "abc"}
    assert steps == {"a": 4, "b": 4, "c": 4} | {words[-1] if named else "a": 6}
