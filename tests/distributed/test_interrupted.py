"""Several processes that are stopped, or wait for one another, at awkward times."""

import datetime
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from several import Start, descendants, found, launched, losses, run_of, settings, wait_for
from tiny import tiny_arguments
from torch.distributed import DistStoreError, HashStore

from pixeltui import events
from pixeltui.store.summary import summarize
from pixeltui.train.checkpoint import load
from pixeltui.train.meeting import meet

NEVER = ("train.steps=100000", "train.eval_every=0", "train.checkpoint_every=0")


@pytest.fixture
def start(tiny_npz: Path, tmp_path: Path) -> Iterator[Start]:
    with launched(tiny_npz, tmp_path) as begin:
        yield begin


def test_three_processes_that_go_on_are_bit_for_bit_those_that_never_stopped(start: Start, tmp_path: Path) -> None:
    three = ("--nproc-per-node=3",)
    words = settings("train.lr=0.01", "train.schedule=constant", "train.checkpoint_every=4", "train.keep=9")
    whole = start(*words, "--set", "train.steps=8", "--name", "run", launcher=three)
    _, errors = whole.communicate(timeout=240)
    assert whole.returncode == 0, errors
    run, expected = run_of(tmp_path), tmp_path / "expected.safetensors"
    shutil.copy(run.checkpoints_dir / "last.safetensors", expected)
    for name in ("step-00000008", "last", "best"):
        (run.checkpoints_dir / f"{name}.safetensors").unlink(missing_ok=True)
    rest = start("--resume", "run", "--set", "train.steps=8", launcher=three, new=False)
    _, errors = rest.communicate(timeout=240)
    assert rest.returncode == 0, errors
    assert [event.step for event in found(tmp_path, events.Started)] == [0, 4]
    went_on, never_stopped = load(run.checkpoints_dir / "last.safetensors")[0], load(expected)[0]
    assert [name for name in never_stopped if not torch.equal(never_stopped[name], went_on[name])] == []


@pytest.mark.parametrize(("count", "status"), [("2", 0), ("1", -signal.SIGABRT)])
def test_one_of_several_processes_ends_before_anything_can_abort_it(count: str, status: int, tmp_path: Path) -> None:
    """As threads of torch's may, once in a while, while the interpreter cleans up."""
    code = "import atexit, os; from pixeltui.cli import run; atexit.register(os.abort); run()"
    command = [sys.executable, "-c", code, "--runs-dir", str(tmp_path), "runs", "list"]
    done = subprocess.run(command, env={**os.environ, "WORLD_SIZE": count}, capture_output=True, check=False)
    assert done.returncode == status
    assert done.stdout.startswith(b"no runs in")


def test_a_hang_up_of_torchrun_stops_with_a_checkpoint(start: Start, tmp_path: Path) -> None:
    """It hands the signal on, waits for half a minute, and kills."""
    two = start(*settings(*NEVER), "--name", "run")
    wait_for(lambda: len(losses(tmp_path)) >= 3, two)
    two.send_signal(signal.SIGHUP)
    output, _ = two.communicate(timeout=120)
    assert "stopped by SIGHUP at step" in output
    (saved,) = found(tmp_path, events.CheckpointSaved)
    assert saved.step == max(losses(tmp_path)) == found(tmp_path, events.StateChanged)[-1].step
    assert summarize(run_of(tmp_path).path).state == "stopped"


def test_a_hang_up_stops_processes_that_the_program_started_where_it_is_to(start: Start, tmp_path: Path) -> None:
    two = start(*settings(*NEVER), "--name", "run", "--on-hangup", "stop", through=True)
    wait_for(lambda: len(losses(tmp_path)) >= 3, two)
    two.send_signal(signal.SIGHUP)
    _, errors = two.communicate(timeout=120)
    assert two.returncode == 128 + signal.SIGHUP, errors
    (saved,) = found(tmp_path, events.CheckpointSaved)
    assert saved.step == max(losses(tmp_path))
    assert summarize(run_of(tmp_path).path).state == "stopped"


def test_a_checkpoint_asked_for_while_processes_start_does_not_end_them(start: Start, tmp_path: Path) -> None:
    two = start(*settings(*NEVER, "train.steps=4"), "--name", "run", through=True)
    wait_for(lambda: descendants(two.pid), two)
    assert not run_of(tmp_path).is_locked()
    two.send_signal(signal.SIGUSR1)
    _, errors = two.communicate(timeout=120)
    assert two.returncode == 0, errors
    assert summarize(run_of(tmp_path).path).state == "finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_waits_for_others_can_be_stopped(number: signal.Signals, tmp_path: Path, tiny_npz: Path) -> None:
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    words = ["--no-ui", "--runs-dir", str(tmp_path), "train", "--preset", "quick", *settings(f"data.name={tiny_npz}")]
    waits = subprocess.Popen([sys.executable, "-c", WAITS, *words], env={**os.environ, **alone}, stdout=subprocess.PIPE)
    assert waits.stdout is not None
    assert waits.stdout.readline() == b"waits\n"
    time.sleep(0.5)
    waits.send_signal(number)
    try:
        assert waits.wait(30) == -number
    finally:
        waits.kill()
        waits.communicate()
    assert list(tmp_path.glob("quick*")) == []


WAITS = """
import sys
from pixeltui.cli import main
from pixeltui.train import processes
meet = processes.rendezvous
def rendezvous(*arguments, **options):
    print("waits", flush=True)
    return meet(*arguments, **options)
processes.rendezvous = rendezvous
sys.exit(main())
"""


def test_the_end_of_another_process_before_training_is_told(tmp_path: Path) -> None:
    """Started as by srun: torchrun ends the others within a tenth of a second, maybe before they say a word."""
    with socket.create_server(("localhost", 0)) as free:
        two = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = ["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", "--preset", "quick", *settings()]
    command = [sys.executable, "-c", ENDS, *words]
    both = [
        subprocess.Popen(
            command, env={**os.environ, **two, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    try:
        _, errors = both[0].communicate(timeout=120)
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert both[0].returncode == 1
    assert "pixeltui: another of the run's processes has ended; its own last line says why" in errors
    assert "pixeltui: unexpected" not in errors


ENDS = """
import os, sys
from pixeltui.cli import main
from pixeltui.session import worker
if os.environ["RANK"] == "1":
    worker._load = lambda *_: os._exit(9)
sys.exit(main())
"""


def test_an_id_of_torchrun_that_is_used_again_leaves_the_run_before_alone(start: Start, tmp_path: Path) -> None:
    """The name is taken, so processes end and are started again: not to go on with what another job trained."""
    again = ("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--rdzv-id=large", "--max-restarts=1")
    words = [*settings("train.checkpoint_every=0", "train.eval_every=0"), "--name", "run"]
    first = start(*words, "--set", "train.steps=4", launcher=again)
    _, errors = first.communicate(timeout=240)
    assert first.returncode == 0, errors
    before = sorted(path.name for path in run_of(tmp_path).checkpoints_dir.iterdir())
    second = start(*words, "--set", "train.steps=8", "--set", "model.channels=16", launcher=again)
    _, errors = second.communicate(timeout=240)
    assert second.returncode == 1
    assert errors.count("there is a run 'run' already") == 2
    assert sorted(path.name for path in run_of(tmp_path).checkpoints_dir.iterdir()) == before
    assert len(found(tmp_path, events.Started)) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("sys.argv += ['--set', 'train.lr=0.5']", "process 1 was started with another train.lr than process 0"),
        ("pixeltui.__version__ = '0.0.0'", "process 1 was started with another pixeltui than process 0"),
        ("sys.argv += ['--set', 'data.name=digits']", "the data set digits of process 1 is not that of process 0"),
    ],
)
def test_processes_that_were_started_differently_are_refused(
    change: str, told: str, tmp_path: Path, tiny_npz: Path
) -> None:
    """As by hand on two machines: each would train another model, and nobody would notice."""
    script = tmp_path / "different.py"
    script.write_text(
        "import os, sys, pixeltui\n"
        f"if os.environ['RANK'] == '1': {change}\n"
        "from pixeltui.cli import main\n"
        "sys.exit(main())\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    words = ["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", *tiny_arguments(tiny_npz), *settings()]
    done = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.count(told) == 1
    assert not (tmp_path / "runs").exists()


def test_several_processes_name_the_folder_of_runs_where_one_would(tmp_path: Path, tiny_npz: Path) -> None:
    words = [*tiny_arguments(tiny_npz), *settings("train.steps=2", "sample.every=2"), "--name", "run"]
    command = [sys.executable, "-m", "pixeltui", "--no-ui", "train", "--processes", "2", *words]
    plain = {name: value for name, value in os.environ.items() if name != "PIXELTUI_RUNS_DIR"}
    done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.endswith("more of them: pixeltui sample run --show\n")


def test_a_process_that_dies_on_one_of_two_machines_is_started_again_on_both(start: Start, tmp_path: Path) -> None:
    """Each torchrun counts its own restarts: the one whose process died one, the other none."""
    with socket.create_server(("localhost", 0)) as free:
        where = f"--rdzv-endpoint=localhost:{free.getsockname()[1]}"
    several = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", where, "--rdzv-id=large", "--max-restarts=2")
    config = tmp_path / "mine.toml"
    config.write_text("train.steps = 120\ntrain.checkpoint_every = 5\ntrain.eval_every = 0\n")
    words = [*settings(), "--config", str(config), "--name", "run"]
    both = [start(*words, launcher=several) for _ in range(2)]
    wait_for(lambda: found(tmp_path, events.CheckpointSaved), both[0])
    config.write_text("train.steps = 5000\n")  # for the next run: this one keeps its own
    victim = next(pid for torchrun in both for pid in descendants(torchrun.pid) if b"RANK=1" in variables(pid))
    os.kill(victim, signal.SIGKILL)
    for torchrun in both:
        _, errors = torchrun.communicate(timeout=240)
        assert torchrun.returncode == 0, errors
    assert [event.resumed for event in found(tmp_path, events.Started)] == [False, True]
    assert found(tmp_path, events.Started)[1].step >= 5
    assert (summarize(run_of(tmp_path).path).state, max(losses(tmp_path))) == ("finished", 120)


def variables(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_processes_meet_in_a_store_that_remembers_those_before() -> None:
    store, wait = HashStore(), datetime.timedelta(seconds=30)

    def met(late: int) -> list[tuple[str, int]]:
        def arrive(rank: int) -> tuple[str, int]:
            time.sleep(0.3 * (rank == late))
            place, meetings = meet(store, rank, 3, wait)
            place.set(str(rank), "here")
            return place.get("0").decode(), meetings

        with ThreadPoolExecutor(3) as threads:
            return list(threads.map(arrive, range(3)))

    for before, late in enumerate((1, 0, 2)):
        all_ = met(late)
        assert [word for word, _ in all_] == ["here"] * 3
        assert all_[0][1] == before
    with pytest.raises(DistStoreError, match="not all 3 came"):
        meet(store, 1, 3, datetime.timedelta(seconds=0.2))
