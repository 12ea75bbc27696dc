"""Checkpoints: the whole training state in one safetensors file, checked when it is read, committed by one rename."""

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from pixeltui.errors import UserError, did_you_mean, printable
from pixeltui.store.files import fsync, remove_leftovers, replacing
from pixeltui.store.header import (
    DamagedCheckpoint,
    Entry,
    damaged,
    header_of,
    open_checkpoint,
    read_header,
    tensor_checksum,
)
from pixeltui.store.rundir import RunDir
from pixeltui.train.state import Loaded

SUFFIX = ".safetensors"
DAMAGED_SUFFIX = ".damaged"
BEST_MARK = "is_best"
"""in the tree: whether the checkpoint was the best when it was saved"""

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
        raise _not_saved(path, error) from error


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


def _not_saved(path: Path, error: Exception) -> CheckpointNotSaved:
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


class CheckpointStore:
    """A run's checkpoints: step-XXXXXXXX, and `last` and `best`, which are other names of such files.

    Whoever saves, prunes or sets damaged files aside must hold the run's lock. A folder that is a link is read, and
    nothing is written, renamed or deleted behind it: it may be someone else's.
    """

    def __init__(
        self,
        run: RunDir,
        *,
        keep: int = 3,
        on_damaged: Callable[[str], None] = lambda message: None,
        check: Callable[[Loaded], object] = lambda loaded: None,
    ) -> None:
        """check: raises DamagedCheckpoint for one that is whole, and that the run cannot go on from."""
        self._run = run
        self._folder = run.checkpoints_dir
        self._keep = keep
        self._on_damaged = on_damaged
        self._check = check

    def save(self, tensors: dict[str, Tensor], tree: dict[str, Any], *, step: int, best: bool = False) -> Path:
        """Writes the checkpoint of a step and makes it `last`, and `best` where it is. Raises CheckpointNotSaved."""
        path = self._folder / f"step-{step:08d}{SUFFIX}"
        try:
            self._run.own(self._folder).mkdir(exist_ok=True)
            save(path, tensors, {**tree, BEST_MARK: best})
            for name in ["last"] + ["best"] * best:
                _link(path, self._folder / f"{name}{SUFFIX}")
        except OSError as error:
            raise _not_saved(path, error) from error
        self._prune(path)
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

    def read(self, which: str) -> tuple[Path, Loaded]:
        """What `find` finds or, where "best" or "last" is damaged, the newest whole checkpoint; changes nothing.

        Raises UserError where there is none, DamagedCheckpoint where none is whole.
        """
        path = wanted = self.find(which)
        others = iter([] if which.isdecimal() else [other for other in self._by_age() if not _same(other, path)])
        while True:
            try:
                loaded = load(path)
                break
            except DamagedCheckpoint as error:
                other = next(others, None)
                if other is None:
                    raise
                self._on_damaged(str(error))
                path = other
        if path != wanted:
            self._on_damaged(f"{path.name} is used in place of the damaged {wanted.name}")
        return path, loaded

    def newest_whole(self) -> Loaded | None:
        """The newest checkpoint that is whole and fits the run; others are set aside. None where the run never had one.

        Mends what a death in a save left: temporary files, and a `last` or `best` that still names the one before.
        Raises UserError where all are damaged: to start over silently would lose what they held. Where none fits it is
        the run that has changed, and not one is set aside.
        """
        if self._folder.is_symlink():
            raise UserError(
                f"run {printable(self._run.name)} cannot train: its checkpoints/ is a link, and files behind it could "
                "be someone else's; put the folder itself there"
            )
        remove_leftovers(self._folder)
        candidates = self._by_age()
        misfits: dict[Path, str] = {}
        for path in candidates:
            if not os.path.lexists(path):
                continue  # set aside under another of its names
            loaded = self._whole(path)
            if loaded is not None and (misfit := self._misfit(loaded)):
                misfits[path] = misfit
            elif loaded is not None:
                for odd, misfit in misfits.items():
                    self._set_aside(odd, damaged(odd, misfit))
                self._mend_names(path, best=loaded[1].pop(BEST_MARK, False) is True)
                return loaded
        if misfits:
            raise UserError(
                f"no checkpoint of run {printable(self._run.name)} fits it: {next(iter(misfits.values()))}; none was "
                "changed: put the run's config.toml and meta.json back as they were"
            )
        if candidates or any(self._folder.glob(f"*{DAMAGED_SUFFIX}")):
            raise UserError(
                f"every checkpoint of run {printable(self._run.name)} is damaged: look into {self._folder}, or train "
                f"anew with pixeltui train --config {self._run.config_path}"
            )
        return None

    def best_whole(self) -> Loaded | None:
        """The best checkpoint, or None where there is none, it is damaged or the run was moved."""
        path = self._folder / f"best{SUFFIX}"
        loaded = self._whole(path) if path.exists() and self._run.is_in_place() else None
        if loaded is not None and (misfit := self._misfit(loaded)):
            self._set_aside(path, damaged(path, misfit))
            return None
        return loaded

    def _by_age(self) -> list[Path]:
        """Files to resume from, newest first: by step, then `last` and `best` where they are files of their own."""
        paths = [*self.steps().values()]
        for name in ("last", "best"):
            path = self._folder / f"{name}{SUFFIX}"
            if path.exists() and not any(_same(path, other) for other in paths):
                paths.append(path)
        return sorted(paths, key=_step_of, reverse=True)

    def _mend_names(self, path: Path, *, best: bool) -> None:
        """What a save does after its file is there."""
        for name in ["last"] + ["best"] * best:
            named = self._folder / f"{name}{SUFFIX}"
            if path != named and not _same(path, named):
                with suppress(OSError):
                    _link(path, named)

    def _whole(self, path: Path) -> Loaded | None:
        try:
            return load(path)
        except DamagedCheckpoint as error:
            self._set_aside(path, error)
        except UserError as error:
            self._on_damaged(f"{error}; passed over")
        return None

    def _misfit(self, loaded: Loaded) -> str:
        """Why the run cannot go on from it, or ""."""
        try:
            self._check(loaded)
        except DamagedCheckpoint as error:
            return str(error)
        return ""

    def _set_aside(self, path: Path, error: DamagedCheckpoint) -> None:
        aside = path.with_name(path.name + DAMAGED_SUFFIX)
        try:
            for other in self._aliases(path):
                other.unlink()
            path.rename(aside)
            self._on_damaged(f"{error}; set aside as {aside.name}")
        except OSError as failure:
            self._on_damaged(f"{error}; passed over, for it cannot be set aside: {failure.strerror}")

    def _aliases(self, path: Path) -> Iterator[Path]:
        """Other names of the same file."""
        for other in list(self._folder.glob(f"*{SUFFIX}")):
            if other != path and _same(other, path):
                yield other

    def _prune(self, saved: Path) -> None:
        """Drops all but the newest steps, the best and the one just saved, which a damaged one may follow."""
        best = self._folder / f"best{SUFFIX}"
        for path in list(self.steps().values())[self._keep :]:
            with suppress(OSError):
                if path != saved and not _same(path, best):
                    path.unlink()


def _same(path: Path, other: Path) -> bool:
    """Whether both are there, and names of one file."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def _step_of(path: Path) -> int:
    """The step of a checkpoint as its header has it; -1 where that cannot be read, for it to be tried last."""
    step = path.name.removeprefix("step-").removesuffix(SUFFIX)
    if step.isdecimal():
        return int(step)
    try:
        found = read_header(path).tree.get("step")
    except UserError:
        return -1
    return found if isinstance(found, int) else -1


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
