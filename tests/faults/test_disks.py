"""Disks that are full, read-only or cut off: real mounts where these can be made."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.cli import main
from pixeltui.store.log import decode_lines
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.store.view import RunView
from pixeltui.train.checkpoint import load
from pixeltui.train.checkpoint_store import CheckpointStore

SECONDS = 60.0
LONG = ("train.steps=100000", "train.checkpoint_every=5", "train.eval_every=0", "sample.every=10")


def wait_for(met: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sets(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def step(run: RunDir) -> int:
    return RunView().fold(run.read_events()[0]).step if run.path.exists() else 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_disk_that_fills_up_in_mid_run_and_is_freed(small_disk: Path, tiny_npz: Path, tmp_path: Path) -> None:
    run, output, errors = RunDir(small_disk / "run"), tmp_path / "output", tmp_path / "errors"
    command = [sys.executable, "-m", "pixeltui", "--no-ui", "--runs-dir", str(small_disk), "train"]
    command += [*tiny_arguments(tiny_npz), *sets(*LONG), "--name", "run"]
    with output.open("w") as out, errors.open("w") as err, subprocess.Popen(command, stdout=out, stderr=err) as process:
        try:
            wait_for(lambda: CheckpointStore(run).steps())
            fill = small_disk / "fill"
            with fill.open("wb") as file:  # to the last page
                try:
                    while True:
                        os.write(file.fileno(), bytes(4096))
                except OSError:
                    pass
            wait_for(lambda: "could not be written" in output.read_text() and "cannot be written" in errors.read_text())
            assert process.poll() is None, "training goes on"
            kept = next(iter(CheckpointStore(run).steps()))
            assert load(run.checkpoints_dir / "last.safetensors")[1]["step"] == kept, "the last good one is whole"
            assert summarize(run.path).state == "training"
            fill.unlink()
            wait_for(lambda: next(iter(CheckpointStore(run).steps())) > kept + 5)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=SECONDS)
        finally:
            process.kill()
    told = output.read_text()
    assert process.returncode == 128 + signal.SIGTERM, (told, errors.read_text())
    assert "tries again" in told
    assert "No space left" in told
    assert "events.jsonl cannot be written: No space left on device; its lines are kept" in errors.read_text()
    found, skipped = run.read_events()
    view = RunView().fold(found)
    assert skipped == 0
    assert [event.step for event in view.steps] == list(range(1, view.step + 1)), "no line was lost"
    assert "No space left" in run.log_path.read_text(), "what could not be written is told in the log as well"
    assert not list(run.path.rglob(".tmp*"))


def test_a_stop_on_a_disk_that_stays_full_says_what_is_left(
    small_disk: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    run = RunDir(small_disk / "run")
    words = [*tiny_arguments(tiny_npz), *sets(*LONG, "train.steps=9", "log.every=3", "sample.every=0")]
    monkeypatch.setattr("pixeltui.train.saving.LAST_SAVE_SECONDS", (0.0, 0.0))
    original = CheckpointStore.save

    def fill_after_the_first(self: CheckpointStore, *args: object, **options: object) -> Path:
        path = original(self, *args, **options)  # type: ignore[arg-type]
        size = os.statvfs(small_disk)
        (small_disk / "fill").write_bytes(bytes(size.f_bavail * size.f_frsize))
        return path

    monkeypatch.setattr(CheckpointStore, "save", fill_after_the_first)
    assert main(["--no-ui", "--runs-dir", str(small_disk), "train", *words, "--name", "run"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the last checkpoint could not be written: make room" in error
    assert "the last good checkpoint is that of step 5" in error
    (small_disk / "fill").unlink()
    monkeypatch.setattr(CheckpointStore, "save", original)
    assert main(["--no-ui", "--runs-dir", str(small_disk), "train", "--resume", "run"]) == 0
    assert summarize(run.path).state == "finished"


def test_a_run_on_a_read_only_mount_is_read_and_not_trained(small_disk: Path, tiny_npz: Path, capsys) -> None:
    words = [*tiny_arguments(tiny_npz), *sets("train.steps=4")]
    common = ["--no-ui", "--runs-dir", str(small_disk)]
    assert main([*common, "train", *words, "--name", "run"]) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (["runs", "list"], ["runs", "show", "run"], ["eval", "run", "--json"]):
        assert main([*common, *command]) == 0
    for command in (
        ["train", "--resume", "run", "--set", "train.steps=6"],
        ["train", *words, "--name", "other"],
        ["runs", "tag", "run", "x"],
        ["runs", "rename", "run", "other"],
        ["runs", "delete", "run", "--yes"],
        ["sample", "run", "-n", "1", "--out", str(small_disk / "a.png")],
        ["runs", "export", "run", "--out", str(small_disk / "a.safetensors")],
    ):
        capsys.readouterr()
        assert main([*common, *command]) == 1
        error = capsys.readouterr().err
        assert "Read-only file system" in error
        assert "unexpected" not in error
        assert error.count("\n") == 1


def test_after_a_power_cut_the_log_has_every_step_behind_the_checkpoint(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file system keeps for certain is what was fsynced: of the log, all steps up to each checkpoint's."""
    run, durable, behind = RunDir(tmp_path / "runs" / "run"), [b""], []
    sync, replace = os.fsync, Path.replace

    def note(handle: int) -> None:
        sync(handle)
        if run.events_path.exists() and os.path.samestat(os.fstat(handle), run.events_path.stat()):
            durable[0] = run.events_path.read_bytes()

    def commit(self: Path, target: Path) -> Path:
        if target.name.startswith("step-"):
            steps = [e.step for e in decode_lines(durable[0].split(b"\n")) if isinstance(e, events.Step)]
            behind.append((int(target.name[5:13]), steps))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Path, "replace", commit)
    assert tiny_train(*sets("train.steps=6", "train.checkpoint_every=2", "sample.every=0"), "--name", "run") == 0
    assert {saved for saved, _ in behind} == {2, 4, 6}
    for saved, steps in behind:
        assert set(range(1, saved + 1)) <= set(steps)
