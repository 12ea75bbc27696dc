"""A run's directory: its layout, making one, finding one."""

import contextlib
import errno
import json
import os
import re
import secrets
import shlex
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pixeltui.config import Config, ConfigError, load_saved_config
from pixeltui.errors import UsageError, UserError, did_you_mean, printable
from pixeltui.events import AnyEvent
from pixeltui.store.files import (
    LOCK_NAME,
    TEMPORARY_PREFIX,
    Lock,
    fsync,
    held,
    is_locked,
    open_regular,
    own_folder,
    read_regular,
    write_atomic,
)
from pixeltui.store.log import EventReader
from pixeltui.store.place import default_runs_dir

SCHEMA = 1
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
TAG_LENGTH = 40
TRASH = ".trash"
LARGEST_META = 1 << 20
META = {"data": dict, "versions": dict, "git": dict, "overrides": list, "tags": list}
META_DATA = {"images": dict, "classes": list, "image_shape": list}


class RunDir:
    """Paths and files of one run. Opening one reads nothing but its meta.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.config_path = path / "config.toml"
        self.meta_path = path / "meta.json"
        self.events_path = path / "events.jsonl"
        self.log_path = path / "log.txt"
        self.frame_path = path / "frame.msgpack"
        self.checkpoints_dir = path / "checkpoints"
        self.samples_dir = path / "samples"
        self.control_dir = path / "control"
        self.tensorboard_dir = path / "tensorboard"
        self._marks: tuple[os.stat_result, os.stat_result] | None = None

    @classmethod
    def create(cls, runs_dir: Path, name: str, config_toml: str, meta: dict[str, Any]) -> "RunDir":
        """A new run. Built under another name and renamed, so that a crash leaves a whole run or none.

        Raises UsageError for a name that cannot be or is taken, UserError where nothing can be written.
        """
        check_name(name)
        target = runs_dir / name
        building = runs_dir / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
        taken = UsageError(f"there is a run {name!r} already: choose another --name, or go on with --resume {name}")
        try:
            runs_dir.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                raise taken
            cls(building)._fill(config_toml, {"schema": SCHEMA, "created": time.time(), **meta})
            building.rename(target)
            fsync(runs_dir)
        except UnicodeEncodeError:
            _remove_tree(building)
            raise UserError("the config holds a file name that is no UTF-8: rename that file") from None
        except OSError as error:
            _remove_tree(building)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) and os.path.lexists(target):
                raise taken from None
            raise UserError(f"no run can be made in {runs_dir}: {error.strerror}; try another --runs-dir") from None
        return cls(target)

    def _fill(self, config_toml: str, meta: dict[str, Any]) -> None:
        self.path.mkdir()
        for folder in (self.checkpoints_dir, self.samples_dir, self.control_dir):
            folder.mkdir()
        config = config_toml.encode()
        write_atomic(self.config_path, config)
        write_atomic(self.meta_path, _json({**meta, "config_crc32": zlib.crc32(config)}))
        self.events_path.touch()
        fsync(self.path)

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """An existing run. Raises UserError where it is none, or was made by a newer pixeltui."""
        run = cls(_absolute(path))
        run.known_meta()
        return run

    def reference(self, runs_dir: Path | None = None) -> str:
        """What a command finds it by, for a shell: its name where it lies in --runs-dir, the default one or another."""
        path = self.path.absolute()
        beside = path.parent == (runs_dir or default_runs_dir()).absolute()
        return shlex.quote(printable(self.name if beside else path))

    def known_meta(self) -> dict[str, Any]:
        """As `meta`. Raises UserError too where it is of no schema that this version knows."""
        meta = self.meta()
        schema = meta.get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise UserError(f"{printable(self.path)} is damaged: its meta.json has no schema version")
        if schema > SCHEMA:
            raise UserError(
                f"run {printable(self.name)} was made by a newer pixeltui (schema {schema}, this one knows {SCHEMA}): "
                "install a newer version"
            )
        return meta

    def meta(self) -> dict[str, Any]:
        """Tables and lists in it are such, whatever somebody wrote. Raises UserError where it cannot be read."""
        try:
            meta = json.loads(read_regular(self.meta_path, most=LARGEST_META))
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
            raise UserError(f"{printable(self.path)} is no run, or damaged: meta.json: {reason}") from None
        if not isinstance(meta, dict):
            raise UserError(f"{printable(self.path)} is damaged: meta.json holds no table")
        meta = _shaped(meta, META)
        if "data" in meta:
            meta["data"] = _shaped(meta["data"], META_DATA)
        return {**meta, **{key: list(map(str, meta[key])) for key in ("overrides", "tags") if key in meta}}

    def data_checksum(self) -> object:
        """Of the data that it began with; None where that is not known."""
        return self.meta().get("data", {}).get("checksum")

    def update_meta(self, **changes: Any) -> None:
        self.change_meta(lambda meta: changes)

    def change_meta(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """change: from what is there to what is to be; others wait meanwhile, and do not undo it."""
        try:
            with held(self.path):
                meta = self.meta()
                write_atomic(self.meta_path, _json({**meta, **change(meta)}))
        except OSError as error:
            raise UserError(f"{self.meta_path} could not be written: {error.strerror}") from None

    def config(self, *, resumed: bool = False) -> Config:
        """As it was saved; resumed: with what was set on resumes. Raises UserError where it cannot be read."""
        overrides = self.meta().get("overrides", []) if resumed else []
        try:
            open_regular(self.config_path).close()
            return load_saved_config(self.config_path, overrides)
        except OSError as error:
            raise UserError(f"run {printable(self.name)} is damaged: config.toml: {error.strerror}") from None
        except ConfigError as error:
            why = str(error).replace(str(self.config_path), self.config_path.name)
            raise UserError(f"run {printable(self.name)} is damaged: {why}") from None

    def read_events(self) -> tuple[list[AnyEvent], int]:
        """All events, and how many lines were none."""
        reader = EventReader(self.events_path)
        return reader.read_new(), reader.skipped

    def lock(self) -> Lock:
        """The right to train into it, and to write what `own` lets through. Raises UserError."""
        lock = Lock.acquire(self.path)
        self._marks = lock.marks
        return lock

    def is_in_place(self) -> bool:
        """Whether the directory that this process locked, if it did, is still the one under that name."""
        if self._marks is None:
            return True
        directory, lock = self._marks
        with contextlib.suppress(OSError):
            return os.path.samestat((self.path / LOCK_NAME).stat(), lock)
        with contextlib.suppress(OSError):
            return os.path.samestat(self.path.stat(), directory)  # somebody took the lock file away, no more
        return False

    def own(self, path: Path) -> Path:
        """One of its folders or files, to write to. Raises OSError where that is a link, or the run was moved."""
        if not self.is_in_place():
            raise OSError(errno.ESTALE, f"{self.path} was moved or deleted: nothing is written until it is back")
        return own_folder(path)

    def is_locked(self) -> bool:
        """Whether a process trains into it."""
        return is_locked(self.path)

    def rename(self, name: str) -> "RunDir":
        check_name(name)
        target = self.path.parent / name
        if os.path.lexists(target):
            raise UsageError(f"there is a run {name!r} already")
        self._move(target, "rename")
        return RunDir(target)

    def delete(self) -> Path:
        """Moves the run to the trash beside it; returns where it is now."""
        trash = self.path.parent / TRASH
        target = trash / self.name
        try:
            trash.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{trash} could not be made: {error.strerror}") from None
        if os.path.lexists(target):
            target = trash / f"{self.name[:200]}-{time.time_ns()}"
        self._move(target, "delete")
        return target

    def _move(self, target: Path, verb: str) -> None:
        """Renames the directory, so that no process begins to train into it meanwhile."""
        if self.is_locked():
            raise UserError(f"run {printable(self.name)} is training: stop it before you {verb} it")
        try:
            with Lock.acquire(self.path) if self._can_be_locked() else contextlib.nullcontext():
                self.path.rename(target)
            fsync(target.parent)
            fsync(self.path.parent)
        except OSError as error:
            raise UserError(f"run {printable(self.name)} could not be moved: {error.strerror}") from None

    def _can_be_locked(self) -> bool:
        """Of a link the name is moved, and nothing is written to where it leads; what is no file no process locks."""
        lock = self.path / LOCK_NAME
        return not self.path.is_symlink() and (lock.is_file() or not lock.exists()) and not lock.is_symlink()


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{printable(name)[:120]!r} cannot be a run's name: letters, digits, '.', '_' and '-' only, up to 100, "
            "not beginning with '.' or '-'"
        )


def check_tag(tag: str) -> None:
    if not tag or len(tag) > TAG_LENGTH or not tag.isprintable() or any(c.isspace() for c in tag):
        raise UsageError(
            f"{printable(tag)[:TAG_LENGTH]!r} cannot be a tag: up to {TAG_LENGTH} characters that can be printed, "
            "without spaces"
        )


def new_run_name(preset: str, data_name: str) -> str:
    """A name from the parts and the local time: "quick-digits-20261123-211500-a1f3"."""
    data = re.sub(r"[^A-Za-z0-9_]+", "-", Path(data_name).stem).strip("-")[:40]
    return "-".join(filter(None, (preset, data, time.strftime("%Y%m%d-%H%M%S"), secrets.token_hex(2))))


def run_paths(runs_dir: Path) -> Iterator[Path]:
    """Every directory that is or was meant to be a run, by name."""
    with contextlib.suppress(OSError), os.scandir(runs_dir) as entries:
        found = [entry.path for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
        yield from map(Path, sorted(found))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def find_run(runs_dir: Path, reference: str, *, even_damaged: bool = False) -> RunDir:
    """The run of a name, a unique prefix or a path. Raises UserError with the nearest names.

    With `even_damaged`, a whole name in runs_dir finds whatever folder `runs list` shows under it, and a path whatever
    has a file of a run in it.
    """
    names = {path.name: path for path in run_paths(runs_dir)}
    if reference in names:
        return RunDir(names[reference]) if even_damaged else RunDir.open(names[reference])
    path = Path(reference)
    with contextlib.suppress(RuntimeError):  # there is no such user
        path = path.expanduser()
    if os.sep in reference or reference in (".", "..") or (reference and _has_files_of_a_run(path)):
        if even_damaged and _has_files_of_a_run(path):
            return RunDir(_absolute(path))
        if path.is_dir():
            return RunDir.open(path)
        raise UserError(f"there is no run at {printable(reference)}")
    matches = [name for name in names if reference and name.startswith(reference)]
    if len(matches) == 1:
        return RunDir.open(names[matches[0]])
    if matches:
        shown = ", ".join(printable(name) for name in sorted(matches)[:6])
        raise UserError(
            f"{printable(reference)!r} begins the names of {len(matches)} runs: {shown}; give more of the name"
        )
    hint = did_you_mean(reference, names) or ("" if names else ": there are no runs there")
    raise UserError(f"no run {printable(reference)!r} in {runs_dir}{printable(hint)}")


def _has_files_of_a_run(path: Path) -> bool:
    run = RunDir(path)
    return any(os.path.lexists(file) for file in (run.meta_path, run.events_path))


def _absolute(path: Path) -> Path:
    """Under the name that it was given: a link keeps its own."""
    return path.resolve() if path.name in ("", "..") else path.absolute()


def _shaped(table: dict[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """With an empty one in place of what is not of its kind."""
    odd = [key for key, kind in kinds.items() if not isinstance(table.get(key, kind()), kind)]
    return {**table, **{key: kinds[key]() for key in odd}}


def _remove_tree(path: Path) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def _json(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree, indent=1).encode() + b"\n"
