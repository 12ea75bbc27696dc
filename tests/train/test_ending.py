"""What comes when the steps are done and the last samples are drawn, or the best weights scored."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness import ListSink, start

from pixeltui import events
from pixeltui.config import Config
from pixeltui.events import AnyCommand
from pixeltui.train.checkpoint import load

Make = Callable[..., Config]
WRECKED = ("train.steps=12", "train.lr=0.01", "train.eval_every=4", "train.schedule=constant", "train.ema_decay=0.5")
WRECK = {6: [events.SetLearningRate(lr=3.0)]}
"""so that the best weights are those of step 4"""


def scored_best(sink: ListSink) -> bool:
    """The best weights are in use then: images of the training split are scored after the test split's."""
    return any(event.split == "test" for event in sink.of(events.Evaluated))


@pytest.mark.parametrize(
    "command",
    [events.SetLearningRate(lr=1e-3), events.Evaluate(), events.Pause(), events.DrawSample(), events.SaveCheckpoint()],
    ids=lambda command: type(command).__name__,
)
def test_what_comes_too_late_is_refused_and_changes_nothing(
    tiny_config: Make, tmp_path: Path, command: AnyCommand
) -> None:
    outcome, sink, trainer = start(tiny_config(*WRECKED), tmp_path, script={**WRECK, scored_best: [command]})
    assert outcome.state == "finished"
    *_, acknowledged = sink.of(events.Acknowledged)
    assert (acknowledged.ok, acknowledged.message) == (False, "training is over")
    assert len([event for event in sink.of(events.Evaluated) if event.split == "val"]) == 3
    saved, _ = load(tmp_path / "run/checkpoints/last.safetensors")
    assert trainer.progress.best_step == 4
    for name, tensor in trainer.updater.average.state_dict().items():
        assert torch.equal(saved[f"ema/{name}"], tensor), "the run's own average, not the best"


def test_a_stop_gives_the_last_scores_up(tiny_config: Make, tmp_path: Path) -> None:
    late = {scored_best: [events.Evaluate(), events.Stop()]}
    outcome, sink, _ = start(tiny_config(*WRECKED), tmp_path, script={**WRECK, **late})
    assert outcome.state == "stopped"
    assert [event.split for event in sink.of(events.Evaluated) if event.step == 12 and event.checkpoint] == ["test"]
    *_, evaluated, stopped = sink.of(events.Acknowledged)
    assert (evaluated.ok, stopped.ok) == (False, True)
    assert "given up" in evaluated.message
    best, last = (load(tmp_path / f"run/checkpoints/{name}.safetensors") for name in ("best", "last"))
    assert (best[1]["step"], last[1]["step"]) == (4, 12)
    assert any(not torch.equal(best[0][name], last[0][name]) for name in best[0] if name.startswith("ema/"))


def test_samples_asked_for_while_the_last_are_drawn_are_drawn_too(tiny_config: Make, tmp_path: Path) -> None:
    config = tiny_config("train.steps=4", "sample.every=100")
    late = [events.Pause(), events.DrawSample(count=2), events.Resume()]
    outcome, sink, _ = start(config, tmp_path, script={lambda sink: bool(sink.frames): late})
    assert outcome.state == "finished"
    assert [event.count for event in sink.of(events.SampleSaved)] == [config.sample.count, 2]
    assert scored_best(sink)


def test_what_comes_while_the_last_checkpoint_of_a_stop_is_written_is_refused(
    tiny_config: Make, tmp_path: Path
) -> None:
    config = tiny_config("train.steps=9", "train.checkpoint_every=0", "train.eval_every=0")
    late = {lambda sink: bool(sink.of(events.CheckpointSaved)): [events.DrawSample()]}
    outcome, sink, _ = start(config, tmp_path, script={3: [events.Stop()], **late})
    assert outcome.state == "stopped"
    stopped, drawn = sink.of(events.Acknowledged)
    assert (stopped.ok, drawn.ok, drawn.message) == (True, False, "training has stopped")
