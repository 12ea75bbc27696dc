"""Checkpoints: the whole training state in one safetensors file, checked when it is read, committed by one rename."""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save_file
from torch import Tensor

from pixeltui.errors import UserError, did_you_mean, printable
from pixeltui.store.files import fsync, remove_leftovers, replacing
from pixeltui.store.header import DamagedCheckpoint, read_header, tensor_checksum
from pixeltui.store.rundir import RunDir

SUFFIX = ".safetensors"
DAMAGED_SUFFIX = ".damaged"
Loaded = tuple[dict[str, Tensor], dict[str, Any]]

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


class CheckpointNotSaved(UserError):
    """The disk did not take it. What was there before is untouched."""


def save(path: Path, tensors: dict[str, Tensor], tree: dict[str, Any]) -> None:
    """Writes a checkpoint, replacing `path` atomically. Raises CheckpointNotSaved."""
    # A copy of each: tensors that share memory, or are not contiguous, become plain ones.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    text = json.dumps(tree, allow_nan=False)
    checksums = {name: _checksum(name, tensor) for name, tensor in plain.items()}
    checksums[""] = zlib.crc32(text.encode())
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, {"pixeltui": text, "checksums": json.dumps(checksums)})
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointNotSaved(f"checkpoint {path.name} could not be written: {reason}") from error


def load(path: Path) -> Loaded:
    """(tensors on the CPU, the JSON tree) of a checkpoint. Raises DamagedCheckpoint where a single bit is wrong."""
    header, tree, checksums = read_header(path)
    try:
        tensors = load_bytes(path.read_bytes())
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedCheckpoint(f"{printable(str(path))} is damaged: {error}") from None
    wrong = [name for name in header if _checksum(name, tensors[name]) != checksums[name]]
    if wrong:
        shown = printable(wrong[0])
        raise DamagedCheckpoint(f"{printable(str(path))} is damaged: the checksum of tensor {shown} is wrong")
    return tensors, tree


def _checksum(name: str, tensor: Tensor) -> int:
    content = tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""
    return tensor_checksum(name, DTYPE_NAMES[tensor.dtype], list(tensor.shape), content)


class CheckpointStore:
    """A run's checkpoints: step-XXXXXXXX, and `last` and `best`, which are other names of such files.

    Whoever saves, prunes or sets damaged files aside must hold the run's lock.
    """

    def __init__(self, run: RunDir, *, keep: int = 3, on_damaged: Callable[[str], None] = lambda message: None) -> None:
        self._run = run
        self._folder = run.checkpoints_dir
        self._keep = keep
        self._on_damaged = on_damaged

    def save(self, tensors: dict[str, Tensor], tree: dict[str, Any], *, step: int, best: bool = False) -> Path:
        """Writes the checkpoint of a step and makes it `last`, and `best` where it is. Raises CheckpointNotSaved."""
        path = self._folder / f"step-{step:08d}{SUFFIX}"
        try:
            self._folder.mkdir(exist_ok=True)
            save(path, tensors, tree)
            for name in ["last"] + ["best"] * best:
                _link(path, self._folder / f"{name}{SUFFIX}")
        except OSError as error:
            raise CheckpointNotSaved(f"checkpoint {path.name} could not be written: {error.strerror}") from error
        self._prune()
        return path

    def steps(self) -> dict[int, Path]:
        """Kept checkpoints by step, newest first."""
        found = {}
        with suppress(OSError):
            for path in self._folder.glob(f"step-*{SUFFIX}"):
                digits = path.name.removeprefix("step-").removesuffix(SUFFIX)
                if digits.isdecimal():
                    found[int(digits)] = path
        return dict(sorted(found.items(), reverse=True))

    def find(self, which: str) -> Path:
        """The file of "best" ("last" before the first validation), "last" or a step. UserError where there is none."""
        if which in ("best", "last"):
            for name in ("best", "last")[which == "last" :]:
                if (self._folder / f"{name}{SUFFIX}").exists():
                    return self._folder / f"{name}{SUFFIX}"
            newest = next(iter(self.steps().values()), None)
            if newest is not None:
                return newest
            raise UserError(f"run {printable(self._run.name)} has no checkpoint yet")
        steps = self.steps()
        if which.isdecimal() and int(which) in steps:
            return steps[int(which)]
        valid = ["best", "last", *map(str, steps)]
        raise UserError(f"run {printable(self._run.name)} has no checkpoint {which!r}{did_you_mean(which, valid)}")

    def newest_whole(self) -> Loaded | None:
        """The newest checkpoint that is whole; damaged ones are set aside. None where the run never had one.

        Raises UserError where all are damaged: to start over silently would lose what they held.
        """
        remove_leftovers(self._folder)
        candidates = self._by_age()
        for path in candidates:
            loaded = self._whole(path)
            if loaded is not None:
                return loaded
        if candidates or any(self._folder.glob(f"*{DAMAGED_SUFFIX}")):
            raise UserError(
                f"every checkpoint of run {printable(self._run.name)} is damaged: look into {self._folder}, or train "
                f"anew with pixeltui train --config {self._run.config_path}"
            )
        return None

    def best_whole(self) -> Loaded | None:
        """The best checkpoint, or None where there is none or it is damaged."""
        path = self._folder / f"best{SUFFIX}"
        return self._whole(path) if path.exists() else None

    def _by_age(self) -> list[Path]:
        """Files to resume from, newest first: by step, `last` before the step file that it names, `best` at the end."""
        paths = [*self.steps().values()]
        for name, position in (("last", 0), ("best", len(paths) + 1)):
            path = self._folder / f"{name}{SUFFIX}"
            if path.exists() and not any(path.samefile(other) for other in paths):
                paths.insert(position, path)
        return paths

    def _whole(self, path: Path) -> Loaded | None:
        try:
            return load(path)
        except DamagedCheckpoint as error:
            aside = path.with_name(path.name + DAMAGED_SUFFIX)
            with suppress(OSError):
                for other in self._aliases(path):
                    other.unlink()
                path.rename(aside)
            self._on_damaged(f"{error}; set aside as {aside.name}")
            return None

    def _aliases(self, path: Path) -> Iterator[Path]:
        """Other names of the same file."""
        for other in self._folder.glob(f"*{SUFFIX}"):
            if other != path and other.exists() and other.samefile(path):
                yield other

    def _prune(self) -> None:
        """Drops all but the newest steps and the best."""
        best = self._folder / f"best{SUFFIX}"
        for path in list(self.steps().values())[self._keep :]:
            with suppress(OSError):
                if not (best.exists() and path.samefile(best)):
                    path.unlink()


def _link(path: Path, name: Path) -> None:
    """Makes `name` another name of the file, atomically; a copy where the file system has no hard links."""
    with _replacing_name(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
            fsync(temporary)


@contextmanager
def _replacing_name(name: Path) -> Iterator[Path]:
    with replacing(name) as temporary:
        temporary.unlink()
        yield temporary
