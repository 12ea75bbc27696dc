"""The header of a checkpoint, without torch: what the run browser needs in microseconds.

A safetensors file is: 8 bytes little-endian, the header's length; the header, JSON; the tensors. pixeltui keeps in the
header's __metadata__ a JSON tree ("pixeltui") and a CRC-32 for each tensor and for the tree ("checksums").
"""

import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from pixeltui.errors import UserError, printable

LARGEST_HEADER = 16 << 20
PICKLE_MARKS = {b"PK\x03\x04": "a zip archive, as torch.save writes", b"\x80\x02": "a pickle", b"\x80\x04": "a pickle"}


class DamagedCheckpoint(UserError):
    """A file that is no whole checkpoint. Nothing of it was used, nothing in it was executed."""


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """(tensors: name to dtype, shape and data_offsets; the JSON tree; name to CRC-32) of a checkpoint.

    Raises DamagedCheckpoint for anything else. Reads at most 16 MiB.
    """
    content, size = _read(path)
    try:
        header = json.loads(content)
        metadata = header.pop("__metadata__")
        tree = json.loads(metadata["pixeltui"])
        checksums = json.loads(metadata["checksums"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedCheckpoint(
            f"{_name(path)} is damaged, or no checkpoint of pixeltui: its header cannot be read"
        ) from None
    if not isinstance(tree, dict) or not isinstance(checksums, dict):
        raise DamagedCheckpoint(f"{_name(path)} is damaged: its header has another shape than pixeltui's")
    if checksums.get("") != zlib.crc32(metadata["pixeltui"].encode()):
        raise DamagedCheckpoint(f"{_name(path)} is damaged: the checksum of its header is wrong")
    if set(header) != set(checksums) - {""}:
        raise DamagedCheckpoint(f"{_name(path)} is damaged: its tensors and their checksums do not match")
    end = max((_end(path, entry) for entry in header.values()), default=0)
    if 8 + len(content) + end != size:
        raise DamagedCheckpoint(f"{_name(path)} is damaged: {size} bytes, expected {8 + len(content) + end}")
    return header, tree, checksums


def tensor_checksum(name: str, dtype: str, shape: list[int], content: Any) -> int:
    """CRC-32 over a tensor's name, type and shape, then its bytes."""
    return zlib.crc32(content, zlib.crc32(f"{name} {dtype} {shape}".encode()))


def _read(path: Path) -> tuple[bytes, int]:
    """The header's bytes and the file's size."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise DamagedCheckpoint(f"{_name(path)} is no regular file")
            start = file.read(8)
            for mark, what in PICKLE_MARKS.items():
                if start.startswith(mark):
                    raise DamagedCheckpoint(
                        f"{_name(path)} is {what}, which can run code when it is loaded: refused, nothing was executed"
                    )
            length = int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= length <= min(LARGEST_HEADER, found.st_size - 8):
                raise DamagedCheckpoint(f"{_name(path)} is damaged: it is cut short, or no safetensors file")
            return file.read(length), found.st_size
    except OSError as error:
        raise UserError(f"{_name(path)} cannot be read: {error.strerror}") from None


def _end(path: Path, entry: Any) -> int:
    try:
        begin, end = entry["data_offsets"]
        if isinstance(begin, int) and isinstance(end, int) and 0 <= begin <= end:
            return end
    except (TypeError, KeyError, ValueError):
        pass
    raise DamagedCheckpoint(f"{_name(path)} is damaged: a tensor has no place in it")


def _name(path: Path) -> str:
    return printable(str(path))
