"""What a run tells of itself beside its losses: the machine, waiting for data, raw weights against their average."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness import start

from pixeltui import events
from pixeltui.config import Config
from pixeltui.data import load
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import RunView
from pixeltui.train import trainer as trainer_module
from pixeltui.train.evaluate import image_nats, likelihood
from pixeltui.train.load import load_model

Make = Callable[..., Config]


def test_the_raw_weights_are_scored_beside_their_average(tiny_config: Make, tmp_path: Path) -> None:
    """The difference is that of the two weights of the checkpoint of that step, on the same images."""
    config = tiny_config("train.steps=8", "train.lr=0.05", "train.eval_every=4", "train.checkpoint_every=4")
    _, sink, _ = start(config, tmp_path)
    first = next(e for e in sink.of(events.Evaluated) if e.split == "val")
    data = load(config.data)
    assert first.step == 4
    assert first.raw_images == min(64, len(data.val))
    part = data.val.spread(first.raw_images)
    bits = {}
    for weights in ("ema", "raw"):
        loaded = load_model(
            RunDir.open(tmp_path / "run"),
            checkpoint="4",
            weights=weights,  # type: ignore[arg-type]
            device=torch.device("cpu"),
            warn=lambda message: None,
        )
        bits[weights] = likelihood(image_nats(loaded.model, part, batch_size=16)).bits_per_dim
    assert abs(bits["raw"] - bits["ema"]) > 1e-4, "or the test tells nothing"
    assert first.raw_excess == pytest.approx(bits["raw"] - bits["ema"], abs=1e-5)
    assert RunView().fold(sink.events).raw_excess == sink.of(events.Evaluated)[-3].raw_excess


def test_without_an_average_there_is_no_distance(tiny_config: Make, tmp_path: Path) -> None:
    _, sink, _ = start(tiny_config("train.steps=2", "train.ema_decay=0"), tmp_path)
    assert {e.raw_excess for e in sink.of(events.Evaluated)} == {None}


def test_scoring_the_raw_weights_changes_no_step(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=6", "train.eval_every=1", "model.norm=batch", "model.dropout=0.2")
    _, often, _ = start(config, tmp_path / "often")
    _, never, _ = start(
        tiny_config("train.steps=6", "train.eval_every=0", "model.norm=batch", "model.dropout=0.2"), tmp_path
    )
    assert often.losses() == never.losses()


def test_the_machine_is_read_every_so_often(tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sink, _ = start(tiny_config("train.steps=6"), tmp_path)
    seldom = sink.of(events.Telemetry)
    assert seldom[0].step == 1, "at the first figures there are"
    assert len(seldom) < 6
    assert seldom[0].cores_busy is not None
    monkeypatch.setattr(trainer_module, "TELEMETRY_SECONDS", 0.0)
    _, sink, _ = start(tiny_config("train.steps=6"), tmp_path / "again")
    assert [e.step for e in sink.of(events.Telemetry)] == [1, 2, 3, 4, 5, 6]
    assert RunView().fold(sink.events).telemetry == sink.of(events.Telemetry)[-1]


def test_time_spent_on_batches_is_told(tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that takes nearly all of the time shows as such."""
    from pixeltui.train.update import Updater

    plain = Updater.batch

    def slow(self: Updater, step: int):  # type: ignore[no-untyped-def]
        import time

        time.sleep(0.2)
        return plain(self, step)

    _, sink, _ = start(tiny_config("train.steps=3"), tmp_path / "fast")
    assert all(0 < step.data_wait < 0.9 for step in sink.of(events.Step))
    monkeypatch.setattr(Updater, "batch", slow)
    _, sink, _ = start(tiny_config("train.steps=3"), tmp_path / "slow")
    assert max(step.data_wait for step in sink.of(events.Step)) > 0.5
