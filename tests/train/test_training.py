"""The loop on a tiny model: what it learns, repeats, resumes, obeys and survives."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import ListSink, start

from pixeltui import events
from pixeltui.config import Config
from pixeltui.train.checkpoint import load
from pixeltui.train.trainer import BAD_STEPS_IN_A_ROW, BAD_STEPS_OF_FP16, Trainer

Make = Callable[..., Config]


def last_tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / "run" / "checkpoints" / "last.safetensors")[0]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = last_tensors(one), last_tensors(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def likelihoods(sink: ListSink) -> list[tuple]:
    found = [(e.step, e.split, e.weights, e.nats_per_dim, e.bits_per_dim_se, e.best) for e in sink.of(events.Evaluated)]
    return sorted(found, key=str)


def test_a_run_learns_and_reports(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.epochs=12", "train.lr=0.01", "sample.every=4 epochs", "train.eval_every=1 epoch")
    outcome, sink, trainer = start(config, tmp_path)
    assert outcome.state == "finished"
    assert outcome.step == trainer.total_steps == 12 * trainer.steps_per_epoch
    losses = list(sink.losses().values())
    assert len(losses) == trainer.total_steps
    assert losses[-1] < 0.75 * losses[0]
    validation = [e for e in sink.of(events.Evaluated) if e.split == "val"]
    assert len(validation) == 12
    for event in validation:
        assert event.bits_per_dim == pytest.approx(event.nats_per_dim / math.log(2))
        assert event.perplexity == pytest.approx(math.exp(event.nats_per_dim))
        assert event.bits_per_dim_se > 0
        assert event.images == len(trainer.data.val)
    epochs = [e for e in sink.of(events.Evaluated) if e.weights == "raw"]
    assert [e.images for e in epochs] == [trainer.steps_per_epoch * config.train.batch_size] * 12
    best = min(validation, key=lambda e: e.bits_per_dim)
    assert [e.step for e in validation if e.best][-1] == best.step == trainer.progress.best_step
    (test,) = [e for e in sink.of(events.Evaluated) if e.split == "test"]
    assert test.bits_per_dim < 2, "better than 4 equally likely levels"
    assert isinstance(sink.events[0], events.Started)
    assert sink.events[-1].state == "finished"
    samples = sink.of(events.SampleSaved)
    assert [e.step for e in samples][-1] == trainer.total_steps
    for event in samples:
        path = tmp_path / "run" / event.path
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.with_suffix(".json").is_file()
    assert sink.frames[-1].rows_done == 6
    assert len(sink.frames[-1].pixels) == math.prod(sink.frames[-1].shape)
    assert max(sink.frames[-1].pixels) < 4
    for event in sink.of(events.CheckpointSaved):
        assert event.bytes > 1000
    assert {"last.safetensors", "best.safetensors"} <= {p.name for p in (tmp_path / "run/checkpoints").iterdir()}


def test_test_figures_are_those_of_the_best_weights(tiny_config: Make, tmp_path: Path) -> None:
    """A learning rate that wrecks the model at the end must not reach the test figure."""
    config = tiny_config("train.steps=12", "train.lr=0.01", "train.eval_every=4", "train.schedule=constant")
    outcome, sink, trainer = start(config, tmp_path, script={6: [events.SetLearningRate(lr=3.0)]})
    assert outcome.state == "finished"
    by_split = {(e.split, e.weights, e.step): e for e in sink.of(events.Evaluated)}
    assert trainer.progress.best_step == 4
    assert by_split["val", "ema", 12].bits_per_dim > by_split["val", "ema", 4].bits_per_dim
    test = by_split["test", "ema", 12]
    assert test.checkpoint == "best"
    assert abs(test.bits_per_dim - by_split["val", "ema", 4].bits_per_dim) < 0.5


def test_same_config_same_losses_and_weights(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=8", "model.dropout=0.2", "data.augmentations.random_crop=1")
    _, one, _ = start(config, tmp_path / "a")
    _, two, _ = start(config, tmp_path / "b")
    assert one.losses() == two.losses()
    assert likelihoods(one) == likelihoods(two)
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    _, other, _ = start(tiny_config("train.steps=8", "model.dropout=0.2", "train.seed=1"), tmp_path / "c")
    assert other.losses() != one.losses()


def test_live_samples_leave_training_alone(tiny_config: Make, tmp_path: Path) -> None:
    common = ("train.steps=10", "model.dropout=0.2")
    _, without, _ = start(tiny_config(*common, "sample.every=0"), tmp_path / "a")
    _, with_samples, _ = start(tiny_config(*common, "sample.every=2", "sample.time_share=0.9"), tmp_path / "b")
    assert len(with_samples.of(events.SampleSaved)) >= 2
    assert without.losses() == with_samples.losses()


@pytest.mark.parametrize("norm", ["rms", "batch"])
def test_stopped_anywhere_and_resumed_is_bit_for_bit_the_same(tiny_config: Make, tmp_path: Path, norm: str) -> None:
    config = tiny_config(
        "train.steps=13",
        "model.dropout=0.2",
        f"model.norm={norm}",
        "train.eval_every=4",
        "train.checkpoint_every=3",
        "log.every=2",
        "data.augmentations.random_crop=1",
    )
    _, whole, _ = start(config, tmp_path / "whole")
    _, first, _ = start(config, tmp_path / "parts", script={4: [events.Stop()]})
    stopped_at = first.events[-1].step
    assert 0 < stopped_at < 13
    assert first.events[-1].state == "stopped"
    _, second, _ = start(config, tmp_path / "parts", resume=True, script={8: [events.Stop()]})
    assert second.of(events.Started)[0].step == stopped_at
    _, third, _ = start(config, tmp_path / "parts", resume=True)
    assert third.events[-1].state == "finished"
    assert {**first.losses(), **second.losses(), **third.losses()} == whole.losses()
    assert sorted(likelihoods(first) + likelihoods(second) + likelihoods(third), key=str) == likelihoods(whole)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "changes",
    [
        ("model.attention.after=[2]", "model.attention.heads=2", "train.precision=bf16"),
        ("model.architecture=single_stack", "model.norm=batch", "train.accumulate=2"),
    ],
)
def test_activation_checkpointing_is_the_same_training_bit_for_bit(
    tiny_config: Make, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    """Running means of BatchNorm too, which a second forward pass would move once more."""
    common = ("train.steps=6", "model.blocks=2", "model.dropout=0.2", "model.label_dropout=0.5", *changes)
    _, whole, _ = start(tiny_config(*common), tmp_path / "a")
    _, again, _ = start(tiny_config(*common, "train.checkpoint_activations=true"), tmp_path / "b")
    assert again.losses() == whole.losses()
    assert_same_weights(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_train_alike(tiny_config: Make, tmp_path: Path, precision: str) -> None:
    """fp16 begins a little later: its first steps find the largest loss scale that does not overflow."""
    common = ("train.steps=20", "model.dropout=0", "train.lr=0.01", "train.schedule=constant")
    _, exact, _ = start(tiny_config(*common, "train.precision=fp32"), tmp_path / "a")
    _, rough, _ = start(tiny_config(*common, f"train.precision={precision}"), tmp_path / "b")
    exact_losses, rough_losses = list(exact.losses().values()), list(rough.losses().values())
    assert rough_losses != exact_losses
    assert rough_losses[-1] < 0.9 * rough_losses[0]
    assert rough_losses[-1] == pytest.approx(exact_losses[-1], rel=0.03 if precision == "bf16" else 0.1)
    kept = last_tensors(tmp_path / "b")
    assert {t.dtype for name, t in kept.items() if name.startswith(("model/", "ema/"))} == {torch.float32}


def test_scaler_resumes_exactly(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=8", "train.precision=fp16", "train.lr=0.01")
    start(config, tmp_path / "whole")
    start(config, tmp_path / "parts", script={4: [events.Stop()]})
    start(config, tmp_path / "parts", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_commands(tiny_config: Make, tmp_path: Path) -> None:
    script = {
        2: [events.SetLearningRate(lr=1e-4), events.SaveCheckpoint()],
        3: [events.Pause(), events.Evaluate(), events.DrawSample(count=2, labels=(1,)), events.Resume()],
        4: [events.DrawSample(labels=(7,)), events.SetLearningRate(lr=-1.0), events.SetLearningRate(lr=1e16)],
        5: [events.NoCommand(reason="half a line")],
    }
    config = tiny_config("train.steps=8", "train.eval_every=0", "train.checkpoint_every=0", "train.schedule=constant")
    _, sink, _ = start(config, tmp_path, script=script)
    lrs = {e.step: e.lr for e in sink.of(events.Step)}
    assert lrs[2] == config.train.lr
    assert lrs[3] == lrs[8] == 1e-4
    assert [e.step for e in sink.of(events.CheckpointSaved)][0] == 2
    assert 3 in [e.step for e in sink.of(events.Evaluated) if e.split == "val"]
    assert [e.state for e in sink.of(events.StateChanged)] == ["training", "paused", "training", "finished"]
    assert sink.of(events.SampleSaved)[0].count == 2
    acknowledged = {(e.command, e.ok) for e in sink.of(events.Acknowledged)}
    assert ("sample", False) in acknowledged, "the data has three classes"
    assert ("lr", False) in acknowledged
    assert [e.peak_lr for e in (*sink.of(events.Started), *sink.of(events.Notice))] == [config.train.lr, 1e-4]
    assert ("checkpoint", True) in acknowledged
    (none,) = [event for event in sink.of(events.Acknowledged) if event.command == "?"]
    assert (none.ok, none.message) == (False, "no command: half a line")


def test_a_save_that_is_due_waits_for_a_good_step(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=16", "train.checkpoint_every=5", "train.eval_every=0")
    _, sink, _ = start(config, tmp_path, prepare=lambda trainer: poison(trainer, range(8, 12)))
    assert [event.step for event in sink.of(events.CheckpointSaved)] == [5, 13, 15, 16]


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"labels": (0, -1)}, "labels under 3"),
        ({"count": 0}, "1 to 4,096 samples"),
        ({"count": -1}, "1 to 4,096 samples"),
        ({"count": 10**12}, "1 to 4,096 samples"),
        ({"temperature": 0.0}, "a temperature over 0"),
        ({"temperature": -1.0}, "a temperature over 0"),
        ({"temperature": float("inf")}, "a temperature over 0"),
        ({"temperature": float("nan")}, "a temperature over 0"),
    ],
    ids=str,
)
def test_samples_that_cannot_be_drawn_are_refused(
    tiny_config: Make, tmp_path: Path, wish: dict[str, Any], why: str
) -> None:
    outcome, sink, _ = start(tiny_config("train.steps=3"), tmp_path, script={1: [events.DrawSample(**wish)]})
    (acknowledged,) = sink.of(events.Acknowledged)
    assert not acknowledged.ok
    assert why in acknowledged.message
    assert outcome.state == "finished"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["model.label_dropout=0"], True),
        (["model.label_dropout=0.1"], False),
        (["model.label_dropout=0", "sample.every=0"], False),
    ],
    ids=str,
)
def test_guidance_by_what_is_never_trained_is_told_of(
    tiny_config: Make, tmp_path: Path, settings: list[str], told: bool
) -> None:
    _, sink, _ = start(tiny_config("train.steps=2", "sample.guidance=2", "sample.every=1", *settings), tmp_path)
    assert any("model.label_dropout" in notice.message for notice in sink.of(events.Notice)) is told


def poison(trainer: Trainer, steps: range) -> None:
    """Makes the loss of these steps NaN."""
    update = trainer.updater.update

    def poisoned(step: int, lr: float) -> None:
        head = next(p for p in reversed(list(trainer.updater.model.parameters())))
        kept = head.detach().clone()
        hook = head.register_hook(lambda grad: grad * float("nan")) if step in steps else None
        update(step, lr)
        if hook is not None:
            hook.remove()
            assert torch.equal(kept, head), "a bad step was applied"

    trainer.updater.update = poisoned  # type: ignore[method-assign]


def test_a_bad_step_is_not_applied_and_training_goes_on(tiny_config: Make, tmp_path: Path) -> None:
    outcome, sink, trainer = start(
        tiny_config("train.steps=9"), tmp_path, prepare=lambda trainer: poison(trainer, range(3, 5))
    )
    assert outcome.state == "finished"
    losses = sink.losses()
    assert losses[4] is None
    assert losses[5] is None
    assert losses[6] is not None
    assert sink.of(events.Step)[-1].skipped == 2
    assert all(torch.isfinite(t.double()).all() for t in last_tensors(tmp_path).values())


@pytest.mark.parametrize(("precision", "after"), [("fp32", BAD_STEPS_IN_A_ROW), ("fp16", BAD_STEPS_OF_FP16)])
@pytest.mark.parametrize("norm", ["rms", "batch"])
def test_training_stops_after_several_bad_steps_in_a_row(
    tiny_config: Make, tmp_path: Path, norm: str, precision: str, after: int
) -> None:
    keys = (f"model.norm={norm}", f"train.precision={precision}")
    config = tiny_config("train.steps=60", "train.checkpoint_every=5", *keys)
    outcome, sink, _ = start(config, tmp_path, prepare=lambda trainer: poison(trainer, range(7, 60)))
    assert outcome.state == "failed"
    assert outcome.step == 7 + after
    assert "the last good checkpoint is that of step" in outcome.reason
    assert f"--set train.lr={config.train.lr / 10:.2g}" in outcome.reason
    assert f"--set train.muon_lr={config.train.muon_lr / 10:.2g}" in outcome.reason
    assert [event.step for event in sink.of(events.CheckpointSaved)] == [5], "what came after may be why"
    assert sink.events[-1].state == "failed"
    assert sink.of(events.Step)[-1].skipped == after
    assert all(torch.isfinite(t.double()).all() for t in last_tensors(tmp_path).values())


def test_out_of_memory_names_the_batch_and_a_smaller_one(tiny_config: Make, tmp_path: Path) -> None:
    def fail(step: int, lr: float) -> None:
        raise torch.OutOfMemoryError

    def prepare(trainer: Trainer) -> None:
        trainer.updater.update = fail  # type: ignore[method-assign]

    outcome, _, _ = start(tiny_config("train.steps=4", "train.accumulate=2"), tmp_path, prepare=prepare)
    assert outcome.state == "failed"
    assert "micro-batches of 8 images" in outcome.reason
    assert "--set train.accumulate=4" in outcome.reason


def test_resume_refuses_other_data(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=4")
    start(config, tmp_path, script={2: [events.Stop()]})
    other = tiny_config("train.steps=4", "data.split_seed=5")
    with pytest.raises(Exception, match="not the one that run run trains on"):
        start(other, tmp_path, resume=True)
