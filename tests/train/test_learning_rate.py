"""A learning rate that is set while a run trains, or asked for when it goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import start

from pixeltui import events
from pixeltui.cli import main
from pixeltui.config import Config
from pixeltui.store.rundir import RunDir
from pixeltui.train.checkpoint import CheckpointNotSaved, load
from pixeltui.train.checkpoint_store import CheckpointStore
from pixeltui.train.trainer import Trainer

Make = Callable[..., Config]


class Killed(Exception):
    pass


def kill_at(trainer: Trainer, step: int) -> None:
    update = trainer.updater.update

    def killed(number: int, lr: float) -> None:
        if number == step:
            raise Killed
        update(number, lr)

    trainer.updater.update = killed  # type: ignore[method-assign]


def test_a_learning_rate_that_was_set_outlives_a_kill(tiny_config: Make, tmp_path: Path) -> None:
    """Though the step at which it was set had been saved already."""
    keys = ("train.steps=8", "train.checkpoint_every=2", "train.schedule=constant", "train.eval_every=0")
    config = tiny_config(*keys)
    script = {4: [events.SaveCheckpoint(), events.SetLearningRate(lr=1e-4)]}
    with pytest.raises(Killed):
        start(config, tmp_path, script=script, prepare=lambda trainer: kill_at(trainer, 5))
    _, sink, _ = start(config, tmp_path, resume=True)
    assert {e.step: e.lr for e in sink.of(events.Step)} == dict.fromkeys((5, 6, 7, 8), 1e-4)


def test_a_learning_rate_that_could_not_be_saved_is_saved_later(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there is a checkpoint of the step, as it was before."""
    full = iter([False, True])

    def save(self: CheckpointStore, *arguments: Any, original: Any = CheckpointStore.save, **options: Any) -> Path:
        if next(full, False):
            raise CheckpointNotSaved("no room")
        return original(self, *arguments, **options)

    monkeypatch.setattr(CheckpointStore, "save", save)
    config = tiny_config("train.steps=8", "train.checkpoint_every=0", "train.eval_every=0")
    script = {4: [events.SaveCheckpoint(), events.SetLearningRate(lr=1e-4), events.Stop()]}
    outcome, sink, _ = start(config, tmp_path, script=script)
    assert outcome.state == "stopped"
    assert any("no room" in notice.message for notice in sink.of(events.Notice))
    tree = load(tmp_path / "run" / "checkpoints" / "last.safetensors")[1]
    assert tree["progress"]["lr"] == 1e-4


def test_a_learning_rate_asked_for_on_resuming_is_taken(tiny_config: Make, tmp_path: Path) -> None:
    """Though the config has had it all along, and another was set meanwhile."""
    keys = ("train.steps=4", "train.schedule=constant", "train.eval_every=0")
    lr = tiny_config(*keys).train.lr
    start(tiny_config(*keys), tmp_path, script={1: [events.SetLearningRate(lr=1e-4)], 2: [events.Stop()]})
    for words, expected in (([], 1e-4), (["--set", f"train.lr={lr}"], lr)):
        shutil.copytree(tmp_path / "run", tmp_path / "runs" / f"copy{len(words)}")
        command = ["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", "--resume", f"copy{len(words)}", *words]
        assert main(command) == 0
        found = RunDir.open(tmp_path / "runs" / f"copy{len(words)}").read_events()[0]
        assert [e.lr for e in found if isinstance(e, events.Step)][-2:] == [expected, expected]


def test_a_learning_rate_asked_for_on_resuming_outlives_a_kill(tiny_config: Make, tmp_path: Path) -> None:
    keys = ("train.steps=8", "train.schedule=constant", "train.eval_every=0", "train.checkpoint_every=0")
    config = tiny_config(*keys)
    start(config, tmp_path, script={2: [events.SetLearningRate(lr=1e-4), events.Stop()]})
    with pytest.raises(Killed):
        start(config, tmp_path, resume=True, sets_lr=True, prepare=lambda trainer: kill_at(trainer, 5))
    _, sink, _ = start(config, tmp_path, resume=True)
    assert {e.lr for e in sink.of(events.Step)} == {config.train.lr}
