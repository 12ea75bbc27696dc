"""The checkpoints of a run: which are kept, which is read, and what becomes of damaged ones."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from pixeltui.errors import UserError, did_you_mean, printable
from pixeltui.store.files import fsync, remove_leftovers, replacing
from pixeltui.store.header import DamagedCheckpoint, damaged, read_header
from pixeltui.store.rundir import RunDir
from pixeltui.train.checkpoint import load, not_saved, save
from pixeltui.train.state import Loaded

SUFFIX = ".safetensors"
DAMAGED_SUFFIX = ".damaged"
BEST_MARK = "is_best"
"""in the tree: whether the checkpoint was the best when it was saved"""


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
            raise not_saved(path, error) from error
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
            if any(self._folder.glob(f"*{DAMAGED_SUFFIX}")):
                raise self._all_damaged()
            raise UserError(f"run {printable(self._run.name)} has no checkpoint yet: wait for its first, or resume it")
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
                if which.isdecimal():
                    raise
                self._on_damaged(str(error))
                if other is None:
                    raise self._all_damaged() from None
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
                for other in candidates[candidates.index(path) + 1 :]:
                    self._look_at(other)
                self._mend_names(path, best=loaded[1].pop(BEST_MARK, False) is True)
                return loaded
        if misfits:
            raise UserError(
                f"no checkpoint of run {printable(self._run.name)} fits it: {next(iter(misfits.values()))}; none was "
                "changed: put the run's config.toml and meta.json back as they were"
            )
        if candidates or any(self._folder.glob(f"*{DAMAGED_SUFFIX}")):
            raise self._all_damaged()
        return None

    def best_whole(self) -> Loaded | None:
        """The best checkpoint, or None where there is none, it is damaged or the run was moved."""
        path = self._folder / f"best{SUFFIX}"
        loaded = self._whole(path) if path.exists() and self._run.is_in_place() else None
        if loaded is not None and (misfit := self._misfit(loaded)):
            self._set_aside(path, damaged(path, misfit))
            return None
        return loaded

    def _look_at(self, path: Path) -> None:
        """Sets a `last` or `best` that is a file of its own aside where its header is damaged: it is read next time."""
        if path.name.startswith("step-"):
            return
        try:
            read_header(path)
        except DamagedCheckpoint as error:
            self._set_aside(path, error)
        except UserError:
            pass

    def _all_damaged(self) -> DamagedCheckpoint:
        return DamagedCheckpoint(
            f"every checkpoint of run {printable(self._run.name)} is damaged: look into {self._folder}, or train "
            f"anew with pixeltui train --config {self._run.config_path}"
        )

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
