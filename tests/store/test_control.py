"""Commands through the control folder: what arrives, what is refused."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixeltui import events
from pixeltui.store import control

COMMANDS = [
    events.Pause(),
    events.Resume(),
    events.SaveCheckpoint(),
    events.DrawSample(count=3, temperature=0.5, labels=(1, 2)),
    events.Evaluate(),
    events.Stop(reason="because"),
    events.SetLearningRate(lr=0.1),
]


def test_commands_arrive_once_and_in_order(tmp_path: Path) -> None:
    ids = [control.post(tmp_path, command) for command in COMMANDS]
    assert control.take(tmp_path) == list(zip(ids, COMMANDS, strict=True))
    assert control.take(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_command_is_removed_and_said_to_be_none(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes(msgspec.json.encode(events.Stop()))
    folder = tmp_path / "control"
    folder.mkdir()
    (folder / "a.json").write_bytes(b'{"command":"stop"')
    (folder / "b.json").write_bytes(b'{"command":"format the disk"}')
    (folder / "c.json").write_bytes(b'{"command":"stop","reason":"' + b"x" * control.LARGEST + b'"}')
    (folder / "d.json").symlink_to(outside)
    (folder / "e.json").write_bytes(b'{"command":"lr","lr":"high"}')
    (folder / "f.json").mkdir()
    os.mkfifo(folder / "g.json")
    control.post(folder, events.Pause())
    taken = control.take(folder)
    refused = [name for name, command in taken if isinstance(command, events.NoCommand)]
    assert [command for name, command in taken if name not in refused] == [events.Pause()]
    assert refused == ["a", "b", "c", "e"], "a link and a pipe are nobody's question"
    assert outside.exists()
    assert {p.name for p in folder.iterdir()} == {"f.json"}


def test_a_folder_among_them_keeps_no_handle_however_often_one_looks(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        assert control.take(tmp_path) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_files_of_other_users_are_refused(tmp_path: Path) -> None:
    command_id = control.post(tmp_path, events.Stop())
    os.chown(tmp_path / f"{command_id}.json", 12345, 12345)
    assert control.take(tmp_path) == []


def test_a_missing_folder_holds_no_commands(tmp_path: Path) -> None:
    assert control.take(tmp_path / "none") == []


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-control"
    folder.mkdir(exist_ok=True)
    (folder / "x.json").write_bytes(content)
    assert all(isinstance(command, events.NoCommand) for _, command in control.take(folder))
    assert not (folder / "x.json").exists()
