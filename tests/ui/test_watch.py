"""A run as the console sees it, however long its log is."""

import time
from pathlib import Path

import msgspec
import pytest

from pixeltui import events
from pixeltui.session.attach import AttachedSession
from pixeltui.session.local import LocalSession
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.store.view import RunView
from pixeltui.ui import watch as watch_module
from pixeltui.ui.watch import Watch

EVENTS = 6000


@pytest.fixture
def long_run(runs_copy: Path) -> RunDir:
    """A finished run with some thousand step events, and evaluations among them."""
    run = RunDir.open(runs_copy / "done")
    told = run.read_events()[0]
    start = next(event for event in told if isinstance(event, events.Started))
    step = next(event for event in told if isinstance(event, events.Step))
    scored = next(event for event in told if isinstance(event, events.Evaluated) and event.split == "val")
    found: list[events.AnyEvent] = [start]
    for number in range(1, EVENTS + 1):
        found.append(msgspec.structs.replace(step, step=number, t=start.t + number))
        if number % 100 == 0:
            found.append(msgspec.structs.replace(scored, step=number, t=start.t + number))
    found.append(events.StateChanged(t=start.t + EVENTS, state="finished", step=EVENTS))
    run.events_path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in found))
    return run


def test_a_long_log_is_glanced_at_and_then_read(long_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LONG", 1000)
    watch = Watch(AttachedSession(long_run))
    assert watch.poll() == []
    assert (watch.view.step, watch.state) == (EVENTS, "finished")
    assert watch.curves.points["bits/train"].steps[0] < 100
    assert watch.curves.points["bits/train"].steps[-1] == EVENTS
    before = watch.rewinds
    watch.wait()
    watch.poll()
    assert watch.share_read is None
    assert watch.rewinds > before, "whoever shows it is told"
    assert watch.view.count == EVENTS + EVENTS // 100 + 2
    assert list(watch.curves.points["bits/train"].steps) == list(range(1, EVENTS + 1))
    assert len(watch.view.evaluated("val")) == EVENTS // 100
    assert len(watch.view.steps) < EVENTS, "the newest are enough"
    with long_run.events_path.open("ab") as log:
        log.write(msgspec.json.encode(events.Notice(t=time.time(), level="info", kind="x", message="more")) + b"\n")
    assert [type(event) for event in watch.poll()] == [events.Notice], "and followed from there on"


def test_a_glance_is_enough_for_a_preview(long_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LONG", 1000)
    watch = Watch(AttachedSession(long_run, read_only=True), whole=False)
    for _ in range(3):
        assert watch.poll() == []
    assert watch.view.step == EVENTS
    assert watch._reading is None


def test_a_run_is_in_the_state_that_the_list_says(runs_copy: Path) -> None:
    """Also where its process died before the first event."""
    run = RunDir.open(runs_copy / "done")
    for content in (run.events_path.read_bytes(), b"", b"\x00\xff garbage"):
        run.events_path.write_bytes(content)
        watch = Watch(AttachedSession(run))
        watch.poll()
        assert watch.state == summarize(run.path).state


@pytest.mark.parametrize("long", [False, True])
def test_what_a_resumed_run_logged_before_is_in_the_console_too(
    long: bool, runs_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event once, however long the log is."""
    monkeypatch.setattr(watch_module, "LONG", 1000 if long else 10**9)
    run = RunDir.open(runs_copy / "done")
    before = RunView().fold(run.read_events()[0])
    session = LocalSession(
        TrainRequest(runs_dir=runs_copy, resume="done", overrides=(f"train.steps={before.step + 3}",))
    )
    watch = Watch(session)
    assert watch.poll() == []
    session.start().join(60)
    assert session.outcome is not None
    watch.poll()
    watch.wait()
    watch.poll()
    assert watch.rewinds == int(long), "whoever shows it is told"
    assert watch.view == RunView(most_steps=watch_module.MOST_STEPS).fold(run.read_events()[0])
    assert watch.view.steps[-1].step == before.step + 3
    assert list(watch.curves.points["bits/train"].steps)[: before.step] == list(range(1, before.step + 1))
    assert watch.poll() == []
