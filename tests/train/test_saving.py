"""Checkpoints that take long, or that the disk does not take: training goes on, and what is reported is on the disk."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness import ListSink, start

from pixeltui import events
from pixeltui.config import Config
from pixeltui.train.checkpoint import CheckpointNotSaved, load
from pixeltui.train.trainer import Trainer

Make = Callable[..., Config]


def full_disk(refusals: int) -> Callable[[Trainer], None]:
    """Refuses as many saves, the first ones."""
    left = iter(range(refusals))

    def prepare(trainer: Trainer) -> None:
        save = trainer.checkpoints.save

        def sometimes(*args, **kwargs) -> Path:
            if next(left, None) is not None:
                raise CheckpointNotSaved("no space left on device")
            return save(*args, **kwargs)

        trainer.checkpoints.save = sometimes  # type: ignore[method-assign]

    return prepare


def test_a_full_disk_does_not_stop_training(tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.0)
    config = tiny_config("train.steps=60", "train.checkpoint_every=30", "train.eval_every=0")
    outcome, sink, _ = start(config, tmp_path, prepare=full_disk(2))
    assert outcome.state == "finished"
    assert [e.kind for e in sink.of(events.Notice)] == ["disk", "disk"]
    saved = [e.step for e in sink.of(events.CheckpointSaved)]
    assert 30 < saved[0] < 60, "tried again before the next one was due"
    assert saved[-1] == 60


def test_training_goes_on_while_a_checkpoint_is_written(tiny_config: Make, tmp_path: Path) -> None:
    """A save that takes until a later step holds what the weights were at its own, and a failed best is no best."""
    config = tiny_config("train.steps=40", "train.checkpoint_every=10", "train.eval_every=0", "train.lr=0.01")
    start(config, tmp_path / "plain")
    begun: list[int] = []
    late: dict[int, int] = {}

    def prepare(trainer: Trainer) -> None:
        save = trainer.checkpoints.save

        def slow(tensors, tree, *, step: int, best: bool = False) -> Path:
            deadline = time.monotonic() + 60
            while step < 40 and trainer.progress.step < step + 3 and time.monotonic() < deadline:
                time.sleep(0.001)
            begun.append(step)
            late[step] = trainer.progress.step
            return save(tensors, tree, step=step, best=best)

        trainer.checkpoints.save = slow  # type: ignore[method-assign]

    start(config, tmp_path / "slow", prepare=prepare)
    assert begun == [10, 20, 30, 40]
    assert late[10] >= 13, "training waited for the disk"
    for step in (20, 30, 40):
        name = f"run/checkpoints/step-{step:08d}.safetensors"
        one, other = load(tmp_path / "plain" / name), load(tmp_path / "slow" / name)
        assert [key for key in one[0] if not torch.equal(one[0][key], other[0][key])] == []
        assert one[1]["progress"] == other[1]["progress"]


def test_times_of_the_log_never_run_backwards(tiny_config: Make, tmp_path: Path) -> None:
    """A save that ends within a step is told after it."""

    def prepare(trainer: Trainer) -> None:
        update = trainer.updater.update

        def slow(*args, **kwargs) -> None:
            time.sleep(0.02)
            update(*args, **kwargs)

        trainer.updater.update = slow  # type: ignore[method-assign]

    config = tiny_config("train.steps=20", "train.checkpoint_every=2", "train.eval_every=0", "log.every=1")
    _, sink, _ = start(config, tmp_path, prepare=prepare)
    assert len(sink.of(events.CheckpointSaved)) == 10
    times = [event.t for event in sink.events]
    assert times == sorted(times)


def test_a_best_that_was_not_saved_is_no_best(tiny_config: Make, tmp_path: Path) -> None:
    def prepare(trainer: Trainer) -> None:
        save = trainer.checkpoints.save

        def never_best(tensors, tree, *, step: int, best: bool = False) -> Path:
            if best and step < 30:
                raise CheckpointNotSaved("no space left on device")
            return save(tensors, tree, step=step, best=best)

        trainer.checkpoints.save = never_best  # type: ignore[method-assign]

    config = tiny_config("train.steps=30", "train.eval_every=10", "train.checkpoint_every=0", "train.lr=0.01")
    _, sink, trainer = start(config, tmp_path, prepare=prepare)
    assert trainer.progress.best_step == 30
    assert [e.step for e in sink.of(events.Evaluated) if e.best] == [10, 20, 30]
    assert [e.step for e in sink.of(events.CheckpointSaved) if e.best] == [30]


def test_a_best_that_is_saved_at_the_second_try_is_the_best(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one, for which the disk is waited for."""
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.1)
    refused: list[int] = []

    def prepare(trainer: Trainer) -> None:
        save = trainer.checkpoints.save

        def once(tensors, tree, *, step: int, best: bool = False) -> Path:
            if step == 30 and not refused:
                refused.append(step)
                raise CheckpointNotSaved("no space left on device")
            return save(tensors, tree, step=step, best=best)

        trainer.checkpoints.save = once  # type: ignore[method-assign]

    config = tiny_config("train.steps=30", "train.eval_every=10", "train.checkpoint_every=0", "train.lr=0.01")
    _, sink, _ = start(config, tmp_path, prepare=prepare)
    assert refused == [30]
    assert [e.step for e in sink.of(events.CheckpointSaved) if e.best] == [10, 20, 30]
    (test,) = [e for e in sink.of(events.Evaluated) if e.split == "test"]
    assert test.checkpoint is None, "of the newest weights, which are the best"
    best = load(tmp_path / "run" / "checkpoints" / "best.safetensors")[1]
    assert (best["step"], best["progress"]["best_step"]) == (30, 30)


def test_the_last_checkpoint_is_waited_for(tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.1)
    monkeypatch.setattr("pixeltui.train.saving.LAST_SAVE_SECONDS", (0.5, 0.5))

    config = tiny_config("train.steps=4", "train.checkpoint_every=0", "train.eval_every=0")
    outcome, _, _ = start(config, tmp_path / "a", prepare=full_disk(3))
    assert outcome.state == "finished"
    assert load(tmp_path / "a" / "run" / "checkpoints" / "last.safetensors")[1]["step"] == 4
    monkeypatch.setattr("pixeltui.train.saving.LAST_SAVE_SECONDS", (0.0, 3600.0))  # no longer than it trained
    outcome, sink, _ = start(config, tmp_path / "b", prepare=full_disk(10**6))
    assert outcome.state == "failed"
    assert "make room" in outcome.reason
    assert sink.events[-1].state == "failed"


def test_a_save_that_failed_is_tried_again_with_the_next_one_or_sooner(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=40", "train.checkpoint_every=5", "train.eval_every=0")
    _, sink, _ = start(config, tmp_path, prepare=full_disk(1))
    (notice,) = sink.of(events.Notice)
    assert notice.message.endswith("training goes on and tries again within 30 s")
    assert [saved.step for saved in sink.of(events.CheckpointSaved)] == [10, 15, 20, 25, 30, 35, 40]


def test_a_save_that_is_tried_again_is_written_once_and_training_goes_on_meanwhile(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.0)
    late: list[int] = []

    def prepare(trainer: Trainer) -> None:
        full_disk(1)(trainer)
        save = trainer.checkpoints.save

        def slow(tensors, tree, *, step: int, best: bool = False) -> Path:
            path = save(tensors, tree, step=step, best=best)
            deadline = time.monotonic() + 5
            while trainer.progress.step < min(step + 5, 40) and time.monotonic() < deadline:
                time.sleep(0.001)
            late.append(trainer.progress.step - step)
            return path

        trainer.checkpoints.save = slow  # type: ignore[method-assign]

    config = tiny_config("train.steps=40", "train.checkpoint_every=15", "train.eval_every=0")
    _, sink, _ = start(config, tmp_path, prepare=prepare)
    saved = [event.step for event in sink.of(events.CheckpointSaved)]
    assert len(saved) == 3, "those due at 15, tried again, at 30 and at the end"
    assert saved[1:] == [30, 40]
    assert late[0] >= 5, "training waited for it"


def test_a_save_that_failed_is_tried_again_in_a_pause(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on only once its checkpoint is told."""
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.1)
    deadline = time.monotonic() + 10

    def is_saved(sink: ListSink) -> bool:
        return bool(sink.of(events.CheckpointSaved)) or time.monotonic() > deadline

    config = tiny_config("train.steps=10", "train.checkpoint_every=0", "train.eval_every=0")
    script = {5: [events.Pause(), events.SaveCheckpoint()], is_saved: [events.Resume()]}
    outcome, sink, _ = start(config, tmp_path, script=script, prepare=full_disk(1))
    assert outcome.state == "finished"
    assert [event.step for event in sink.of(events.CheckpointSaved)] == [5, 10]
    assert time.monotonic() < deadline


def test_once_training_is_over_the_disk_is_waited_for_and_until_when_is_told(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.1)
    config = tiny_config("train.steps=4", "train.checkpoint_every=0", "train.eval_every=0")
    _, sink, _ = start(config, tmp_path / "a", prepare=full_disk(2))
    told = [notice.message for notice in sink.of(events.Notice)]
    assert len(told) == 2
    for message in told:
        assert re.search(r"training is over: waits until \d\d:\d\d:\d\d for the disk", message)
    monkeypatch.setattr("pixeltui.train.saving.LAST_SAVE_SECONDS", (0.0, 0.0))
    outcome, sink, _ = start(config, tmp_path / "b", prepare=full_disk(9))
    assert outcome.state == "failed"
    assert sink.of(events.Notice)[0].message == "no space left on device", "nothing follows it"


def test_a_stop_promises_no_other_save(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=40", "train.checkpoint_every=0", "train.eval_every=0")
    outcome, sink, _ = start(config, tmp_path, script={3: [events.Stop()]}, prepare=full_disk(9))
    assert outcome.state == "failed"
    assert [notice.message for notice in sink.of(events.Notice)] == ["no space left on device", outcome.reason]


def test_what_is_asked_of_a_run_that_then_fails_is_refused(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixeltui.train.saving.RETRY_SECONDS", 0.1)
    monkeypatch.setattr("pixeltui.train.saving.LAST_SAVE_SECONDS", (0.3, 0.3))
    config = tiny_config("train.steps=4", "train.checkpoint_every=0", "train.eval_every=0")
    script = {lambda sink: bool(sink.of(events.Notice)): [events.Evaluate()]}
    outcome, sink, _ = start(config, tmp_path, script=script, prepare=full_disk(99))
    assert outcome.state == "failed"
    (answer,) = sink.of(events.Acknowledged)
    assert (answer.ok, answer.message) == (False, "training has failed")
