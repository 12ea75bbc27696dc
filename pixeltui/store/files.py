"""Files that a crash cannot tear: atomic replacement, and a lock that dies with its holder."""

import contextlib
import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixeltui.errors import UserError, printable

TEMPORARY_PREFIX = ".tmp-"
LOCK_NAME = "lock"
LOCK_RETRY_SECONDS = 1.0


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces `path` so that a crash at any instant leaves the old content or the new. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to fill; it takes the place of `path` where the block does not raise."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Deletes temporary files that a crash left in `folder`; only whoever holds the run's lock may."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            with contextlib.suppress(OSError):
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Lock:
    """The right to train into a run. The kernel frees it when the process ends, however it ends."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def acquire(cls, run: Path) -> "Lock":
        """Raises UserError that names the holder, where another process has it."""
        try:
            handle = os.open(run / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise UserError(f"run {printable(run.name)} cannot be trained into: {error.strerror}") from None
        deadline = time.monotonic() + LOCK_RETRY_SECONDS
        while not _try_lock(handle, fcntl.LOCK_EX):
            # A probe holds it for an instant; whoever trains holds it for longer.
            if time.monotonic() > deadline:
                os.close(handle)
                raise UserError(f"run {run.name} is in use by {describe_holder(run)}")
            time.sleep(0.02)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
        return cls(handle)

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
        handle = os.open(run / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _try_lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def holder(run: Path) -> dict[str, Any]:
    """pid, host and since of the last process that took the lock; {} where that cannot be read."""
    try:
        with (run / LOCK_NAME).open("rb") as file:
            found = json.loads(file.read(4096))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def describe_holder(run: Path) -> str:
    who = holder(run)
    if not isinstance(who.get("pid"), int):
        return "another process"
    return f"process {who['pid']} on {str(who.get('host', 'an unknown host'))[:80]}"


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
