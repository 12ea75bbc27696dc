"""Commands to a run from other processes: one small file each in its control/ folder."""

import contextlib
import os
import secrets
import stat
import time
from pathlib import Path

import msgspec

from pixeltui.errors import UserError, printable
from pixeltui.events import AnyCommand, NoCommand, Sent
from pixeltui.store.files import TEMPORARY_PREFIX, own_folder, write_atomic

LARGEST = 64 * 1024
MOST_AT_ONCE = 256
SUFFIX = ".json"
_decoder = msgspec.json.Decoder(Sent)


def post(control_dir: Path, command: AnyCommand) -> str:
    """Leaves a command for the process that trains; returns the id that its acknowledgement will carry.

    Raises UserError where it cannot be left.
    """
    command_id = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    try:
        write_atomic(own_folder(control_dir) / f"{command_id}{SUFFIX}", msgspec.json.encode(command))
    except OSError as error:
        raise UserError(f"no command can be left in {printable(control_dir)}: {error.strerror}") from None
    return command_id


def waiting(control_dir: Path) -> set[str]:
    """The names of the files that are there. Never raises."""
    try:
        return set(os.listdir(own_folder(control_dir)))  # noqa: PTH208 - names alone
    except OSError:
        return set()


def take(control_dir: Path, *, among: set[str] | None = None) -> list[tuple[str, AnyCommand]]:
    """The commands that wait, oldest first, removed from the folder as whatever else is there.

    among: names of files, all others stay.

    Only regular files of the folder's owner, of root or of this process's user count: one of them that says something
    else is a NoCommand. A folder that is a link holds none: what it leads to is not the run's to remove. Never raises.
    """
    commands: list[tuple[str, AnyCommand]] = []
    try:
        folder = os.open(control_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return commands
    try:
        trusted = {os.getuid(), 0, os.fstat(folder).st_uid}
        names = [name for name in os.listdir(folder) if not name.startswith(TEMPORARY_PREFIX)]  # noqa: PTH208 - a folder's handle
        for name in sorted(names if among is None else among.intersection(names)):
            if len(commands) == MOST_AT_ONCE:
                break
            command = _read(name, folder, trusted)
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
                if command is not None:
                    commands.append((printable(name.removesuffix(SUFFIX))[:80], command))
    except OSError:
        pass
    finally:
        os.close(folder)
    return commands


def discard(control_dir: Path, *, among: set[str] | None = None) -> int:
    """Removes commands that nobody took; returns how many. A process that begins to train calls it, once it holds the
    lock, with those that were there before: what was meant for the process before it, such as a stop, would end it at
    its first step."""
    count = 0
    while found := take(control_dir, among=among):
        count += len(found)
    return count


def _read(name: str, folder: int, trusted: set[int]) -> AnyCommand | None:
    """None of what nobody is to be answered for."""
    with contextlib.suppress(OSError):
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in trusted:
                return None
            if found.st_size > LARGEST:
                return NoCommand(reason=f"{found.st_size:,} bytes, at most {LARGEST:,} are read")
            command: AnyCommand = _decoder.decode(os.read(handle, LARGEST))
            return command
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return NoCommand(reason=printable(error)[:200])
        finally:
            os.close(handle)
    return None
