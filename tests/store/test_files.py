"""Atomic replacement, reads that cannot hang, and the lock that dies with its holder."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pixeltui.errors import UserError
from pixeltui.store import files
from pixeltui.store.files import (
    Lock,
    holder,
    is_locked,
    open_regular,
    read_regular,
    remove_leftovers,
    replacing,
    write_atomic,
)

HOLD = "from pathlib import Path; from pixeltui.store.files import Lock; import sys, time\n"
HOLD += "lock = Lock.acquire(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_block_that_raises_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write_atomic(path, b"old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_at_the_last_moment_leaves_the_old_content(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a"
    files.write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as temporary:
            # As safetensors does: a file of its own, for its owner alone.
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_file_system_without_fsync_of_folders_will_do(tmp_path: Path, monkeypatch) -> None:
    def unsupported(handle: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_leftovers_of_a_save_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".tmp-1513cc961e3874cb", ".tmpOqQGSq", ".tmp", ".template", "a.safetensors", ".tmpfiles.conf"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".template", ".tmp", ".tmpfiles.conf", "a.safetensors"]


def test_only_regular_files_are_read_and_only_small_ones(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zeros", "folder", "missing"):
        with pytest.raises(OSError, match=r"no regular file|No such file"):
            open_regular(tmp_path / name)
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", most=5) == b"12345"
    with pytest.raises(OSError, match="larger"):
        read_regular(tmp_path / "a", most=4)


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_locked(tmp_path)
        assert holder(tmp_path)["pid"] == process.pid
        with pytest.raises(
            UserError, match=rf"in use by process {process.pid} on .* since \d{{4}}-.*stop that process"
        ):
            Lock.acquire(tmp_path)
        assert is_locked(tmp_path), "neither the look nor the attempt took it away"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not is_locked(tmp_path)
    with Lock.acquire(tmp_path):
        assert holder(tmp_path)["pid"] == os.getpid()
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_a_look_at_the_lock_does_not_keep_a_trainer_from_starting(tmp_path: Path) -> None:
    Lock.acquire(tmp_path).release()
    probe = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    waits = "import os, time, sys; time.sleep(0.3)"
    with subprocess.Popen([sys.executable, "-c", waits], pass_fds=[probe]):
        os.close(probe)
        with (tmp_path / "lock").open("r+") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Lock.acquire(tmp_path).release()


def test_a_full_disk_does_not_keep_one_from_training(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "pwrite", full)
    with Lock.acquire(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(UserError, match="in use by another process"):
            Lock.acquire(tmp_path)


def test_a_file_system_without_locks_is_told_from_a_run_in_use(tmp_path: Path, monkeypatch) -> None:
    def unsupported(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UserError, match=r"cannot be locked.*No locks available"):
        Lock.acquire(tmp_path)
    assert not is_locked(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "no handle is left open"


def test_a_run_that_is_moved_while_one_waits_for_it_is_not_trained_into(tmp_path: Path, monkeypatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    original = files._try_lock

    def moved_first(handle: int, kind: int) -> bool:
        run.rename(tmp_path / "elsewhere")
        return original(handle, kind)

    monkeypatch.setattr(files, "_try_lock", moved_first)
    with pytest.raises(UserError, match="moved or deleted"):
        Lock.acquire(run)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": "x"}', b"[" * 4000, b"\xff" * 99, b"x" * 5000])
def test_a_lock_file_full_of_nonsense_is_another_process(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(content)
    assert files.describe_holder(tmp_path) == "another process"


def test_a_host_name_reaches_no_terminal_raw(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": "a\x1b[31m", "since": 1e300}))
    assert files.describe_holder(tmp_path) == "process 1 on a?[31m"


def test_what_is_replaced_stays_whole_for_whoever_reads_it(tmp_path: Path) -> None:
    """A rename, no writing over it: a death in the middle leaves the old content."""
    path = tmp_path / "meta.json"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_replaced_file_is_on_the_disk_before_its_name_and_its_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(handle: int) -> None:
        sync(handle)
        calls.append(("fsync", os.fstat(handle).st_ino))

    def note_replace(self: Path, target: Path) -> Path:
        calls.append(("replace", self.stat().st_ino))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_atomic(tmp_path / "a", b"content")
    file = (tmp_path / "a").stat().st_ino
    assert calls == [("fsync", file), ("replace", file), ("fsync", tmp_path.stat().st_ino)]
