"""Watching and steering a run through its files."""

from pathlib import Path

import pytest

from pixeltui.errors import UserError
from pixeltui.events import Acknowledged, Notice, Pause, StateChanged
from pixeltui.session import attach
from pixeltui.session.attach import AttachedSession
from pixeltui.session.recorder import Recorder
from pixeltui.store import control
from pixeltui.store.files import Lock
from pixeltui.store.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "runs", "one", "", {})


def test_events_come_once_and_in_their_order(run: RunDir) -> None:
    recorder = Recorder(run)
    recorder.emit(StateChanged(t=1.0, state="training", step=0))
    session = AttachedSession(run)
    assert [event.t for event in session.poll()] == [1.0]
    assert session.poll() == []
    recorder.emit(StateChanged(t=2.0, state="paused", step=3))
    assert [event.t for event in session.poll()] == [2.0]
    recorder.close()


def test_a_run_that_is_over_is_read_only(run: RunDir) -> None:
    session = AttachedSession(run)
    assert session.read_only
    assert not session.alive
    with pytest.raises(UserError, match="is not training"):
        session.send(Pause())
    assert control.take(run.control_dir) == []


def test_commands_reach_the_process_that_trains(run: RunDir) -> None:
    with Lock.acquire(run.path):
        session = AttachedSession(run)
        assert session.alive
        assert not session.read_only
        session.send(Pause())
        assert [command for _, command in control.take(run.control_dir)] == [Pause()]


def test_who_looks_on_sends_nothing(run: RunDir) -> None:
    with Lock.acquire(run.path):
        session = AttachedSession(run, read_only=True)
        with pytest.raises(UserError, match="read only"):
            session.send(Pause())
    assert control.take(run.control_dir) == []


def test_the_death_of_the_process_is_said_once(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "PROBE_SECONDS", 0.0)
    with Lock.acquire(run.path):
        session = AttachedSession(run)
        assert session.poll() == []
    notices = [event for event in session.poll() if isinstance(event, Notice)]
    assert [notice.kind for notice in notices] == ["gone"]
    assert str(run.log_path) in notices[0].message
    assert session.read_only
    assert session.poll() == []


def test_a_command_without_an_answer_is_reported_and_an_answered_one_not(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lock.acquire(run.path):
        session = AttachedSession(run)
        session.send(Pause())
        session.send(Pause())
        ids = [command_id for command_id, _ in control.take(run.control_dir)]
        recorder = Recorder(run)
        recorder.emit(Acknowledged(t=1.0, id=ids[0], command="pause", ok=True))
        recorder.close()
        assert [type(event) for event in session.poll()] == [Acknowledged]
        monkeypatch.setattr(attach, "ANSWER_SECONDS", -1.0)
        notices = [event for event in session.poll() if isinstance(event, Notice)]
        assert len(notices) == 1
        assert "pause" in notices[0].message
