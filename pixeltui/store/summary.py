"""A run in one row, fast: the beginning and the end of its log, without reading what lies between."""

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from pixeltui.errors import UserError
from pixeltui.events import AnyEvent, Started
from pixeltui.store.files import is_locked
from pixeltui.store.header import DamagedCheckpoint, read_header
from pixeltui.store.log import decode_lines, read_tail
from pixeltui.store.rundir import RunDir, run_paths
from pixeltui.store.view import RunState, RunView

PIECE = 64 * 1024


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


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """Every run, newest first; what cannot be read is listed as damaged."""
    return sorted(map(summarize, run_paths(runs_dir)), key=lambda run: (run.updated or "", run.name), reverse=True)


def summarize(path: Path) -> RunSummary:
    """The summary of one run directory. Never raises."""
    try:
        return _summarize(path)
    except (UserError, OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return RunSummary(name=path.name, path=str(path), state="damaged", updated=_mtime(path))


def _summarize(path: Path) -> RunSummary:
    run = RunDir.open(path)
    meta = run.meta()
    view = RunView().fold(_ends(run.events_path))
    created = meta.get("created", view.created)
    best, test = view.best, view.test
    best_bits = best.bits_per_dim if best else None
    if (header := _best_checkpoint(run)) is not None:
        best_bits = header
    return RunSummary(
        name=path.name,
        path=str(path),
        state=view.state(locked=is_locked(path)),
        data=str(meta["data"]["name"]) if "data" in meta else None,
        preset=str(meta["preset"]) if "preset" in meta else None,
        epoch=round(view.epoch, 3),
        step=view.step,
        total_steps=view.started.total_steps if view.started else None,
        best_val_bits_per_dim=best_bits,
        test_bits_per_dim=test.bits_per_dim if test else None,
        images_per_second=view.images_per_second,
        parameters=view.started.parameters if view.started else None,
        created=iso(created),
        updated=iso(view.updated) if view.updated else _mtime(path),
        tags=tuple(str(tag) for tag in meta.get("tags", ())),
    )


def _ends(log: Path) -> Iterable[AnyEvent]:
    """Events of the first and the last pieces of a log, in order; more of the end where it holds no Started event."""
    size = log.stat().st_size
    if size <= 2 * PIECE:
        return decode_lines(log.read_bytes().split(b"\n"))
    with log.open("rb") as file:
        head = decode_lines(file.read(PIECE).split(b"\n")[:-1])
    tail: Sequence[AnyEvent] = decode_lines(read_tail(log, PIECE).split(b"\n")[1:])
    started = [event for event in head if isinstance(event, Started)]
    return [*started, *tail]


def _best_checkpoint(run: RunDir) -> float | None:
    """The validation bits/dim of the best checkpoint, from its header."""
    path = run.checkpoints_dir / "best.safetensors"
    try:
        best = read_header(path)[1]["progress"]["best_bits_per_dim"]
    except (UserError, DamagedCheckpoint, KeyError, TypeError):
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


def json_document(tree: Any) -> str:
    return json.dumps(msgspec.to_builtins(tree), indent=1, ensure_ascii=True)
