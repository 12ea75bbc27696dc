"""Event files, read back by TensorBoard's own reader."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pixeltui import events
from pixeltui.session import tensorboard
from pixeltui.session.recorder import Recorder
from pixeltui.session.sinks import RecordingSink
from pixeltui.session.tensorboard import TensorBoardWriter
from pixeltui.store.rundir import RunDir

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="the extra 'tensorboard' is not installed"
)
TAG = "train/bits_per_dim"


class Nobody:
    def show(self, event: events.AnyEvent) -> None: ...

    def show_frame(self, frame: events.Frame) -> None: ...


class Process:
    """One that trains: its steps go to the log and to TensorBoard."""

    def __init__(self, run: RunDir, on_trouble: Callable[[str], None] = lambda message: None) -> None:
        self.recorder, self.writer = Recorder(run), TensorBoardWriter(run, on_trouble)
        self.sink = RecordingSink(self.recorder, Nobody(), self.writer)

    def start(self, step: int) -> None:
        self.sink.emit(
            events.Started(
                t=1.0,
                step=step,
                total_steps=99,
                steps_per_epoch=10,
                parameters=1,
                device="cpu",
                precision="fp32",
                resumed=step > 0,
            )
        )

    def steps(self, first: int, last: int, bits: float) -> None:
        for step in range(first, last + 1):
            self.sink.emit(
                events.Step(
                    t=float(step),
                    step=step,
                    epoch=step / 10,
                    loss=bits / 2,
                    bits_per_dim=bits,
                    lr=0.1,
                    grad_norm=None,
                    images_per_second=1.0,
                )
            )

    def evaluate(self, step: int) -> None:
        self.sink.emit(
            events.Evaluated(
                t=float(step),
                step=step,
                epoch=step / 10,
                split="val",
                weights="ema",
                images=3,
                bits_per_dim=3.5,
                nats_per_dim=2.4,
                perplexity=11.0,
            )
        )

    def close(self) -> None:
        self.recorder.close()
        self.writer.close()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run", "", {})


@pytest.fixture
def process(run: RunDir) -> Iterator[Callable[..., Process]]:
    """Begins a process, which is not closed before the test is over."""
    with contextlib.ExitStack() as stack:

        def begin(*arguments: Callable[[str], None]) -> Process:
            begun = Process(run, *arguments)
            stack.callback(begun.close)
            return begun

        yield begin


def read(run: RunDir) -> object:
    reader = accumulator.EventAccumulator(str(run.tensorboard_dir), size_guidance={"images": 0, "scalars": 0})
    return reader.Reload()


def curve(reader, tag: str = TAG) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in reader.Scalars(tag)]


def test_scalars_and_images_of_a_run(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    words = ("train.steps=4", "train.eval_every=2", "sample.every=2", "log.tensorboard=true")
    assert tiny_train(*(part for word in words for part in ("--set", word)), "--name", "a") == 0
    run = RunDir(tmp_path / "runs" / "a")
    reader, log = read(run), run.read_events()[0]
    steps = [event for event in log if isinstance(event, events.Step)]
    assert dict(curve(reader, "train/nats_per_dim")) == pytest.approx({e.step: e.loss for e in steps})
    assert dict(curve(reader, "train/lr")) == pytest.approx({e.step: e.lr for e in steps})
    assert [e.wall_time for e in reader.Scalars(TAG)] == pytest.approx([e.t for e in steps])
    test = next(e for e in log if isinstance(e, events.Evaluated) and e.split == "test")
    assert curve(reader, "test_ema/bits_per_dim") == [(4, pytest.approx(test.bits_per_dim))]
    images = reader.Images("samples")
    assert [image.step for image in images] == [2, 4]
    png = (run.samples_dir / "step-00000004.png").read_bytes()
    assert images[-1].encoded_image_string == png
    assert Image.open(io.BytesIO(png)).size == (images[-1].width, images[-1].height)


def test_a_killed_process_leaves_neither_gaps_nor_steps_twice(run: RunDir, process) -> None:
    killed = process()
    killed.start(0)
    killed.steps(1, 10, bits=8.0)
    killed.evaluate(10)
    watching = read(run)
    assert curve(watching) == [(step, 8.0) for step in range(1, 11)]
    # Never closed; the next one goes on from a checkpoint of step 6, with other losses.
    resumed = process()
    resumed.start(6)
    resumed.steps(7, 12, bits=2.0)
    resumed.evaluate(10)
    expected = [(step, 8.0) for step in range(1, 7)] + [(step, 2.0) for step in range(7, 13)]
    assert curve(read(run)) == expected
    assert curve(read(run), "val_ema/bits_per_dim") == [(10, 3.5)]
    assert curve(watching.Reload()) == expected, "a TensorBoard that has been open all the time"
    process().start(12)
    assert curve(read(run)) == expected
    assert len(list(run.tensorboard_dir.iterdir())) == 2, "old files do not heap up"


def test_a_figure_measured_again_at_its_step_comes_once(run: RunDir, process) -> None:
    stopped = process()
    stopped.start(0)
    stopped.steps(1, 4, bits=5.0)
    stopped.evaluate(4)
    resumed = process()
    resumed.start(4)
    resumed.evaluate(4)
    assert curve(read(run), "val_ema/bits_per_dim") == [(4, 3.5)]


def test_switched_on_when_resumed_it_has_the_whole_run(run: RunDir, process) -> None:
    before = process()
    before.sink = RecordingSink(before.recorder, Nobody(), None)
    before.start(0)
    before.steps(1, 5, bits=4.0)
    after = process()
    after.start(5)
    after.steps(6, 7, bits=3.0)
    assert [step for step, _ in curve(read(run))] == list(range(1, 8))


def test_trouble_is_told_once_and_mended_from_the_log(run: RunDir, process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "RETRY_SECONDS", 0.0)
    troubles: list[str] = []
    run.tensorboard_dir.write_text("in the way")
    hindered = process(troubles.append)
    hindered.start(0)
    hindered.steps(1, 5, bits=4.0)
    assert len(troubles) == 1
    run.tensorboard_dir.unlink()
    hindered.steps(6, 8, bits=4.0)
    assert curve(read(run)) == [(step, 4.0) for step in range(1, 9)]
