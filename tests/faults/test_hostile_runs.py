"""Run directories from strangers: nothing hangs, nothing outside them is read without end, written or deleted."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from pixeltui import events
from pixeltui.cli import main
from pixeltui.errors import UserError
from pixeltui.session.recorder import Recorder
from pixeltui.store import control
from pixeltui.store.files import Lock, is_locked
from pixeltui.store.header import DamagedCheckpoint
from pixeltui.store.rundir import RunDir, find_run
from pixeltui.store.summary import list_runs, summarize
from pixeltui.train.checkpoint import CheckpointNotSaved, load
from pixeltui.train.checkpoint_store import CheckpointStore


class Hang(BaseException):
    """Not an OSError, as TimeoutError is: nothing that expects a broken disk takes it for one."""


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path / "runs", "run", "", {"preset": "quick", "data": {"name": "x"}})
    recorder = Recorder(run)
    recorder.emit(
        events.Started(t=1.0, step=0, total_steps=9, steps_per_epoch=3, parameters=1, device="cpu", precision="fp32")
    )
    recorder.close()
    return run


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder that is none of the run's business, with files that look like its own."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    (folder / ".tmp-mine").write_text("mine")
    (folder / "stop.json").write_text('{"command":"stop"}')
    for step in range(1, 6):
        (folder / f"step-{step:08d}.safetensors").write_text("mine")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def replace(path: Path, kind: str) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "loop"])
@pytest.mark.parametrize(
    "name", ["meta.json", "events.jsonl", "config.toml", "lock", "log.txt", "control", "checkpoints"]
)
def test_whatever_lies_in_place_of_a_file_nothing_hangs(name: str, kind: str, run: RunDir, capsys) -> None:
    replace(run.path / name, kind)
    runs = ["--runs-dir", str(run.path.parent), "runs"]
    assert [found.name for found in list_runs(run.path.parent)] == ["run"]
    assert main([*runs, "list", "--json"]) == 0
    assert main([*runs, "show", "run"]) in (0, 1)
    is_locked(run.path)
    run.read_events()
    assert control.take(run.control_dir) == []
    recorder = Recorder(run)
    recorder.emit(events.Notice(t=1.0, level="info", kind="x", message="m"))
    recorder.close()
    store = CheckpointStore(run)
    for use in (store.newest_whole, lambda: store.find("best"), lambda: Lock.acquire(run.path).release()):
        try:
            use()
        except UserError as error:
            assert "\n" not in str(error)
    assert main([*runs, "delete", "run", "--yes"]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err


def test_a_control_folder_that_is_a_link_obeys_and_empties_nothing(run: RunDir, documents: Path) -> None:
    before = contents(documents)
    run.control_dir.rmdir()
    run.control_dir.symlink_to(documents)
    assert control.take(run.control_dir) == []
    assert control.discard(run.control_dir) == 0
    assert contents(documents) == before


def test_checkpoints_that_are_a_link_are_neither_pruned_nor_renamed_nor_replaced(run: RunDir, documents: Path) -> None:
    before = contents(documents)
    run.checkpoints_dir.rmdir()
    run.checkpoints_dir.symlink_to(documents)
    store = CheckpointStore(run, keep=1)
    with pytest.raises(UserError, match=r"checkpoints/ is a link"):
        store.newest_whole()
    with pytest.raises(CheckpointNotSaved, match=r"checkpoints/ is a link"):
        store.save({"w": torch.ones(2)}, {}, step=9)
    assert store.best_whole() is None
    assert contents(documents) == before


def test_checkpoints_that_are_links_are_set_aside_without_what_they_lead_to(run: RunDir, documents: Path) -> None:
    before = contents(documents)
    store = CheckpointStore(run, keep=1)
    for step in (1, 2):
        store.save({"w": torch.ones(2)}, {"step": step}, step=step)
    for name in ("step-00000007", "step-00000008", "best"):
        (run.checkpoints_dir / f"{name}.safetensors").symlink_to(documents / "step-00000001.safetensors")
    (run.checkpoints_dir / "step-00000009.safetensors").symlink_to(documents / "nowhere")
    told: list[str] = []
    loaded = CheckpointStore(run, on_damaged=told.append).newest_whole()
    assert loaded is not None
    assert loaded[1]["step"] == 2
    assert len(told) == 2, "the one that leads nowhere, and the three names of one damaged file"
    store.save({"w": torch.ones(2)}, {}, step=10, best=True)
    assert contents(documents) == before


def test_a_best_checkpoint_that_is_damaged_is_set_aside_inside_the_run(run: RunDir, documents: Path) -> None:
    before = contents(documents)
    (run.checkpoints_dir / "best.safetensors").symlink_to(documents / "step-00000001.safetensors")
    assert CheckpointStore(run).best_whole() is None
    assert contents(documents) == before


def test_a_folder_that_is_no_run_can_be_deleted_by_its_name_alone(tmp_path: Path, documents: Path, capsys) -> None:
    runs = tmp_path / "runs"
    (runs / "half").mkdir(parents=True)
    (runs / "link").symlink_to(documents)
    before = contents(documents)
    command = ["--runs-dir", str(runs), "runs", "delete", "--yes"]
    assert main([*command, "half"]) == 0
    assert main([*command, "link"]) == 0, "the link goes, what it leads to stays"
    assert list_runs(runs) == []
    assert main([*command, str(documents)]) == 1, "a path must be that of a run"
    assert contents(documents) == before
    with pytest.raises(UserError):
        find_run(runs, str(documents), even_damaged=True)


def test_a_run_that_is_a_link_is_not_followed_by_delete_while_it_trains(run: RunDir, tmp_path: Path) -> None:
    link = tmp_path / "others"
    link.mkdir()
    (link / "alias").symlink_to(run.path)
    with Lock.acquire(run.path), pytest.raises(UserError, match="is training"):
        find_run(link, "alias", even_damaged=True).delete()
    assert (link / "alias").is_symlink()


def test_command_files_with_names_that_are_no_text(run: RunDir) -> None:
    name = os.fsencode(run.control_dir) + b"/\xff\x1b[31m.json"
    Path(os.fsdecode(name)).write_bytes(b'{"command":"pause"}')
    [(command_id, command)] = control.take(run.control_dir)
    assert command == events.Pause()
    assert command_id.isprintable()
    recorder = Recorder(run)
    recorder.emit(events.Acknowledged(t=1.0, id=command_id, command="pause", ok=True))
    recorder.close()
    assert any(isinstance(event, events.Acknowledged) for event in run.read_events()[0])


def test_commands_for_a_process_that_died_can_be_discarded(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_AT_ONCE", 3)
    for _ in range(control.MOST_AT_ONCE + 5):
        control.post(run.control_dir, events.Stop())
    assert len(control.take(run.control_dir)) == control.MOST_AT_ONCE, "a flood is taken in portions"
    assert control.discard(run.control_dir) == 5
    assert control.take(run.control_dir) == []


def test_a_command_that_cannot_be_left_is_one_line(run: RunDir) -> None:
    run.control_dir.rmdir()
    with pytest.raises(UserError, match="no command can be left"):
        control.post(run.control_dir, events.Pause())


META = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(
    meta=st.dictionaries(st.sampled_from(["schema", "data", "tags", "created", "preset", "note"]), META),
    log=st.binary(max_size=200),
    as_json=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_no_run_directory_breaks_the_list(
    tmp_path_factory: pytest.TempPathFactory, meta: dict, log: bytes, as_json: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-runs" / "run"
    path.mkdir(parents=True, exist_ok=True)
    (path / "meta.json").write_bytes(json.dumps({"schema": 1, **meta}).encode() if as_json else log)
    (path / "events.jsonl").write_bytes(log)
    (path / "config.toml").touch()
    found = summarize(path)
    assert found.name == "run"
    if not as_json:
        return
    try:
        RunDir.open(path)
    except UserError:
        assert found.state == "damaged"


def test_a_run_made_twice_at_the_same_instant_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = RunDir.create(tmp_path, "a", "", {"n": 1})
    looks = iter([False])
    original = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: next(looks, None) is None and original(path))
    with pytest.raises(UserError, match="already"):
        RunDir.create(tmp_path, "a", "", {"n": 2})
    assert first.meta()["n"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "what was built for the second is gone"


def test_a_sparse_file_of_a_terabyte_is_refused_unread(run: RunDir) -> None:
    path = CheckpointStore(run).save({"w": torch.ones(2)}, {}, step=1)
    for length in (1 << 62, 16 << 20):
        with path.open("r+b") as file:
            file.write(length.to_bytes(8, "little"))
            file.truncate(1 << 40)
        with pytest.raises(DamagedCheckpoint):
            load(path)


def test_halves_of_characters_in_names_tags_and_paths(tmp_path: Path, capsys) -> None:
    odd = "half \udcff"
    run = RunDir.create(tmp_path, "a", "", {"preset": odd, "data": {"name": odd}, "tags": [odd], "command": odd})
    assert run.meta()["command"] == odd
    (tmp_path / "b\udcff").mkdir()
    assert {found.state for found in list_runs(tmp_path)} == {"crashed", "damaged"}
    for words in (["list"], ["list", "--json"]):
        assert main(["--runs-dir", str(tmp_path), "runs", *words]) == 0
    with pytest.raises(UserError, match="no UTF-8"):
        RunDir.create(tmp_path, "c", f"name = '{odd}'", {})
    assert not list(tmp_path.glob(".tmp*"))


def test_an_export_that_does_not_fit_is_one_line_and_leaves_nothing(
    tiny_train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """safetensors has an exception of its own for a full disk."""
    assert tiny_train("--set", "train.steps=1", "--name", "run") == 0
    out = tmp_path / "out"
    out.mkdir()

    def full(*arguments: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("pixeltui.train.export.save_file", full)
    capsys.readouterr()
    export = ["runs", "export", "run", "--out", str(out / "a.safetensors")]
    assert main(["--runs-dir", str(tmp_path / "runs"), *export]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"pixeltui: {out / 'a.safetensors'} could not be written: I/O error")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"versions": "x", "git": 3},
        {"overrides": None},
        {"overrides": [1], "tags": [None]},
        {"overrides": {"a": 1}, "tags": "x"},
        {"tags": None},
        {"data": None},
        {"data": {"name": "x", "classes": None, "images": [], "image_shape": 3}},
    ],
    ids=str,
)
def test_odd_values_in_meta_are_passed_over(odd: dict, runs_copy: Path, tmp_path: Path, capsys) -> None:
    run = RunDir(runs_copy / "done")
    shutil.copytree(run.path, runs_copy / "other")
    run.meta_path.write_text(json.dumps({**run.meta(), **odd}))
    for command in (
        ["list"],
        ["show", "done"],
        ["show", "done", "--json"],
        ["compare", "done", "other"],
        ["tag", "done", "good"],
        ["export", "done", "--out", str(tmp_path / "a.safetensors")],
    ):
        assert main(["--runs-dir", str(runs_copy), "runs", *command]) == 0
    assert main(["--runs-dir", str(runs_copy), "report", "done", "--out", str(tmp_path / "a.html")]) == 0
    assert main(["--runs-dir", str(runs_copy), "report", "done", "other", "--out", str(tmp_path / "b.html")]) == 0
    assert "good" in run.meta()["tags"]
    assert "unexpected" not in capsys.readouterr().err


def test_a_run_whose_name_is_no_text_is_exported_with_its_card(
    runs_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs_copy / "done").rename(runs_copy / os.fsdecode(b"bad\xff"))
    monkeypatch.chdir(runs_copy)
    assert main(["--runs-dir", str(runs_copy), "runs", "export", "bad"]) == 0
    card = next(runs_copy.glob("bad*.md"))
    assert card.with_suffix(".safetensors").exists()
    assert "# bad?" in card.read_text()
