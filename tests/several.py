"""Training processes that tests start: what their run says, and which of them is which."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.store.rundir import RunDir

Start = Callable[..., subprocess.Popen]


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


@contextlib.contextmanager
def launched(tiny_npz: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `pixeltui --no-ui train` in two processes; what still runs at the end is killed with its children."""
    started: list[subprocess.Popen] = []

    def begin(*words: str, launcher: tuple[str, ...] = (), new: bool = True, through: bool = False) -> subprocess.Popen:
        alone = [] if any(word.startswith("--rdzv") for word in launcher) else ["--standalone"]
        torchrun = ["-m", "torch.distributed.run", *alone, "--nproc-per-node=2", *launcher]
        command = [sys.executable, *([] if through else torchrun), "-m", "pixeltui", "--no-ui"]
        command += ["--runs-dir", str(tmp_path / "runs"), "train", *(["--processes", "2"] if through else [])]
        command += [*(tiny_arguments(tiny_npz) if new else []), *words]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # where the tests run under nohup too
        )
        started.append(process)
        return process

    try:
        yield begin
    finally:
        for process in started:
            for pid in [process.pid, *descendants(process.pid)] if process.poll() is None else []:
                os.kill(pid, signal.SIGKILL)
            process.communicate()
