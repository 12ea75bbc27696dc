"""Links in a run directory, and files of other users: nothing is written, deleted or obeyed behind them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pixeltui import events
from pixeltui.cli import main
from pixeltui.errors import UserError
from pixeltui.session import worker
from pixeltui.session.watchdog import stacks_on_request
from pixeltui.store import control
from pixeltui.store.files import own_folder, remove_leftovers
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.train.checkpoint_store import CheckpointStore


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Someone else's folder, with names that a run has too."""
    folder = tmp_path / "others"
    folder.mkdir()
    for name in ("step-00000006.png", "step-00000006.json", ".tmp-0123456789abcdef", "diary.txt", "stop.json"):
        (folder / name).write_text("mine")
        os.utime(folder / name, (1.0, 1.0))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def link(path: Path, target: Path) -> None:
    for inner in path.iterdir() if path.is_dir() else ():
        inner.unlink()
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def test_a_resumed_run_whose_folders_and_logs_are_links_writes_nothing_behind_them(
    tiny_train: Callable[..., int], tmp_path: Path, others: Path, capsys
) -> None:
    pytest.importorskip("tensorboard")
    assert tiny_train("--set", "train.steps=4", "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    before = contents(others)
    run.tensorboard_dir.mkdir()
    for folder in (run.samples_dir, run.control_dir, run.tensorboard_dir):
        link(folder, others)
    link(run.log_path, others / "diary.txt")
    words = ["train", "--resume", "run", "--set", "train.steps=6", "--set", "sample.every=2"]
    words += ["--set", "log.tensorboard=true"]
    assert main(["--no-ui", "--runs-dir", str(run.path.parent), *words]) == 0
    assert contents(others) == before
    output = capsys.readouterr()
    assert "samples of step 6 could not be written: samples/ is a link" in output.out
    assert "tensorboard/ cannot be written: tensorboard/ is a link" in output.err
    assert summarize(run.path).state == "finished"
    with pytest.raises(UserError, match="control/ is a link"):
        control.post(run.control_dir, events.Pause())
    with stacks_on_request(run.log_path) as write:
        write()
    assert contents(others) == before


def test_a_sheet_that_is_a_link_is_replaced_and_what_it_leads_to_stays(
    tiny_train: Callable[..., int], tmp_path: Path, others: Path
) -> None:
    assert tiny_train("--set", "train.steps=4", "--name", "run") == 0
    run, before = RunDir(tmp_path / "runs" / "run"), contents(others)
    for name in ("step-00000006.png", "step-00000006.json"):
        link(run.samples_dir / name, others / name)
    words = ["train", "--resume", "run", "--set", "train.steps=6", "--set", "sample.every=2"]
    assert main(["--no-ui", "--runs-dir", str(run.path.parent), *words]) == 0
    assert contents(others) == before
    assert (run.samples_dir / "step-00000006.png").read_bytes().startswith(b"\x89PNG")


def test_why_training_ended_is_not_appended_behind_a_link(
    tiny_train: Callable[..., int], tmp_path: Path, others: Path
) -> None:
    """What nobody expected is written with its traceback, not by the Recorder."""
    assert tiny_train("--set", "train.steps=4", "--name", "run") == 0
    run, before = RunDir(tmp_path / "runs" / "run"), contents(others)
    link(run.log_path, others / "diary.txt")
    with pytest.raises(ZeroDivisionError), worker._errors_in_log(run):
        raise ZeroDivisionError("something broke")
    assert contents(others) == before
    run.log_path.unlink()
    with pytest.raises(ZeroDivisionError), worker._errors_in_log(run):
        raise ZeroDivisionError("something broke")
    assert "test_links.py" in run.log_path.read_text()


def test_temporary_files_are_removed_from_the_run_once_they_are_old(
    tiny_train: Callable[..., int], tmp_path: Path, others: Path
) -> None:
    assert tiny_train("--set", "train.steps=2", "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    folders = (run.path, run.samples_dir, run.control_dir)
    for folder in folders:
        for name, age in ((".tmp-0123456789abcdef", 1.0), (".tmp-fedcba9876543210", None)):
            (folder / name).write_text("half")
            if age is not None:
                os.utime(folder / name, (age, age))
    assert main(["--no-ui", "--runs-dir", str(run.path.parent), "train", "--resume", "run"]) == 0
    left = [path.name for folder in folders for path in folder.glob(".tmp*")]
    assert left == [".tmp-fedcba9876543210"] * 3, "one that is being written now is another process's"
    before = contents(others)
    link(run.samples_dir, others)
    remove_leftovers(run.samples_dir)
    assert contents(others) == before
    with pytest.raises(OSError, match="is a link"):
        own_folder(run.samples_dir)


def test_commands_of_other_users_are_refused(tmp_path: Path) -> None:
    """As one who may give files away can test it: root."""
    if os.getuid() != 0:
        pytest.skip("only root can give a file to another user")
    folder = tmp_path / "control"
    folder.mkdir()
    stranger, owner = 54321, 54322
    for number, uid in enumerate((stranger, owner, 0)):
        path = folder / f"{number}.json"
        path.write_text('{"command":"pause"}')
        os.chown(path, uid, uid)
    os.chown(folder, owner, owner)
    assert [name for name, _ in control.take(folder)] == ["1", "2"], "the folder's owner's and root's"
    assert list(folder.iterdir()) == [], "the stranger's is removed unread"


def test_the_checkpoint_just_saved_is_not_pruned_for_a_later_one_that_is_damaged(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "run", "", {})
    (run.checkpoints_dir / "step-00000009.safetensors").write_text("not from this run")
    store = CheckpointStore(run, keep=1)
    assert store.save({"w": torch.ones(2)}, {}, step=3).exists()


def test_a_run_with_links_in_it_is_moved_to_the_trash_whole(
    tiny_train: Callable[..., int], tmp_path: Path, others: Path
) -> None:
    assert tiny_train("--set", "train.steps=2", "--name", "run") == 0
    run, before = RunDir(tmp_path / "runs" / "run"), contents(others)
    link(run.samples_dir, others)
    (run.path / "home").symlink_to("/")
    assert main(["--runs-dir", str(run.path.parent), "runs", "delete", "run", "--yes"]) == 0
    assert contents(others) == before
    assert (run.path.parent / ".trash" / "run" / "samples").is_symlink()


def test_a_resume_does_not_wait_for_a_config_that_is_a_pipe(
    tiny_train: Callable[..., int], tmp_path: Path, capsys
) -> None:
    assert tiny_train("--set", "train.steps=2", "--name", "run") == 0
    run = RunDir(tmp_path / "runs" / "run")
    run.config_path.unlink()
    os.mkfifo(run.config_path)
    capsys.readouterr()
    assert main(["--no-ui", "--runs-dir", str(run.path.parent), "train", "--resume", "run"]) == 1
    assert "run run is damaged: config.toml" in capsys.readouterr().err
