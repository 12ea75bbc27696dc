"""Memory that runs out while training."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import start
from torch import Tensor

from pixeltui import events
from pixeltui.config import Config
from pixeltui.train.live import LiveSample
from pixeltui.train.trainer import Trainer
from pixeltui.train.update import Updater

BuildConfig = Callable[..., Config]


def room_for(images: int, *, from_step: int = 0) -> Callable[[Trainer], None]:
    """A device on which the forward pass of more images than that does not fit; the model's buffers change before."""

    def prepare(trainer: Trainer) -> None:
        model = trainer.updater.model

        def forward(x: torch.Tensor, *rest: object, original: Callable = model.forward) -> torch.Tensor:
            result = original(x, *rest)
            if len(x) > images and model.training and trainer.progress.step >= from_step:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return result

        model.forward = forward

    return prepare


def ends(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in trainer.updater.tensors().items()}


@pytest.mark.parametrize("norm", ["batch", "rms"])
def test_a_step_that_does_not_fit_is_repeated_in_halves_with_the_same_result(
    norm: str, tiny_config: BuildConfig, tmp_path: Path
) -> None:
    common = ("train.steps=4", f"model.norm={norm}", "model.dropout=0.1", "train.eval_every=0")
    for name in ("small", "cut"):
        (tmp_path / name).mkdir()
    config = tiny_config(*common)
    outcome, sink, halving = start(config, tmp_path / "small", prepare=room_for(config.train.batch_size // 4))
    assert outcome.state == "finished"
    assert halving.updater.accumulate == 4
    notices = [notice.message for notice in sink.of(events.Notice) if notice.kind == "memory"]
    assert len(notices) == 1
    assert "micro-batches of 16 images" in notices[0]
    assert "--set train.accumulate=4" in notices[0]
    assert ("the same loss and gradient" in notices[0]) == (norm == "rms")
    _, expected, asked = start(tiny_config(*common, "train.accumulate=4"), tmp_path / "cut")
    assert sink.losses() == expected.losses()
    found, wanted = ends(halving), ends(asked)
    assert [name for name, tensor in wanted.items() if not torch.equal(found[name], tensor)] == []


def test_memory_that_runs_out_later_halves_the_micro_batches_and_the_losses_stay(
    tiny_config: BuildConfig, tmp_path: Path
) -> None:
    """As where another program takes memory of the same GPU."""
    for name in ("short", "roomy"):
        (tmp_path / name).mkdir()
    config = tiny_config("train.steps=6", "model.dropout=0.1", "train.eval_every=0", "train.precision=fp32")
    outcome, sink, trainer = start(config, tmp_path / "short", prepare=room_for(4, from_step=3))
    _, roomy, _ = start(config, tmp_path / "roomy")
    assert outcome.state == "finished"
    assert trainer.updater.accumulate == config.train.batch_size // 4
    assert [notice.step for notice in sink.of(events.Notice) if notice.kind == "memory"] == [4]
    found, expected = sink.losses(), roomy.losses()
    assert [found[step] for step in (1, 2, 3)] == [expected[step] for step in (1, 2, 3)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_resumed_run_keeps_the_micro_batches_that_fitted(tiny_config: BuildConfig, tmp_path: Path) -> None:
    config = tiny_config("train.steps=4")
    stop = {2: [events.Stop()]}
    start(config, tmp_path, script=stop, prepare=room_for(4))
    outcome, sink, trainer = start(config, tmp_path, resume=True)
    assert outcome.state == "finished"
    assert trainer.updater.accumulate == 4
    assert [notice for notice in sink.of(events.Notice) if notice.kind == "memory"] == []


def without_halving(updater: Updater, *arguments: Any) -> tuple[Tensor, Tensor]:
    loss = updater._backward(*arguments[:3])
    return loss, updater._change(loss)


@pytest.mark.parametrize(("batch_size", "room"), [(20, 3), (14, 3), (13, 6), (7, 1)])
@pytest.mark.parametrize("later", [False, True])
def test_what_to_try_is_a_config(
    batch_size: int, room: int, later: bool, tiny_config: BuildConfig, tmp_path: Path
) -> None:
    """Micro-batches are halved, whatever divides the batch; train.accumulate has to divide it."""
    keys = (f"train.batch_size={batch_size}", "train.steps=2", "train.eval_every=0")

    def prepare(trainer: Trainer) -> None:
        room_for(room)(trainer)
        if later:  # as where other processes wait, so that this one cannot halve alone
            trainer.updater._change_that_fits = partial(without_halving, trainer.updater)

    outcome, sink, _ = start(tiny_config(*keys), tmp_path, prepare=prepare)
    said = outcome.reason if later else next(n.message for n in sink.of(events.Notice) if n.kind == "memory")
    advice = re.search(r"--set (train\.accumulate=\d+)", said)
    assert advice, said
    (tmp_path / "again").mkdir()
    again, sink, _ = start(tiny_config(*keys, advice[1]), tmp_path / "again", prepare=prepare)
    if not later:
        assert again.state == "finished"
        assert [notice for notice in sink.of(events.Notice) if notice.kind == "memory"] == []


def test_when_not_one_image_fits_training_says_so(tiny_config: BuildConfig, tmp_path: Path) -> None:
    outcome, _, _ = start(tiny_config("train.steps=4"), tmp_path, prepare=room_for(0))
    assert outcome.state == "failed"
    assert "micro-batches of 1 images" in outcome.reason
    assert "make the model smaller" in outcome.reason
    assert "no checkpoint was written yet" in outcome.reason


def test_memory_that_runs_out_in_the_update_itself_leaves_the_last_checkpoint_and_says_what_to_try(
    tiny_config: BuildConfig, tmp_path: Path
) -> None:
    """Half of the weights are new by then: nothing of that may be saved."""
    common = ("train.steps=6", "train.checkpoint_every=2", "train.eval_every=0", "model.dropout=0.1")
    config = tiny_config(*common)

    def torn(trainer: Trainer) -> None:
        optimizer, step = trainer.updater.optimizer, trainer.updater.optimizer.step

        def run_out() -> None:
            if trainer.progress.step == 4:
                with torch.no_grad():
                    next(trainer.updater.model.parameters()).add_(1.0)
                raise torch.OutOfMemoryError("CUDA out of memory")
            step()

        optimizer.step = run_out  # type: ignore[method-assign]

    for name in ("torn", "whole"):
        (tmp_path / name).mkdir()
    outcome, _, _ = start(config, tmp_path / "torn", prepare=torn)
    assert outcome.state == "failed"
    size = config.train.batch_size
    assert f"out of memory with micro-batches of {size} images; try micro-batches of {size // 2}" in outcome.reason
    assert "--set train.accumulate=2" in outcome.reason
    assert "the last good checkpoint is that of step 4" in outcome.reason
    _, _, resumed = start(config, tmp_path / "torn", resume=True)
    _, _, whole = start(config, tmp_path / "whole")
    found, wanted = ends(resumed), ends(whole)
    assert [name for name, tensor in wanted.items() if not torch.equal(found[name], tensor)] == []


@pytest.mark.parametrize("when", ["__init__", "advance"])
def test_samples_and_scores_that_do_not_fit_do_not_end_training(
    when: str, tiny_config: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels and buffers of a sheet are made where it begins."""

    def full(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(LiveSample, when, full)

    def little_room(trainer: Trainer) -> None:
        average = trainer.updater.average

        def log_prob(x: torch.Tensor, *rest: object, original: Callable = average.log_prob) -> torch.Tensor:
            if len(x) > 2:
                raise torch.OutOfMemoryError
            return original(x, *rest)

        average.log_prob = log_prob

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    config = tiny_config("train.steps=2", "sample.every=1")
    outcome, sink, _ = start(config, tmp_path / "a", prepare=little_room)
    assert outcome.state == "finished"
    assert any("no memory for 4 samples" in notice.message for notice in sink.of(events.Notice))
    _, roomy, _ = start(config, tmp_path / "b")
    scores = [[event.bits_per_dim for event in s.of(events.Evaluated)] for s in (sink, roomy)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
