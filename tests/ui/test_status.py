"""The figures of the strip: all that matters at 80 columns, from the fold that live and past runs share."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pixeltui import events
from pixeltui.config import Config, dump_config
from pixeltui.events import AnyEvent
from pixeltui.session.attach import AttachedSession
from pixeltui.session.recorder import Recorder
from pixeltui.store.files import Lock
from pixeltui.store.rundir import RunDir, find_run
from pixeltui.ui.status import duration, items, machine, seconds_left
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.state_strip import arrange

GIB = 1 << 30


def large_run() -> list[AnyEvent]:
    """A day on a large GPU, every reading there is."""
    now = time.time()
    common = {"loss": 2.101, "bits_per_dim": 3.031, "lr": 1.2e-3, "grad_norm": 0.31, "images_per_second": 5012.0}
    return [
        events.Started(
            t=now - 100,
            step=0,
            total_steps=351_500,
            steps_per_epoch=703,
            parameters=59_000_000,
            device="cuda:0 NVIDIA H200",
            precision="bf16",
        ),
        events.StateChanged(t=now - 100, state="training", step=0, reason="started"),
        *(events.Step(t=now - 20 + i, step=87_000 + i, epoch=123.8, data_wait=0.01, **common) for i in range(20)),
        events.Evaluated(
            t=now,
            step=87_000,
            epoch=123.8,
            split="val",
            weights="ema",
            images=5000,
            bits_per_dim=3.045,
            nats_per_dim=2.1,
            perplexity=8.0,
            raw_excess=0.031,
            raw_images=500,
        ),
        events.Telemetry(
            t=now,
            step=87_019,
            gpu_busy=0.97,
            gpu_memory=61 * GIB,
            gpu_memory_total=80 * GIB,
            gpu_temperature=71.0,
            gpu_power=650.0,
            cores_busy=1.0,
            cores=16,
            host_busy=0.1,
            memory=3 * GIB,
            host_memory=30 * GIB,
            host_memory_total=128 * GIB,
        ),
    ]


def test_everything_that_matters_fits_into_80_columns(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "one", dump_config(Config()), {})
    recorder = Recorder(run)
    for event in large_run():
        recorder.emit(event)
    recorder.close()
    with Lock.acquire(run.path):
        watch = Watch(AttachedSession(run))
        watch.poll()
        found = items(watch)
        rows = arrange(found, {}, 78, 3)
    shown = {item.key: f"{item.label} {item.value}".strip() for row in rows for item in row}
    assert shown["ema"] == "EMA 0.9995, 2000 steps"
    assert shown["excess"] == "raw − EMA +0.031"
    assert shown["gpu"] == "GPU  97% 61/80 GiB 71 °C 650 W"
    assert shown["left"].startswith("left 73:28")
    assert shown["lr"] == "lr 1.2e-3"
    assert shown["speed"] == "images/s 5012"
    assert {"state", "epoch", "step", "bits", "best", "speed", "lr", "wait"} <= shown.keys()


def test_a_finished_run_shows_the_same_figures(finished_runs: Path) -> None:
    watch = Watch(AttachedSession(find_run(finished_runs, "done")))
    watch.poll()
    shown = {item.key: item.value for item in items(watch)}
    assert shown["state"].endswith("finished")
    assert {"excess", "wait", "cores", "memory", "test"} <= shown.keys()
    assert "left" not in shown
    labels = {item.key: item.label for item in items(watch)}
    assert (labels["cores"], labels["memory"]) == ("last CPU", "last RAM"), "not of now"


def test_memory_that_is_nearly_full_has_a_colour() -> None:
    for used, color in ((30, "text"), (31, "warn")):
        reading = events.Telemetry(t=1.0, step=1, memory=GIB, host_memory=used * GIB, host_memory_total=33 * GIB)
        (item,) = machine(reading)
        assert (item.value, item.color) == ("1.0/33 GiB", color)


def test_no_reading_no_item() -> None:
    assert machine(events.Telemetry(t=1.0, step=1)) == []
    (only,) = machine(events.Telemetry(t=1.0, step=1, gpu_temperature=45.0))
    assert (only.label, only.value) == ("GPU", "45 °C")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1:00"), (3599.6, "1:00:00"), (360_000, "4 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_resumed_run_forgets_the_other_machine(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    assert tiny_train("--name", "one", "--set", "train.steps=3") == 0
    watch = Watch(AttachedSession(find_run(tmp_path / "runs", "one")))
    watch.poll()
    assert watch.view.telemetry is not None
    started = watch.view.started
    assert started is not None
    watch.view.fold([started])
    assert watch.view.telemetry is None


def test_a_pause_is_no_part_of_the_time_left(tmp_path: Path) -> None:
    """30 steps of a second, an hour's pause, a few steps more: 60 steps are a minute."""
    run = RunDir.create(tmp_path, "one", "", {})
    start, *_ = large_run()
    assert isinstance(start, events.Started)
    figures = dict(epoch=0.1, loss=1.0, bits_per_dim=1.4, lr=0.1, grad_norm=None, images_per_second=64.0)
    times = [(step, start.t + step) for step in range(1, 31)] + [(step, start.t + 3600 + step) for step in (31, 32, 33)]
    recorder = Recorder(run)
    recorder.emit(msgspec.structs.replace(start, total_steps=93))
    for step, t in times:
        if step == 31:
            recorder.emit(events.StateChanged(t=start.t + 30.5, state="paused", step=30))
            recorder.emit(events.StateChanged(t=start.t + 3630.5, state="training", step=30))
        recorder.emit(events.Step(t=t, step=step, **figures))
    recorder.close()
    with Lock.acquire(run.path):
        watch = Watch(AttachedSession(run))
        watch.poll()
        assert seconds_left(watch) == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize(
    ("total", "an_epoch", "epochs"), [(60, 43, "1.4"), (43, 43, "1"), (4, 10, "0.4"), (3, 1000, "0.003")]
)
def test_epochs_that_are_not_whole_are_told(total: int, an_epoch: int, epochs: str, tmp_path: Path) -> None:
    start = msgspec.structs.replace(large_run()[0], total_steps=total, steps_per_epoch=an_epoch, parameters=2519)
    shown = shown_of(tmp_path, [start])
    assert shown["epoch"] == f"0.0/{epochs}"
    assert shown["size"] == "2519 parameters"


@pytest.mark.parametrize(
    ("excess", "text"), [(-0.0001, "+0.000"), (-0.0021, "-0.002"), (0.0, "+0.000"), (25.0, "+2e+01")]
)
def test_no_difference_has_no_sign_of_its_own(excess: float, text: str, tmp_path: Path) -> None:
    told = [
        msgspec.structs.replace(event, raw_excess=excess) if isinstance(event, events.Evaluated) else event
        for event in large_run()
    ]
    assert shown_of(tmp_path, told)["excess"] == text


def shown_of(runs: Path, told: list[AnyEvent]) -> dict[str, str]:
    """The strip's values of a run with these events."""
    run = RunDir.create(runs, "one", dump_config(Config()), {})
    recorder = Recorder(run)
    for event in told:
        recorder.emit(event)
    recorder.close()
    watch = Watch(AttachedSession(run))
    watch.poll()
    return {item.key: item.value for item in items(watch)}
