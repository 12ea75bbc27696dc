"""Training in a thread beside the console: events come out, commands go in, errors are events."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY

from pixeltui.errors import UserError
from pixeltui.events import (
    AnyEvent,
    CheckpointSaved,
    Evaluated,
    Notice,
    Pause,
    Resume,
    Started,
    StateChanged,
    Step,
    Stop,
)
from pixeltui.session.local import LocalSession
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import RunDir


def request(tiny_npz: Path, runs: Path, *overrides: str, **how: str) -> TrainRequest:
    fixed = (f"data.name={tiny_npz}", *TINY)
    return TrainRequest(runs_dir=runs, preset="quick", overrides=(*fixed, *overrides), command="pixeltui train", **how)


def until(session: LocalSession, met: Callable[[list[AnyEvent]], bool], seconds: float = 90.0) -> list[AnyEvent]:
    """Polls as the console does; all events so far."""
    seen: list[AnyEvent] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen += session.poll()
        if met(seen):
            return seen
        time.sleep(0.02)
    raise AssertionError(f"not seen: {[type(event).__name__ for event in seen][-8:]}")


def states(events: list[AnyEvent]) -> list[str]:
    return [event.state for event in events if isinstance(event, StateChanged)]


def test_a_run_is_trained_and_reported_as_its_log_says(tiny_npz: Path, tmp_path: Path) -> None:
    session = LocalSession(request(tiny_npz, tmp_path, "train.steps=4", name="one"))
    assert session.alive, "the console shows it as starting, before the thread runs"
    session.start()
    seen = until(session, lambda events: "finished" in states(events))
    session.join(10)
    assert not session.alive
    assert session.read_only
    assert session.run is not None
    assert session.run.name == "one"
    assert seen == session.run.read_events()[0]
    assert [event.step for event in seen if isinstance(event, Step)] == [1, 2, 3, 4]
    assert any(isinstance(event, Evaluated) and event.split == "test" for event in seen)


def test_a_large_run_after_a_small_one_has_all_threads(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    devices = []
    try:
        for size in (("train.batch_size=16", "model.channels=8"), ("train.batch_size=96", "model.channels=96")):
            session = LocalSession(request(tiny_npz, tmp_path, "train.steps=1", "train.device=cpu", *size)).start()
            session.join(60)
            devices += [event.device for event in session.poll() if isinstance(event, Started)]
    finally:
        torch.set_num_threads(before)
    assert devices == ["cpu, 1 thread", "cpu, 2 threads"]


def test_training_outlives_the_main_thread(tiny_npz: Path, tmp_path: Path) -> None:
    """As where a console fails: what is saved after that is on the disk too."""
    code = f"""
import time
from pathlib import Path
from pixeltui.session.local import LocalSession
from pixeltui.session.worker import TrainRequest
overrides = {(f"data.name={tiny_npz}", *TINY, "train.steps=100", "train.checkpoint_every=20", "train.eval_every=0")}
session = LocalSession(TrainRequest(runs_dir=Path({str(tmp_path)!r}), preset="quick", name="one", overrides=overrides))
session.start()
while session.run is None:
    time.sleep(0.01)
raise SystemExit("the console has gone")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False)
    assert done.stderr == "the console has gone\n"
    run = RunDir(tmp_path / "one")
    assert states(run.read_events()[0])[-1] == "finished", run.log_path.read_text()
    saved = [event.step for event in run.read_events()[0] if isinstance(event, CheckpointSaved)]
    assert saved == [20, 40, 60, 80, 100]


def test_training_that_outlives_its_console_stops_with_a_checkpoint(tiny_npz: Path, tmp_path: Path) -> None:
    """As where the console failed, and the process is told to stop then."""
    code = f"""
import os, signal, sys, threading, time
from pathlib import Path
import pixeltui.cli, pixeltui.commands.train
from pixeltui.events import Step
from pixeltui.session.inbox import Signals
from pixeltui.session.local import LocalSession
from pixeltui.session.worker import TrainRequest
overrides = {(f"data.name={tiny_npz}", *TINY, "train.steps=100000", "train.checkpoint_every=0", "train.eval_every=0")}
request = TrainRequest(runs_dir=Path({str(tmp_path)!r}), preset="quick", name="one", overrides=overrides)
def run(args):
    signals = Signals()
    signals.install()
    session = LocalSession(request, also=signals).start()
    while not any(isinstance(event, Step) for event in session.poll()):
        time.sleep(0.01)
    return 1
def stop():
    while threading.main_thread().is_alive():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=stop, daemon=True).start()
pixeltui.commands.train.run = run
pixeltui.cli.run()
"""
    command = [sys.executable, "-c", code, "train"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    run = RunDir(tmp_path / "one")
    assert states(run.read_events()[0])[-1] == "stopped", run.log_path.read_text()
    assert (run.path / "checkpoints" / "last.safetensors").is_file()


def test_commands_are_obeyed(tiny_npz: Path, tmp_path: Path) -> None:
    session = LocalSession(request(tiny_npz, tmp_path, "train.steps=100000", "train.eval_every=0")).start()
    until(session, lambda events: any(isinstance(event, Step) for event in events))
    session.send(Pause())
    until(session, lambda events: "paused" in states(events))
    session.poll()
    time.sleep(0.3)
    assert session.poll() == [], "a paused run does not step"
    session.send(Resume())
    until(session, lambda events: any(isinstance(event, Step) for event in events))
    session.send(Stop(reason="asked to stop"))
    until(session, lambda events: "stopped" in states(events))
    session.join(10)
    assert session.outcome is not None
    assert session.outcome.state == "stopped"
    assert session.run is not None
    assert (session.run.checkpoints_dir / "last.safetensors").is_file()


def test_an_error_is_an_event_and_never_a_crash(tmp_path: Path) -> None:
    missing = tmp_path / "missing.npz"
    session = LocalSession(TrainRequest(runs_dir=tmp_path, preset="quick", overrides=(f"data.name={missing}",))).start()
    seen = until(session, lambda events: "failed" in states(events))
    session.join(10)
    assert isinstance(session.error, UserError)
    notice = next(event for event in seen if isinstance(event, Notice))
    assert "missing.npz" in notice.message
    assert session.run is None


def test_a_bug_is_in_the_log_with_its_traceback(tiny_npz: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no reason")

    monkeypatch.setattr("pixeltui.session.worker.train", broken)
    session = LocalSession(request(tiny_npz, tmp_path, name="one")).start()
    seen = until(session, lambda events: "failed" in states(events))
    session.join(10)
    log = tmp_path / "one" / "log.txt"
    assert str(log) in next(event.message for event in seen if isinstance(event, Notice))
    assert "ZeroDivisionError: no reason" in log.read_text()
    assert "Traceback" in log.read_text()


def test_what_is_reported_after_the_console_closed_is_not_kept(tiny_npz: Path, tmp_path: Path) -> None:
    session = LocalSession(request(tiny_npz, tmp_path, "train.steps=3", name="one")).start()
    session.close()
    session.join(90)
    assert session.poll() == []
    assert session.run is not None
    assert session.run.read_events()[0], "the log has it all"
