"""Samples while training: the share of the time that they take, and the weights that they are drawn from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import ListSink, start
from PIL import Image

from pixeltui import events
from pixeltui.config import Config
from pixeltui.core import build_model
from pixeltui.data import load
from pixeltui.train.live import LiveSample, LiveSampler
from pixeltui.train.report import Clock

Make = Callable[..., Config]


class Recorder:
    """As much of a Reporter and a run as a LiveSampler uses."""

    step = 3
    name = "one"

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.path = self.samples_dir = folder
        self.clock = clock

    def own(self, path: Path) -> Path:
        return path

    def sampling(self, *arguments: object) -> None: ...

    def emit(self, *arguments: object, **fields: object) -> None: ...


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_the_time_is_bounded_whatever_a_row_takes(
    share: float, tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of its own: a step takes 10 ms, a row a second, and the figures are reported every five steps."""
    config = tiny_config(f"sample.time_share={share}")
    data = load(config.data)
    model = build_model(config, data.image_shape, data.levels, data.num_classes)
    now, drawn = [0.0], [0]
    clock = Clock(lambda: now[0])
    plain = LiveSample.advance

    def slow(sample: LiveSample) -> None:
        plain(sample)
        now[0] += 1.0
        drawn[0] += 1

    monkeypatch.setattr(LiveSample, "advance", slow)
    recorder = Recorder(tmp_path, clock)
    sampler = LiveSampler(model, config.sample, data, recorder, recorder)  # type: ignore[arg-type]
    for step in range(6000):
        if not sampler.busy:
            sampler.ask(events.DrawSample())
        now[0] += 0.01
        sampler.advance()
        if step % 5 == 4:
            clock.restart()
        assert drawn[0] <= share * now[0] + 1, "at most the row in progress beyond the share"
    assert clock.trained_seconds == pytest.approx(60)
    assert drawn[0] >= 0.9 * share * now[0], "and all of it, where there is something to draw"


def test_what_a_sheet_takes_to_be_written_is_of_the_share_too(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sheet of thousands is a picture of many megapixels."""
    config = tiny_config("sample.time_share=0.1")
    data = load(config.data)
    model = build_model(config, data.image_shape, data.levels, data.num_classes)
    now, written = [0.0], []
    clock = Clock(lambda: now[0])

    def slow(*arguments: object, **more: object) -> None:
        written.append(clock.trained_seconds)
        now[0] += 3.0

    monkeypatch.setattr("pixeltui.train.live.write_samples", slow)
    recorder = Recorder(tmp_path, clock)
    sampler = LiveSampler(model, config.sample, data, recorder, recorder)  # type: ignore[arg-type]
    while len(written) < 2:
        sampler.ask(events.DrawSample())
        now[0] += 0.5
        sampler.advance()
    assert 3.0 * 9 <= written[1] - written[0] <= 3.0 * 9 + 4, "and the steps beside the rows of the second"


def test_the_first_row_does_not_wait_for_what_starting_takes_once(
    tiny_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling kernels for a GPU, five seconds at times, is not to hold the first sheet up ten times as long."""
    config = tiny_config("sample.time_share=0.1")
    data = load(config.data)
    model = build_model(config, data.image_shape, data.levels, data.num_classes)
    now = [0.0]
    clock = Clock(lambda: now[0])
    plain = LiveSample.__init__

    def slow(sample: LiveSample, *arguments: Any, **options: Any) -> None:
        plain(sample, *arguments, **options)
        now[0] += 5.0

    monkeypatch.setattr(LiveSample, "__init__", slow)
    recorder = Recorder(tmp_path, clock)
    sampler = LiveSampler(model, config.sample, data, recorder, recorder)  # type: ignore[arg-type]
    sampler.ask(events.DrawSample())
    for _ in range(data.image_shape[1]):
        sampler.advance()
    assert not sampler.busy
    sampler.ask(events.DrawSample())
    sampler.advance()
    assert sampler._current.rows_done == 0, "the second start is as dear, and counts"


def test_time_of_samples_in_a_pause_counts_once() -> None:
    now = [0.0]
    clock = Clock(lambda: now[0])
    now[0] += 5
    with clock.elsewhere():
        now[0] += 1
        with clock.elsewhere(sampling=True):
            now[0] += 2
    assert clock.training_seconds == 5
    assert clock.sample_share == pytest.approx(2 / 7)


def test_samples_are_of_the_averaged_weights_as_they_were(tiny_config: Make, tmp_path: Path) -> None:
    """Training goes on between the rows, and changes nothing about them."""
    from pixeltui.store.rundir import RunDir
    from pixeltui.train.load import load_model

    config = tiny_config("train.steps=8", "train.lr=0.05", "sample.every=4", "train.checkpoint_every=4", "train.keep=9")
    _, sink, trainer = start(config, tmp_path)
    saved = [event for event in sink.of(events.SampleSaved) if event.step == 4]
    assert saved
    run = RunDir.open(tmp_path / "run")
    expected = {}
    for step in (4, 8):
        loaded = load_model(run, checkpoint=str(step), device=torch.device("cpu"), warn=lambda message: None)
        expected[step] = loaded.model.sample(4, labels=[0, 1, 2, 0], seed=config.sample.seed).numpy()
    assert not np.array_equal(expected[4], expected[8])
    with Image.open(run.path / saved[0].path) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    scale, cell = 96 // 6, 5 * (96 // 6) + 4
    for i, image in enumerate(expected[4][:, 0]):
        # Tiles are on one line or two; the first two are on the first line in any case.
        if i < 2:
            tile = pixels[4 : 4 + 6 * scale : scale, 4 + i * cell : 4 + i * cell + 5 * scale : scale]
            assert np.array_equal(tile, image * 85)


def test_sheets_of_one_step_are_all_kept(tiny_config: Make, tmp_path: Path) -> None:
    def drawn(number: int) -> Callable[[ListSink], bool]:
        return lambda sink: len(sink.of(events.SampleSaved)) == number

    script = {
        2: [events.Pause(), events.DrawSample(temperature=0.5)],
        drawn(1): [events.DrawSample(temperature=1.5)],
        drawn(2): [events.Stop()],
    }
    config = tiny_config("train.steps=4", "train.checkpoint_every=1")
    _, sink, _ = start(config, tmp_path, script=script)
    saved = [tmp_path / "run" / event.path for event in sink.of(events.SampleSaved)]
    assert [json.loads(path.with_suffix(".json").read_text())["temperature"] for path in saved] == [0.5, 1.5]
    start(config, tmp_path, resume=True, script={0: [events.DrawSample(temperature=0.7)]})
    assert json.loads(saved[0].with_suffix(".json").read_text())["temperature"] == 0.7, "drawn again, by a resumed run"


def test_a_sheet_that_an_end_interrupted_is_drawn_again_where_its_weights_are_there(
    tiny_config: Make, tmp_path: Path
) -> None:
    """The checkpoint of its step is written before it is done."""
    words = "train.steps=8", "train.eval_every=0", "train.checkpoint_every=4"
    config = tiny_config(*words, "sample.every=4", "sample.time_share=0.001")
    start(config, tmp_path, script={5: [events.Stop()]})
    for name in ("last", "step-00000005"):  # as after a kill
        (tmp_path / "run" / "checkpoints" / f"{name}.safetensors").unlink()
    _, sink, _ = start(config, tmp_path, resume=True)
    assert sink.of(events.Started)[0].step == 4
    assert [event.step for event in sink.of(events.SampleSaved)] == [4, 8]
