"""The header of a checkpoint, without torch: what the run browser needs in microseconds.

A safetensors file is: 8 bytes little-endian, the header's length; the header, JSON; the tensors. pixeltui keeps in the
header's __metadata__ a JSON tree ("pixeltui") and a CRC-32 for each tensor and for the tree ("checksums").
"""

import json
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pixeltui.errors import UserError, printable
from pixeltui.store.files import open_regular

LARGEST_HEADER = 16 << 20
MOST_DIMENSIONS = 32
PICKLE_MARKS = {b"PK\x03\x04": "a zip archive, as torch.save writes"}
PICKLE_MARKS |= {bytes((0x80, protocol)): "a pickle" for protocol in range(2, 6)}

# safetensors' names of the types: bytes each
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class DamagedCheckpoint(UserError):
    """A file that is no whole checkpoint. Nothing of it was used, nothing in it was executed."""


class Entry(NamedTuple):
    """A tensor's place: bytes begin to end, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    tensors: dict[str, Entry]
    """in the order of the file; together they fill it without a gap"""
    tree: dict[str, Any]
    checksums: dict[str, int]
    """CRC-32 by tensor; that of the tree under "\""""
    start: int
    """where the tensors begin in the file"""


def read_header(path: Path) -> Header:
    """The header of a checkpoint whose tensors are all there; their bytes are not looked at.

    Raises DamagedCheckpoint for anything else, UserError where the file cannot be read. Reads at most 16 MiB.
    """
    with open_checkpoint(path) as file:
        return header_of(file, path)


def open_checkpoint(path: Path) -> BinaryIO:
    """The file to read. Raises UserError."""
    try:
        return open_regular(path)
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read: {error.strerror}") from None


def header_of(file: BinaryIO, path: Path) -> Header:
    """As read_header, from an open file, at its beginning; leaves it where the tensors begin."""
    try:
        content = _content(file, path)
        size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read: {error.strerror}") from None
    try:
        header = json.loads(content)
        metadata = header.pop("__metadata__")
        tree = json.loads(metadata["pixeltui"])
        checksums = json.loads(metadata["checksums"])
        tree_checksum = zlib.crc32(metadata["pixeltui"].encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged(path, "its header cannot be read, or it is no checkpoint of pixeltui") from None
    if not isinstance(tree, dict) or not isinstance(checksums, dict):
        raise damaged(path, "its header has another shape than pixeltui's")
    if checksums.get("") != tree_checksum:
        raise damaged(path, "the checksum of its header is wrong")
    if set(header) != set(checksums) - {""}:
        raise damaged(path, "its tensors and their checksums do not match")
    tensors = {name: _entry(path, entry) for name, entry in header.items()}
    tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)))
    start, end = 8 + len(content), 0
    for entry in tensors.values():
        if entry.begin != end:
            raise damaged(path, "its tensors overlap, or leave a gap")
        end = entry.end
    if start + end != size:
        raise damaged(path, f"it has {size} bytes, expected {start + end}")
    return Header(tensors, tree, checksums, start)


def damaged(path: Path, what: str) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"{printable(path)} is damaged: {what}")


def tensor_checksum(name: str, dtype: str, shape: Iterable[int], content: Any) -> int:
    """CRC-32 over a tensor's name, type and shape, then its bytes."""
    return zlib.crc32(content, zlib.crc32(f"{name} {dtype} {list(shape)}".encode(errors="surrogatepass")))


def _content(file: BinaryIO, path: Path) -> bytes:
    """The header's bytes, once the file does not look like something else."""
    start = file.read(8)
    for mark, what in PICKLE_MARKS.items():
        if start.startswith(mark):
            raise DamagedCheckpoint(
                f"{printable(path)} is {what}, which can run code when it is loaded: refused, nothing was executed"
            )
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= min(LARGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
        raise damaged(path, "it is cut short, or no safetensors file")
    return file.read(length)


def _entry(path: Path, found: Any) -> Entry:
    try:
        dtype, shape, (begin, end) = found["dtype"], found["shape"], found["data_offsets"]
        size = DTYPE_BYTES[dtype]
    except (TypeError, KeyError, ValueError):
        raise damaged(path, "a tensor in it has no place, or an unknown type") from None
    # The product of millions of made-up dimensions would take hours.
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise damaged(path, "a tensor in it has no shape")
    if any(type(number) is not int or not 0 <= number < 1 << 63 for number in (begin, end, *shape)):
        raise damaged(path, "a tensor in it has an impossible shape or place")
    if end - begin != math.prod(shape) * size:
        raise damaged(path, "a tensor's shape does not fit its place")
    return Entry(dtype, tuple(shape), begin, end)
