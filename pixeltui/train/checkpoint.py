"""A checkpoint: the whole training state in one safetensors file, checked when it is read, committed by one rename."""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from pixeltui.errors import UserError, printable
from pixeltui.store.files import replacing
from pixeltui.store.header import (
    DamagedCheckpoint,
    Entry,
    damaged,
    header_of,
    open_checkpoint,
    tensor_checksum,
)
from pixeltui.train.state import Loaded

OF_SAFETENSORS = re.compile(r"^(Error while serializing: )?I/O error: | \(os error \d+\)$")

# safetensors' names of the types, which the checksums cover
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}


class CheckpointNotSaved(UserError):
    """The disk did not take it. What was there before is untouched. `reason` is the system's."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Snapshot(dict[str, Tensor]):
    """Copies on the CPU, contiguous, that share no memory with what training goes on to change."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__((name, tensor.detach().to("cpu", copy=True).contiguous()) for name, tensor in tensors.items())


def save(path: Path, tensors: dict[str, Tensor], tree: dict[str, Any]) -> None:
    """Writes a checkpoint, replacing `path` atomically. Raises CheckpointNotSaved."""
    plain = tensors if isinstance(tensors, Snapshot) else Snapshot(tensors)
    text = json.dumps(tree, allow_nan=False)
    checksums = {name: _checksum(name, tensor) for name, tensor in plain.items()}
    checksums[""] = zlib.crc32(text.encode())
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, {"pixeltui": text, "checksums": json.dumps(checksums)})
    except (OSError, SafetensorError) as error:
        raise not_saved(path, error) from error


def load(path: Path) -> Loaded:
    """(tensors on the CPU, the JSON tree) of a checkpoint. Takes the memory of its tensors, no more.

    Raises DamagedCheckpoint where a single bit is wrong, UserError where it cannot be read. All of it is read from one
    open file: a trainer that replaces `path` meanwhile does no harm.
    """
    with open_checkpoint(path) as file:
        header = header_of(file, path)
        tensors = {name: _read_tensor(file, path, entry) for name, entry in header.tensors.items()}
    for name, tensor in tensors.items():
        if _checksum(name, tensor) != header.checksums[name]:
            raise damaged(path, f"the checksum of tensor {printable(name)} is wrong")
    return tensors, header.tree


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Says of which file it is, where in the block what was read from it turns out to be no use."""
    try:
        yield
    except DamagedCheckpoint as error:
        raise damaged(path, str(error)) from None


def not_saved(path: Path, error: Exception) -> CheckpointNotSaved:
    """What to raise where a file operation of a save failed."""
    # safetensors tells of a full disk in a text of its own, with the system's words inside.
    reason = getattr(error, "strerror", None) or OF_SAFETENSORS.sub("", str(error))
    return CheckpointNotSaved(f"checkpoint {path.name} could not be written: {reason}", reason=reason)


def _read_tensor(file: BinaryIO, path: Path, entry: Entry) -> Tensor:
    try:
        tensor = torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
        read = file.readinto(_bytes_of(tensor)) if tensor.numel() else 0  # type: ignore[attr-defined]
    except OSError as error:
        raise damaged(path, f"it cannot be read: {error.strerror}") from None
    except (RuntimeError, MemoryError):
        raise UserError(f"{printable(path)}: no memory for a tensor of {entry.end - entry.begin} bytes") from None
    if read != entry.end - entry.begin:
        raise damaged(path, "it is cut short")
    return tensor


def _bytes_of(tensor: Tensor) -> Any:
    """A contiguous tensor's memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _checksum(name: str, tensor: Tensor) -> int:
    content = _bytes_of(tensor) if tensor.numel() else b""
    return tensor_checksum(name, DTYPE_NAMES[tensor.dtype], tensor.shape, content)
