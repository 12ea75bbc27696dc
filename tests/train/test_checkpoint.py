"""Checkpoint files bit by bit, and which of them a run goes on from."""

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

from pixeltui.errors import UserError
from pixeltui.store.header import DTYPE_BYTES, DamagedCheckpoint, read_header, tensor_checksum
from pixeltui.store.rundir import RunDir
from pixeltui.train import checkpoint as module
from pixeltui.train import checkpoint_store
from pixeltui.train.checkpoint import DTYPE_NAMES, CheckpointNotSaved, load, save
from pixeltui.train.checkpoint_store import CheckpointStore


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run", "", {})


def put(store: CheckpointStore, step: int, *, best: bool = False) -> Path:
    return store.save({"w": torch.full((3,), float(step))}, {"step": step}, step=step, best=best)


def forge(path: Path, entries: dict[str, Any], data: bytes = b"", *, tree: str = "{}", checksums: Any = None) -> Path:
    """A file whose checksums are right, whatever else is wrong with it."""
    right = {"": zlib.crc32(tree.encode())}
    for name, entry in entries.items():
        if isinstance(entry, dict) and "data_offsets" in entry:
            begin, end = entry["data_offsets"]
            right[name] = tensor_checksum(name, entry["dtype"], entry["shape"], data[begin:end])
    metadata = {"pixeltui": tree, "checksums": json.dumps(right if checksums is None else checksums)}
    header = json.dumps({**entries, "__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def place(begin: int, end: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_both_sides_know_the_same_types() -> None:
    assert set(DTYPE_NAMES.values()) == set(DTYPE_BYTES)
    assert all(torch.empty(1, dtype=dtype).element_size() == DTYPE_BYTES[name] for dtype, name in DTYPE_NAMES.items())


@pytest.mark.parametrize("dtype", DTYPE_NAMES, ids=str)
def test_every_type_and_shape_comes_back_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    original = {
        "scalar": torch.tensor(1).to(dtype),
        "empty": torch.zeros(0, 3).to(dtype),
        "matrix": torch.arange(6).reshape(2, 3).to(dtype),
        "ä\n\x1b": torch.ones(1).to(dtype),
    }
    save(tmp_path / "a", original, {})
    found = load(tmp_path / "a")[0]
    assert found.keys() == original.keys()
    for name, tensor in original.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor), name
    found["matrix"].zero_()
    assert torch.equal(found["scalar"], original["scalar"]), "each has memory of its own"


def test_a_forgery_that_is_whole_is_read(tmp_path: Path) -> None:
    path = forge(tmp_path / "a", {"w": place(0, 8, [2])}, b"\0" * 8)
    assert load(path)[0]["w"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "entries",
    [
        {"w": place(0, 8, [2], "F8_E4M3")},
        {"w": place(0, 8, [2], "__class__")},
        {"w": place(0, 8, [3])},
        {"w": place(0, 8, [-1, -2])},
        {"w": place(0, 8, [2.0])},
        {"w": place(0, 8, [True, 2])},
        {"w": place(0, 8, [1 << 64, 0])},
        {"w": place(0, 8, [1] * 100_000)},
        {"w": place(0, 8, [10**9] * 200_000)},
        {"w": place(4, 8, [1])},
        {"w": place(0, 4, [1])},
        {"v": place(0, 8, [2]), "w": place(0, 8, [2])},
        {"v": place(0, 8, [2]), "w": place(4, 8, [1])},
        {"w": place(0, 1 << 40, [1 << 38])},
        {"w": {"dtype": "F32", "shape": [2]}},
        {"w": []},
        {"w": None},
    ],
    ids=lambda entries: json.dumps(entries)[:50],
)
def test_a_header_that_cannot_be_true_is_damage(entries: dict[str, Any], tmp_path: Path) -> None:
    path = forge(tmp_path / "a", entries, b"\0" * 8)
    for read in (read_header, load):
        with pytest.raises(DamagedCheckpoint):
            read(path)


def test_the_checksums_cover_name_type_and_shape(tmp_path: Path) -> None:
    data = bytes(range(8))
    right = {"": zlib.crc32(b"{}"), "w": tensor_checksum("w", "F32", [2], data)}
    load(forge(tmp_path / "a", {"w": place(0, 8, [2])}, data, checksums=right))
    for changed in (place(0, 8, [1, 2]), place(0, 8, [2], "I32"), place(0, 8, [1], "F64")):
        with pytest.raises(DamagedCheckpoint, match="checksum of tensor w"):
            load(forge(tmp_path / "a", {"w": changed}, data, checksums=right))
    renamed = {**right, "v": right["w"]}
    del renamed["w"]
    with pytest.raises(DamagedCheckpoint, match="checksum of tensor v"):
        load(forge(tmp_path / "a", {"v": place(0, 8, [2])}, data, checksums=renamed))
    with pytest.raises(DamagedCheckpoint, match="do not match"):
        load(forge(tmp_path / "a", {"v": place(0, 8, [2])}, data, checksums=right))
    with pytest.raises(DamagedCheckpoint):
        load(forge(tmp_path / "a", {"w": place(0, 8, [2])}, data, checksums=[1]))


def test_one_that_is_replaced_while_it_is_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.safetensors"
    save(path, {"w": torch.zeros(9)}, {"n": 1})
    original = module.header_of

    def then_replaced(*arguments: Any) -> Any:
        header = original(*arguments)
        save(path, {"w": torch.ones(9)}, {"n": 2})
        return header

    monkeypatch.setattr(module, "header_of", then_replaced)
    found, tree = load(path)
    assert tree == {"n": 1}
    assert torch.equal(found["w"], torch.zeros(9))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_kind_of_pickle_is_named(protocol: int, tmp_path: Path) -> None:
    import pickle

    (tmp_path / "a").write_bytes(pickle.dumps([1] * 99, protocol=protocol))
    with pytest.raises(DamagedCheckpoint, match=r"can run code.*nothing was executed"):
        load(tmp_path / "a")


@pytest.mark.parametrize("dying_at", ["last", "best"])
def test_best_and_last_follow_the_newest_after_a_death_between_the_names(
    dying_at: str, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(run)
    put(store, 1, best=True)
    original = checkpoint_store._link

    def die(path: Path, name: Path) -> None:
        if name.stem == dying_at:
            raise KeyboardInterrupt
        original(path, name)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_store, "_link", die)
        with pytest.raises(KeyboardInterrupt):
            put(store, 2, best=True)
    assert load(store.find("best"))[1]["step"] == 1
    loaded = store.newest_whole()
    assert loaded is not None
    assert loaded[1] == {"step": 2}
    assert load(store.find("best"))[1]["step"] == 2
    assert load(store.find("last"))[1]["step"] == 2


def test_opening_does_not_make_the_newest_the_best(run: RunDir) -> None:
    store = CheckpointStore(run)
    put(store, 1, best=True)
    put(store, 2)
    store.newest_whole()
    assert load(store.find("best"))[1]["step"] == 1


def test_where_only_copies_are_possible_the_newest_is_found_by_its_step(run: RunDir, monkeypatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    store = CheckpointStore(run, keep=1)
    put(store, 1, best=True)
    put(store, 2)
    for path in run.checkpoints_dir.glob("step-*"):
        path.unlink()
    loaded = store.newest_whole()
    assert loaded is not None
    assert loaded[1]["step"] == 2
    (run.checkpoints_dir / "last.safetensors").write_bytes(b"damaged")
    loaded = store.newest_whole()
    assert loaded is not None
    assert loaded[1]["step"] == 1, "the best is there still"


def test_one_that_cannot_be_set_aside_is_passed_over(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    store = CheckpointStore(run, on_damaged=told.append)
    put(store, 1)
    put(store, 2).write_bytes(b"damaged")

    def read_only(*arguments: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "rename", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    loaded = store.newest_whole()
    assert loaded is not None
    assert loaded[1]["step"] == 1
    assert "step-00000002.safetensors is damaged" in told[0]
    assert "cannot be set aside: Read-only" in told[0]


def test_an_unreadable_disk_is_passed_over_too(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(run)
    put(store, 1)
    newest = put(store, 2)
    original = module.open_checkpoint

    def failing(path: Path) -> Any:
        if path == newest:
            raise UserError("Input/output error")
        return original(path)

    monkeypatch.setattr(module, "open_checkpoint", failing)
    loaded = store.newest_whole()
    assert loaded is not None
    assert loaded[1]["step"] == 1
    assert newest.exists(), "it may be readable again"


def test_why_it_was_not_saved(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = CheckpointStore(run)
    put(store, 1)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointNotSaved) as caught:
        put(store, 2)
    assert caught.value.reason == "No space left on device"
    assert sorted(path.name for path in run.checkpoints_dir.iterdir()) == [
        "last.safetensors",
        "step-00000001.safetensors",
    ]


def test_others_may_read_a_checkpoint(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save(tmp_path / "a", {"w": torch.ones(1)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_what_safetensors_left_in_a_kill_is_removed(run: RunDir) -> None:
    store = CheckpointStore(run)
    put(store, 1)
    (run.checkpoints_dir / ".tmpOqQGSq").write_bytes(b"x" * 99)
    store.newest_whole()
    assert not list(run.checkpoints_dir.glob(".tmp*"))
