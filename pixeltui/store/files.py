"""Files that a crash cannot tear: atomic replacement, and a lock that dies with its holder. Reads that cannot hang."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pixeltui.errors import UserError, printable

TEMPORARY_PREFIX = ".tmp-"
OLD_SECONDS = 3600.0
"""of a temporary file that no process is still writing"""
LOCK_NAME = "lock"
LOCK_RETRY_SECONDS = 1.0
HELD_SECONDS = 5.0
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces `path` so that a crash at any instant leaves the old content or the new. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to fill; it takes the place of `path` where the block does not raise."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    os.close(handle)
    try:
        yield temporary
        # Some writers, as safetensors', put a file of their own there that only its owner may read.
        temporary.chmod(mode)
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def fsync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems know no fsync of a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def own_folder(path: Path) -> Path:
    """A folder of a run, to write to. Raises OSError where it is a link."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"{path.name}/ is a link, which could lead to files of others")
    return path


def open_to_append(path: Path) -> int:
    """A handle to a file, made where it is missing. Raises OSError, also for a link, and a pipe that nobody reads."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(path, flags, 0o644)


def open_regular(path: Path) -> BinaryIO:
    """A file to read. Raises OSError, also for a device, a folder or a pipe, which could block or never end."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(handle, "rb")


def read_regular(path: Path, *, most: int) -> bytes:
    """The content of a file of up to `most` bytes. Raises OSError, also for a larger one."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 10} KiB")
    return content


def remove_leftovers(folder: Path, *, older_than: float = 0.0) -> None:
    """Deletes temporary files that a crash left in `folder`; those of a run only whoever holds its lock may.

    Those of safetensors too, which writes to a `.tmpXXXXXX` of its own before it renames that. older_than: seconds, for
    folders that processes without a lock write to as well. Behind a link nothing is deleted.
    """
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for path in [*folder.glob(f"{TEMPORARY_PREFIX}*"), *folder.glob(".tmp??????")]:
            with contextlib.suppress(OSError):
                if not older_than or time.time() - path.lstat().st_mtime > older_than:
                    path.unlink()


class Lock:
    """The right to train into a run. The kernel frees it when the process ends, however it ends.

    marks: of the run's directory and of its lock file, which tell them from others under their names.
    """

    def __init__(self, handle: int, marks: tuple[os.stat_result, os.stat_result]) -> None:
        self._handle = handle
        self.marks = marks

    @classmethod
    def acquire(cls, run: Path) -> "Lock":
        """Raises UserError: names the holder, where another process has it; why not, where there can be no lock."""
        path, name = run / LOCK_NAME, printable(run.name)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            handle = os.open(path, flags, 0o644)
        except OSError as error:
            hint = "; copy the run to a folder that can be written" if error.errno in NOT_WRITABLE else ""
            raise UserError(f"run {name} cannot be locked: {printable(path)}: {error.strerror}{hint}") from None
        try:
            _wait_for(handle, run)
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle)):
                raise UserError(f"run {name} was moved or deleted just now")
            _write_holder(handle)
            marks = run.stat(), os.fstat(handle)
        except OSError as error:
            os.close(handle)
            raise UserError(f"run {name} cannot be locked: {printable(path)}: {error.strerror}") from None
        except BaseException:
            os.close(handle)
            raise
        return cls(handle, marks)

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def is_locked(run: Path) -> bool:
    """Whether some process trains into the run. Takes the lock, shared, for an instant."""
    try:
        handle = os.open(run / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _try_lock(handle, fcntl.LOCK_SH)
    except OSError:
        return False
    finally:
        os.close(handle)


def holder(run: Path) -> dict[str, Any]:
    """pid, host and since of the last process that took the lock; {} where that cannot be read."""
    try:
        found = json.loads(read_regular(run / LOCK_NAME, most=4096))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def describe_holder(run: Path) -> str:
    who = holder(run)
    if not isinstance(who.get("pid"), int):
        return "another process"
    text = f"process {who['pid']} on {printable(who.get('host', 'an unknown host'))[:80]}"
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError, OSError):
        text += time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(who["since"]))
    return text


def _wait_for(handle: int, run: Path) -> None:
    deadline = time.monotonic() + LOCK_RETRY_SECONDS
    while not _try_lock(handle, fcntl.LOCK_EX):
        # A probe holds it for an instant; whoever trains holds it for longer.
        if time.monotonic() > deadline:
            raise UserError(f"run {printable(run.name)} is in use by {describe_holder(run)}: stop that process first")
        time.sleep(0.02)


def _write_holder(handle: int) -> None:
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    # On a full disk the lock holds all the same: the kernel keeps it, not the file's content.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(who).encode(), 0)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """While others wait who hold it too: for a file that is read, changed and replaced. Not for ever: whoever hangs
    with it is passed over. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + HELD_SECONDS
        with contextlib.suppress(OSError):  # file systems that know no locks
            while not _try_lock(handle, fcntl.LOCK_EX) and time.monotonic() < deadline:
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, kind: int) -> bool:
    """Raises OSError where the file system knows no locks."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
