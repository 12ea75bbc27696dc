"""What a report tells of a run, read from its directory."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixeltui.config import as_dict, dump_config, load_config
from pixeltui.curves.points import Curves
from pixeltui.errors import UserError
from pixeltui.store.files import read_regular
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import RunSummary, summarize
from pixeltui.store.view import NEWEST_STEPS, RunView
from pixeltui.toml import flat

LARGEST_PNG = 4 << 20
LARGEST_SETTINGS = 1 << 20
LINE_BYTES = 250
"""about as long as that of a step is: of a very long log points are put together as they come"""
MOST_PICTURES = 12
"""of those drawn while training; evenly spaced, the first and the last among them"""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A PNG of the run's samples folder, and the settings that produced it."""

    name: str
    png: bytes
    width: int
    height: int
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Story:
    name: str
    summary: RunSummary
    view: RunView
    curves: Curves
    meta: dict[str, Any]
    config: dict[str, Any]
    """key to value, flat, with what was set when the run was resumed"""
    config_toml: str
    """as the run began"""
    changed: dict[str, tuple[Any, Any]]
    """of the config, what its preset has otherwise: key to (the preset's, this run's)"""
    samples: list[tuple[int, Picture]]
    """by step, drawn while training"""
    pictures: list[Picture]
    """drawn afterwards: sweeps and others that are kept with the run"""
    skipped_lines: int
    """of the log, that were no events"""

    @property
    def seconds(self) -> float:
        """Of training, the time between two processes left out."""
        return max((points.seconds[-1] for points in self.curves.points.values() if points.seconds), default=0.0)


def read_story(run: RunDir) -> Story:
    """Raises UserError where the run cannot be read."""
    locked, reader = run.is_locked(), EventReader(run.events_path)
    view, curves = RunView(most_steps=NEWEST_STEPS), Curves(expected=reader.unread // LINE_BYTES)
    for events in reader.pieces():  # not all at once: a million take 500 MiB
        view.fold(events)
        curves.fold(events)
    config = run.config()
    flat_config = flat(as_dict(run.config(resumed=True)))
    try:
        preset = flat(as_dict(load_config(preset=config.preset)))
    except UserError:  # a preset that this version lacks
        preset = flat_config
    changed = {key: (preset.get(key), value) for key, value in flat_config.items() if value != preset.get(key)}
    samples = [(event.step, run.samples_dir / Path(event.path).name) for event in view.samples]
    while_training = {path for _, path in samples}
    others = sorted(path for path in run.samples_dir.glob("*.png") if path not in while_training)
    return Story(
        name=run.name,
        summary=summarize(run.path, view, locked=locked),
        view=view,
        curves=curves,
        meta=run.meta(),
        config=flat_config,
        config_toml=dump_config(config),
        changed=changed,
        samples=[(step, picture) for step, path in _spread(samples) if (picture := _picture(path))],
        pictures=[picture for path in others[:MOST_PICTURES] if (picture := _picture(path))],
        skipped_lines=reader.skipped,
    )


def _spread(samples: list[tuple[int, Path]]) -> list[tuple[int, Path]]:
    if len(samples) <= MOST_PICTURES:
        return samples
    last = len(samples) - 1
    return [samples[round(i * last / (MOST_PICTURES - 1))] for i in range(MOST_PICTURES)]


def _picture(path: Path) -> Picture | None:
    """None for what is missing, too large or no PNG."""
    try:
        png = read_regular(path, most=LARGEST_PNG)
    except OSError:
        return None
    if not png.startswith(PNG_SIGNATURE) or png[12:16] != b"IHDR" or len(png) < 24:
        return None
    width, height = struct.unpack(">II", png[16:24])
    try:
        settings = json.loads(read_regular(path.with_suffix(".json"), most=LARGEST_SETTINGS))
    except (OSError, ValueError, RecursionError):
        settings = {}
    return Picture(path.name, png, width, height, settings if isinstance(settings, dict) else {})
