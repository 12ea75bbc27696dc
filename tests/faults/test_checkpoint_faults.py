"""Checkpoints that were cut, flipped, forged or never finished."""

import errno
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixeltui.errors import UserError
from pixeltui.store.header import DamagedCheckpoint, read_header
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.train.checkpoint import CheckpointNotSaved, load, save
from pixeltui.train.checkpoint_store import CheckpointStore

TREE = {"schema": 1, "step": 3, "progress": {"best_bits_per_dim": 1.5}, "text": "ä\x1b"}


def tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {
        "model/weight": torch.full((2, 3), value),
        "model/half": torch.tensor([value, -0.0, float("inf")], dtype=torch.bfloat16),
        "model/empty": torch.zeros(0, 4),
        "optimizer/0/step": torch.tensor(7.0),
        "metrics/count": torch.tensor([1, -5]),
        "flags": torch.tensor([True, False]),
    }


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run", "", {"preset": "quick", "data": {"name": "x"}})


def checkpoint(run: RunDir, step: int, *, best: bool = False, keep: int = 3) -> Path:
    tree = {**TREE, "step": step}
    return CheckpointStore(run, keep=keep).save(tensors(float(step)), tree, step=step, best=best)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def newest_step(run: RunDir, messages: list[str] | None = None) -> int | None:
    store = CheckpointStore(run, on_damaged=(messages if messages is not None else []).append)
    loaded = store.newest_whole()
    return None if loaded is None else loaded[1]["step"]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    shared = torch.arange(12.0).reshape(3, 4)
    original = {**tensors(), "turned": shared.T, "part": shared[1:]}
    save(path, original, TREE)
    found, tree = load(path)
    assert tree == TREE
    assert_equal(found, original)
    assert read_header(path)[1] == TREE


def test_every_single_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, {"w": torch.arange(4.0)}, {"step": 1})
    whole = path.read_bytes()
    for position in range(len(whole) * 8):
        content = bytearray(whole)
        content[position // 8] ^= 1 << position % 8
        path.write_bytes(bytes(content))
        try:
            found, tree = load(path)
        except DamagedCheckpoint:
            continue
        # White space that pads the header, and the spelling of a letter as an escape, carry nothing.
        assert tree == {"step": 1}, position
        assert torch.equal(found["w"], torch.arange(4.0)), position
        assert position // 8 < len(whole) - 16, "a bit of the tensors"


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, {"w": torch.arange(4.0)}, {"step": 1})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpoint):
            load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedCheckpoint):
        load(path)


class Bomb:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("how", ["torch.save", "pickle", "old pickle"])
def test_a_checkpoint_made_to_run_code_is_refused(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.safetensors"
    if how == "torch.save":
        torch.save({"w": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(), protocol=4 if how == "pickle" else 0))
    with pytest.raises(DamagedCheckpoint):
        load(path)
    assert not (tmp_path / "exploded").exists()
    if how != "old pickle":
        with pytest.raises(DamagedCheckpoint, match="nothing was executed"):
            load(path)


def test_claims_of_size_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for length in (2**63, 2**40, 16 << 20, 0, 1):
        path.write_bytes(length.to_bytes(8, "little") + b"{}" * 50)
        with pytest.raises(DamagedCheckpoint):
            read_header(path)
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    with pytest.raises(DamagedCheckpoint):
        read_header(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError):
        read_header(path)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_no_bytes_break_the_header_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    for prefix in (b"", len(content).to_bytes(8, "little")):
        path.write_bytes(prefix + content)
        with pytest.raises(DamagedCheckpoint):
            load(path)


def test_a_damaged_newest_is_named_set_aside_and_the_one_before_is_used(run: RunDir) -> None:
    checkpoint(run, 1)
    checkpoint(run, 2)
    damage(run.checkpoints_dir / "last.safetensors")
    messages: list[str] = []
    assert newest_step(run, messages) == 1
    assert len(messages) == 1
    assert "step-00000002.safetensors" in messages[0]
    assert "set aside" in messages[0]
    assert (run.checkpoints_dir / "step-00000002.safetensors.damaged").exists()
    assert newest_step(run) == 1


def test_what_is_used_is_said_of_what_was_read_whole(run: RunDir) -> None:
    for step in (1, 2, 3):
        checkpoint(run, step, best=step == 3)
    for name in ("best", "last"):
        path = run.checkpoints_dir / f"{name}.safetensors"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    for name in ("best", "last", "step-00000003"):
        damage(run.checkpoints_dir / f"{name}.safetensors")
    messages: list[str] = []
    path, (_, tree) = CheckpointStore(run, on_damaged=messages.append).read("best")
    assert (path.name, tree["step"]) == ("step-00000002.safetensors", 2)
    assert [m.partition(" is ")[0].rpartition("/")[2] for m in messages] == [
        "best.safetensors",
        "step-00000003.safetensors",
        "last.safetensors",
        "step-00000002.safetensors",
    ]
    assert messages[-1] == "step-00000002.safetensors is used in place of the damaged best.safetensors"
    assert "is used" not in "".join(messages[:-1])


def test_where_links_are_not_possible_copies_serve(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    checkpoint(run, 1)
    checkpoint(run, 2, best=True)
    damage(run.checkpoints_dir / "last.safetensors")
    assert newest_step(run) == 2, "its copy under the other name is whole"


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_damaged_copy_is_named_and_set_aside_though_a_step_is_whole(run: RunDir, name: str) -> None:
    """As after `cp -r`, which makes files of links."""
    checkpoint(run, 1, best=True)
    checkpoint(run, 2)
    path = run.checkpoints_dir / f"{name}.safetensors"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    messages: list[str] = []
    assert newest_step(run, messages) == 2
    (message,) = messages
    assert path.name in message
    assert "set aside" in message
    assert path.with_name(f"{path.name}.damaged").exists()
    assert (run.checkpoints_dir / "last.safetensors").samefile(run.checkpoints_dir / "step-00000002.safetensors")


def test_all_damaged_is_refused_and_never_is_a_start(run: RunDir) -> None:
    assert newest_step(run) is None, "a run that never saved starts at the beginning"
    for step in (1, 2):
        checkpoint(run, step)
    for path in run.checkpoints_dir.glob("step-*.safetensors"):
        damage(path)
    for _ in range(2):
        with pytest.raises(UserError, match="every checkpoint of run run is damaged"):
            newest_step(run)


def test_pruning_keeps_the_newest_and_the_best(run: RunDir) -> None:
    for step in range(1, 8):
        checkpoint(run, step, best=step == 2, keep=2)
    kept = sorted(path.name for path in run.checkpoints_dir.iterdir())
    assert kept == [
        "best.safetensors",
        "last.safetensors",
        "step-00000002.safetensors",
        "step-00000006.safetensors",
        "step-00000007.safetensors",
    ]
    store = CheckpointStore(run)
    assert load(store.find("best"))[1]["step"] == 2
    assert load(store.find("last"))[1]["step"] == 7
    assert load(store.find("6"))[1]["step"] == 6
    with pytest.raises(UserError, match=r"no checkpoint '66'.*did you mean '6'"):
        store.find("66")


class Death(BaseException):
    """The process ends here: nothing that follows is run, no clean-up either."""


CALLS = ("open", "fsync", "replace", "rename", "link", "unlink", "close")


def test_death_before_each_file_system_call_of_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call a save dies before, the run lists and opens, and its newest whole checkpoint is old or new."""
    outcomes = set()
    for deadline in range(200):
        run = RunDir.create(tmp_path, f"run-{deadline}", "", {"preset": "quick", "data": {"name": "x"}})
        checkpoint(run, 1, best=True)
        checkpoint(run, 2)
        finished = die_before_call(deadline, lambda run=run: checkpoint(run, 3, best=True, keep=1), monkeypatch)
        assert summarize(run.path).name == run.name
        assert RunDir.open(run.path).meta()["preset"] == "quick"
        step = newest_step(run)
        assert step in (2, 3), deadline
        outcomes.add(step)
        assert load(CheckpointStore(run).find("best"))[1]["step"] in (1, 3), deadline
        checkpoint(run, 4)
        assert newest_step(run) == 4
        if finished:
            break
    assert finished
    assert deadline > 8, "the calls were counted"
    assert outcomes == {2, 3}


def die_before_call(deadline: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs the work; from the given call on, every one fails as if the process were gone. Whether it ended well."""
    count = 0

    def counted(original: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count > deadline:
                raise Death
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        except Death:
            return False
    return True


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A real limit on the size of files, in a process of its own."""
    code = f"""
import resource, signal, sys, torch
from pathlib import Path
from pixeltui.store.rundir import RunDir
from pixeltui.train.checkpoint import CheckpointNotSaved
from pixeltui.train.checkpoint_store import CheckpointStore
run = RunDir.create(Path({str(tmp_path)!r}), "run", "", {{}})
store = CheckpointStore(run)
store.save({{"w": torch.ones(10)}}, {{"step": 1}}, step=1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    store.save({{"w": torch.ones(100_000)}}, {{"step": 2}}, step=2)
except CheckpointNotSaved as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.newest_whole()[1], sorted(p.name for p in run.checkpoints_dir.iterdir()))
store.save({{"w": torch.ones(100_000)}}, {{"step": 2}}, step=2)
print(store.newest_whole()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    refused, after, again = done.stdout.splitlines()
    assert refused.startswith("refused: checkpoint step-00000002.safetensors could not be written")
    assert refused.endswith(": File too large"), "the system's words, and not those around them"
    assert after == "{'step': 1} ['last.safetensors', 'step-00000001.safetensors']"
    assert again == "{'step': 2}"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_folder_that_cannot_be_written_is_not_saved(run: RunDir) -> None:
    run.checkpoints_dir.rmdir()
    run.checkpoints_dir.write_text("in the way")
    with pytest.raises(CheckpointNotSaved, match="could not be written"):
        checkpoint(run, 1)
