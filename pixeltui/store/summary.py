"""A run in one row, fast: of its log all but the many step events, of a very long log the beginning and the end.

Summaries are kept beside the runs. The logs stay the single truth: a kept one counts only while size, time and inode of
what it came from are the same.
"""

import contextlib
import json
import math
import os
import time
import zlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from pixeltui.errors import UserError, printable
from pixeltui.events import AnyEvent
from pixeltui.store.files import is_locked, open_regular, read_regular, write_atomic
from pixeltui.store.header import read_header
from pixeltui.store.log import decode_lines
from pixeltui.store.rundir import RunDir, run_paths
from pixeltui.store.view import RunState, RunView
from pixeltui.toml import LARGEST_FILE, parsed

LONG = 4 << 20
PIECE = 64 << 10
LARGEST_PIECE = 4 << 20
SEARCHED = 1 << 20
NEWEST_STEPS = 20
STEP = b'{"type":"step"'
START = b'\n{"type":"start",'
TEST = b'"split":"test"'
CACHE_NAME = ".summaries.json"
CACHE_VERSION = 1
LARGEST_CACHE = 64 << 20
SOURCES = ("events.jsonl", "meta.json", "config.toml", "checkpoints", "lock")

Mark = tuple[tuple[int, int, int], ...]
"""of each source: size in bytes, time of its last change in ns, inode; zeros where it is not there"""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What `runs list` shows; unknown figures are None. Times are ISO 8601, UTC."""

    name: str
    path: str
    state: RunState
    data: str | None = None
    preset: str | None = None
    epoch: float | None = None
    step: int | None = None
    total_steps: int | None = None
    best_val_bits_per_dim: float | None = None
    test_bits_per_dim: float | None = None
    images_per_second: float | None = None
    parameters: int | None = None
    created: str | None = None
    updated: str | None = None
    tags: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    mark: Mark
    summary: RunSummary


class Cache(msgspec.Struct, frozen=True):
    version: int
    kept: dict[str, Kept]


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """Every run, newest first; what cannot be read is listed as damaged. Never raises."""
    old, kept, runs = _read_cache(runs_dir), {}, []
    for path in run_paths(runs_dir):
        summary, now = None, mark(path)
        if (known := old.get(path.name)) and known.mark == now and not is_locked(path):
            kept[path.name] = known
            summary = msgspec.structs.replace(known.summary, path=str(path))
        if summary is None:
            summary = summarize(path)
            settled = summary.state not in ("training", "paused", "damaged")
            if settled and path.name.isprintable():
                kept[path.name] = Kept(now, summary)
        runs.append(summary)
    if kept != old:
        # Where it cannot be written, the next listing is as slow as this one, no more.
        with contextlib.suppress(OSError, UnicodeEncodeError):
            write_atomic(runs_dir / CACHE_NAME, msgspec.json.encode(Cache(CACHE_VERSION, kept)))
    return sorted(runs, key=lambda run: (run.updated or "", run.name), reverse=True)


def mark(path: Path) -> Mark:
    """Changes with whatever a run's summary is made of; taken before that is read: what changes meanwhile is read again
    the next time."""
    found = []
    for name in SOURCES:
        try:
            source = os.stat(f"{path}/{name}")  # noqa: PTH116 (twice as quick)
            found.append((source.st_size, source.st_mtime_ns, source.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)


def _read_cache(runs_dir: Path) -> dict[str, Kept]:
    try:
        cache = msgspec.json.decode(read_regular(runs_dir / CACHE_NAME, most=LARGEST_CACHE), type=Cache)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return cache.kept if cache.version == CACHE_VERSION else {}


def summarize(path: Path, view: RunView | None = None, *, locked: bool | None = None) -> RunSummary:
    """The summary of one run directory. Never raises.

    view: of its whole log, where that has been read; locked: whether a process trained then, asked before.
    """
    try:
        return _summarize(path, view, is_locked(path) if locked is None else locked)
    except (UserError, OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return RunSummary(name=path.name, path=str(path), state="damaged", updated=_mtime(path))


def _summarize(path: Path, view: RunView | None, locked: bool) -> RunSummary:
    run = RunDir(path)
    meta = run.known_meta()
    config = read_regular(run.config_path, most=LARGEST_FILE)
    if zlib.crc32(config) != meta.get("config_crc32"):  # reading a thousand takes half a second
        parsed(config)  # without it nothing can be done with the run
    if not run.events_path.is_file():
        raise UserError(f"run {printable(run.name)} is damaged: there is no events.jsonl")
    whole = True
    if view is None:
        found, whole = _telling_events(run.events_path)
        view = RunView().fold(found)
    created = meta.get("created", view.created)
    best, test = view.best, view.test
    best_bits = best.bits_per_dim if best else None
    if not whole and (of_checkpoint := _best_checkpoint(run)) is not None:
        best_bits = of_checkpoint
    # A process that died before its first event leaves a run that is whole, and can be resumed.
    state = view.state(locked=locked) if view.started else "training" if locked else "crashed"
    return RunSummary(
        name=path.name,
        path=str(path),
        state=state,
        data=_text(meta["data"]["name"]) if "data" in meta else None,
        preset=_text(meta["preset"]) if "preset" in meta else None,
        epoch=round(view.epoch, 3),
        step=view.step,
        total_steps=view.started.total_steps if view.started else None,
        best_val_bits_per_dim=best_bits,
        test_bits_per_dim=test.bits_per_dim if test else None,
        images_per_second=view.images_per_second,
        parameters=view.started.parameters if view.started else None,
        created=iso(created),
        updated=iso(view.updated) if view.updated else _mtime(path),
        tags=tuple(_text(tag) for tag in meta.get("tags", ())),
    )


def _text(value: object) -> str:
    """As UTF-8 can hold it: file names and JSON escapes can make halves of characters."""
    return str(value).encode(errors="replace").decode()


def _telling_events(log: Path) -> tuple[list[AnyEvent], bool]:
    """The events that the summary hangs on, in order, and whether they come from the whole log. Raises OSError."""
    with open_regular(log) as file:
        content = file.read(LONG + 1)
        if len(content) <= LONG:
            return _without_old_steps(content.split(b"\n")), True
        return _ends(file.fileno(), os.fstat(file.fileno()).st_size), False


def _ends(log: int, length: int) -> list[AnyEvent]:
    """The first and the newest Started of a long log, its newest test score, and what its end tells; more of it where
    the end is garbage. log: its handle."""
    size, most = PIECE, min(LARGEST_PIECE, length)
    while not (tail := _without_old_steps(os.pread(log, size, max(length - size, 0)).split(b"\n")[1:])) and size < most:
        size *= 8
    start, test = _last(log, length, START, TEST)
    (line,) = _last(log, test, b"\n")
    early = [place for place in sorted({0, start + 1, line + 1}) if place < max(length - size, 1)]
    before = [os.pread(log, PIECE, place).split(b"\n", 1)[0] for place in early]
    return [*decode_lines(before), *tail]


def _last(log: int, end: int, *texts: bytes) -> list[int]:
    """Where each text begins for the last time before `end`, or -1. No mmap: a log that shrinks kills its reader."""
    places, longest = dict.fromkeys(texts, -1), max(map(len, texts))
    while end > 0 and -1 in places.values():
        begin = max(end - SEARCHED, 0)
        piece = os.pread(log, end - begin + longest - 1, begin)
        for text, place in places.items():
            if place < 0 and (found := piece.rfind(text)) >= 0:
                places[text] = begin + found
        end = begin
    return list(places.values())


def _without_old_steps(lines: list[bytes]) -> list[AnyEvent]:
    steps = [i for i, line in enumerate(lines) if line.startswith(STEP)]
    newest = steps[-NEWEST_STEPS] if len(steps) > NEWEST_STEPS else 0
    return decode_lines([line for i, line in enumerate(lines) if i >= newest or not line.startswith(STEP)])


def _best_checkpoint(run: RunDir) -> float | None:
    """The validation bits/dim of the best checkpoint, from its header."""
    path = run.checkpoints_dir / "best.safetensors"
    try:
        best = read_header(path).tree["progress"]["best_bits_per_dim"]
    except (UserError, KeyError, TypeError):
        return None
    return best if isinstance(best, float) else None


def iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def age(stamp: str | None, now: float | None = None) -> str:
    """How long ago an ISO time was, for people: "3 h ago"."""
    if stamp is None:
        return ""
    then = datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    seconds = max(0.0, (time.time() if now is None else now) - then)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _mtime(path: Path) -> str | None:
    try:
        return iso(path.stat().st_mtime)
    except OSError:
        return None


def readable(value: float | None, digits: int) -> str:
    """A figure for people, "" for none: with an exponent where a model has diverged."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.4g}"


def speed(images_per_second: float | None) -> str:
    """For people, "" for none: "5012", "6.7", "0.04"."""
    if images_per_second is None:
        return ""
    digits = 0 if images_per_second >= 10 else 1
    return f"{images_per_second:.{digits}f}" if images_per_second >= 1 else f"{images_per_second:.1g}"


def formatted(value: float | None, form: str) -> str:
    """For people, "" for none."""
    return "" if value is None else format(value, form)


def size(count: int | None) -> str:
    """Of a model, in parameters, for people, "" for none: "7.01 M", "874"."""
    return "" if count is None else f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)


def json_document(tree: Any) -> str:
    """What is not finite as null: JSON has no word for it."""
    return json.dumps(_finite(msgspec.to_builtins(tree)), indent=1, allow_nan=False)


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
