"""Commands to a run from other processes: one small file each in its control/ folder."""

import contextlib
import os
import secrets
import stat
import time
from pathlib import Path

import msgspec

from pixeltui.events import AnyCommand
from pixeltui.store.files import TEMPORARY_PREFIX, write_atomic

LARGEST = 64 * 1024
SUFFIX = ".json"
_decoder = msgspec.json.Decoder(AnyCommand)


def post(control_dir: Path, command: AnyCommand) -> str:
    """Leaves a command for the process that trains; returns the id that its acknowledgement will carry."""
    command_id = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    write_atomic(control_dir / f"{command_id}{SUFFIX}", msgspec.json.encode(command))
    return command_id


def take(control_dir: Path) -> list[tuple[str, AnyCommand]]:
    """The commands that wait, oldest first, removed from the folder; whatever is none is removed unread.

    Only regular files of the folder's owner, of root or of this process's user count. Never raises.
    """
    commands = []
    with contextlib.suppress(OSError):
        trusted = {os.getuid(), 0, control_dir.stat().st_uid}
        for name in sorted(path.name for path in control_dir.iterdir()):
            if name.startswith(TEMPORARY_PREFIX):
                continue
            command = _read(control_dir / name, trusted)
            with contextlib.suppress(OSError):
                (control_dir / name).unlink()
                if command is not None:
                    commands.append((name.removesuffix(SUFFIX)[:80], command))
    return commands


def _read(path: Path, trusted: set[int]) -> AnyCommand | None:
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_uid in trusted and found.st_size <= LARGEST:
                command: AnyCommand = _decoder.decode(file.read(LARGEST))
                return command
    return None
