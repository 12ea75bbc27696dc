"""Samples in progress on their way to another process: whole or not at all, bounded, sound, gone in the end."""

import os
from pathlib import Path

import msgspec
import pytest

from pixeltui.events import Frame
from pixeltui.store import frames
from pixeltui.store.frames import FrameReader, FrameWriter


def frame(rows: int = 1, **changes: object) -> Frame:
    fields = dict(step=3, rows_done=rows, levels=4, shape=(2, 1, 3, 2), pixels=bytes(range(12)), labels=("a", "b"))
    return Frame(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "frame.msgpack"


def test_what_is_written_is_read_once(path: Path) -> None:
    writer, reader = FrameWriter(path), FrameReader(path)
    assert reader.newest() is None
    writer.write(frame())
    first = reader.newest()
    assert first == frame()
    assert reader.newest() is first, "no other object while the file is the same"
    writer.remove()
    assert reader.newest() is None
    assert list(path.parent.iterdir()) == []


def test_writes_are_throttled_but_the_last_row_always_comes(path: Path) -> None:
    now = [10.0]
    writer, reader = FrameWriter(path, lambda: now[0]), FrameReader(path)
    for rows, after, shown in ((1, 0.0, 1), (2, 0.1, 1), (2, 0.6, 2), (3, 0.0, 3)):
        now[0] += after
        writer.write(frame(rows))
        newest = reader.newest()
        assert newest is not None
        assert newest.rows_done == shown


def test_of_too_many_images_the_first_are_written(path: Path) -> None:
    size = 3 * 64 * 64
    writer, reader = FrameWriter(path), FrameReader(path)
    labels = tuple("x" * 1000 for _ in range(200))
    writer.write(frame(shape=(200, 3, 64, 64), levels=256, pixels=bytes(200 * size), labels=labels))
    newest = reader.newest()
    assert newest is not None
    assert path.stat().st_size <= frames.LARGEST
    assert 50 < newest.shape[0] < 200
    assert len(newest.labels) == newest.shape[0]


def test_a_label_that_is_no_text_is_written_as_far_as_it_can_be(path: Path) -> None:
    writer, reader = FrameWriter(path), FrameReader(path)
    writer.write(frame(labels=("caf\udce9", "b")))
    newest = reader.newest()
    assert newest is not None
    assert newest.labels == ("caf?", "b")


def test_a_leftover_of_a_killed_process_goes_with_the_next_one(path: Path) -> None:
    FrameWriter(path).write(frame())
    FrameWriter(path)
    assert FrameReader(path).newest() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"pixels": b""},
        {"shape": (0, 1, 3, 2), "pixels": b""},
        {"shape": (1, 2, 3, 2)},
        {"shape": (-2, -1, 3, 2)},
        {"shape": (1, 1, 1, 12_000), "pixels": bytes(12_000)},
        {"levels": 1},
        {"levels": 300},
        {"rows_done": 4},
        {"rows_done": -1},
        {"step": -1},
        {"labels": ("a", "b", "c")},
        {"labels": ("x" * 10_000,)},
    ],
    ids=str,
)
def test_a_frame_that_cannot_be_is_none(changes: dict[str, object], path: Path) -> None:
    path.write_bytes(msgspec.msgpack.encode(frame(**changes)))
    assert FrameReader(path).newest() is None


def test_neither_links_pipes_nor_large_files_are_read(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(msgspec.msgpack.encode(frame()))
    path.symlink_to(other)
    assert FrameReader(path).newest() is None
    path.unlink()
    os.mkfifo(path)
    assert FrameReader(path).newest() is None
    path.unlink()
    path.write_bytes(bytes(frames.LARGEST + 1))
    assert FrameReader(path).newest() is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    writer = FrameWriter(tmp_path / "gone" / "frame.msgpack")
    writer.write(frame())
    writer.remove()
