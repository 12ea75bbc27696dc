"""Training processes that tests start: what their run says, and which of them is which."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pixeltui import events
from pixeltui.store.rundir import RunDir


def settings(*overrides: str) -> list[str]:
    """Words for two processes, and for one that they are compared with: each has a GPU, or none has."""
    device = "auto" if torch.cuda.device_count() > 1 else "cpu"
    return [word for override in (f"train.device={device}", *overrides) for word in ("--set", override)]


def run_of(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "run")


def found(tmp_path: Path, kind: type) -> list:
    path = run_of(tmp_path)
    return [event for event in path.read_events()[0] if isinstance(event, kind)] if path.path.exists() else []


def losses(tmp_path: Path) -> dict[int, float]:
    return {event.step: event.loss for event in found(tmp_path, events.Step)}


def descendants(pid: int) -> list[int]:
    """Processes under pid, which may be in sessions of their own."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def of_rank(torchrun: subprocess.Popen, rank: int) -> int:
    for pid in descendants(torchrun.pid):
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return pid
    raise AssertionError(f"no process of rank {rank}")


def wait_for(condition: Callable[[], object], process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
