"""The pictures of the sampling screen: what is being drawn, what was kept before, where the bits of an image are."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pixeltui.session.wishes import Draw, Found, Rows, Score, Scored
from pixeltui.store.rundir import RunDir
from pixeltui.ui.draft import Draft
from pixeltui.ui.sheets import ImageShape, image_levels, sheet_pictures
from pixeltui.ui.widgets.gallery import Picture
from pixeltui.ui.widgets.pixels import to_rgb

EDGE: Final = bytes((255, 176, 32))
"""around what is filled in"""


class Easel:
    """The newest rows of one drawing; of a completion, the original and what is kept of it come first."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.original: Found | None = None
        self.rows: Rows | None = None
        self.mask = b""
        """what is kept of the original: 1"""
        self.busy = False
        self.columns: int | None = None
        self.row_names: list[str] = []
        """temperatures of a sweep"""
        self._id = 0
        self._edge: list[int] = []
        self._pictures: list[Picture] = []

    def begin(self, wish: Draw, shape: ImageShape | None) -> bool:
        """Places for the images, before the first row is there; whether they are others than before."""
        self.busy = True
        if shape is None:
            return False
        count = (wish.count or 1) * max(len(wish.temperatures), 1)
        empty = bytes(3 * shape.width * shape.height)
        before = self._pictures[:2] if wish.source else []
        others = len(self._pictures) != len(before) + count
        places = [Picture(empty, shape.width, shape.height, "", 0) for _ in range(count)]
        if others:
            self._pictures = before + places
            self.columns = wish.count if len(wish.temperatures) > 1 else None
            self.row_names = temperature_names(wish.temperatures) if self.columns else []
        return others

    def uncover(self, mask: bytes, edge: list[int]) -> None:
        """The original and what is kept of it, with an edge around the rest, before it is completed."""
        found = self.original
        self.rows, self.mask, self._edge = None, mask, edge
        if found is None:
            return
        _, _, height, width = found.shape
        (rgb,) = to_rgb(found.pixels, found.shape, found.levels)
        kept = bytearray(rgb)
        for i in range(width * height):
            if not mask[i]:
                kept[3 * i : 3 * i + 3] = bytes([(1 + (i % width + i // width) % 2) * 255 // 5] * 3)
        pictures = (rgb, found.name or "original"), (self._edged(bytes(kept)), "kept")
        self._pictures = [Picture(image, width, height, name) for image, name in pictures]
        self.columns, self.row_names = None, []

    def _edged(self, rgb: bytes) -> bytes:
        marked = bytearray(rgb)
        for i in self._edge:
            marked[3 * i : 3 * i + 3] = EDGE
        return bytes(marked)

    def take(self, rows: Rows) -> bool:
        """Whether they are of another drawing than before, or are complete, so that everything is to be shown anew."""
        self.busy = not rows.done
        new = rows.id != self._id or self.rows is None or rows.shape != self.rows.shape
        self.rows, self._id, self.columns = rows, rows.id, rows.columns
        firsts = rows.names[:: rows.columns] if rows.columns else []
        self.row_names = [name.partition(" ")[0] for name in firsts]
        height, width = rows.shape[2:]
        images = to_rgb(rows.pixels, rows.shape, rows.levels)
        self._pictures = [
            Picture(
                self._edged(rgb) if rows.first and i == 1 else rgb,
                width,
                height,
                rows.names[i] if i < len(rows.names) else "",
                None if i < rows.first or rows.rows == height else rows.rows,
            )
            for i, rgb in enumerate(images)
        ]
        return new

    def pictures(self) -> list[Picture]:
        return self._pictures

    def in_progress(self) -> list[tuple[int, Picture]]:
        """With its index, each picture that the last rows changed."""
        first = self.rows.first if self.rows else 0
        height = self.rows.shape[2] if self.rows else 0
        return [
            (i, Picture(p.rgb, p.width, p.height, p.label, height if p.rows_done is None else p.rows_done))
            for i, p in enumerate(self._pictures)
            if i >= first
        ]

    def score(self, index: int, draft: Draft) -> Score | None:
        """The wish for the bits of a picture, of the rows that are there; None where there are none."""
        if self.rows is not None and 0 <= index < self.rows.shape[0] and self.rows.rows:
            _, channels, height, width = self.rows.shape
            size = channels * height * width
            if self.rows.first and index == 1:
                return None
            pixels = self.rows.pixels[index * size : (index + 1) * size]
            place = index - self.rows.first
            label = self.rows.labels[place] if 0 <= place < len(self.rows.labels) else None
            own = self._own_class(draft) if place < 0 else label
            rows = height if place < 0 else self.rows.rows
            return Score(id=0, model=draft.model, pixels=pixels, rows=rows, label=own)
        if self.original is not None and index == 0:
            found, own = self.original, self._own_class(draft)
            return Score(id=0, model=draft.model, pixels=found.pixels, rows=found.shape[2], label=own)
        return None

    def _own_class(self, draft: Draft) -> int | None:
        """Of the original."""
        name = self.original.name if self.original is not None else ""
        return draft.classes.index(name) if name in draft.classes else None


class Earlier:
    """The sheets in a run's samples folder, the newest last."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.index = 0
        self.pictures: list[Picture] = []
        self.columns: int | None = None
        self.row_names: list[str] = []
        self._shape: ImageShape | None = None
        self._settings: dict[str, Any] = {}

    def use(self, run: RunDir, shape: ImageShape | None) -> None:
        """Reads what there is now, and the newest of it."""
        self._shape = shape
        found = [path for path in run.samples_dir.glob("*.png") if not path.name.startswith(".")]
        self.paths = sorted(found, key=lambda path: (_modified(path), path.name))
        self.index = len(self.paths) - 1
        self._read()

    def move(self, by: int) -> None:
        self.index = max(0, min(self.index + by, len(self.paths) - 1))
        self._read()

    @property
    def path(self) -> Path | None:
        return self.paths[self.index] if 0 <= self.index < len(self.paths) else None

    def _read(self) -> None:
        self.pictures, self._settings = [], {}
        if self.path is None or self._shape is None:
            return
        self.pictures = sheet_pictures(self.path, self._shape)
        try:
            found = json.loads(self.path.with_suffix(".json").read_bytes()[: 1 << 20])
            self._settings = found if isinstance(found, dict) else {}
        except (OSError, ValueError, RecursionError):
            self._settings = {}
        several = self._settings.get("temperatures")
        whole = isinstance(several, list) and several and len(self.pictures) % len(several) == 0
        self.columns = len(self.pictures) // len(several) if whole and isinstance(several, list) else None
        self.row_names = temperature_names(several) if self.columns and isinstance(several, list) else []

    @property
    def note(self) -> str:
        if self.path is None:
            return ""
        known = [
            f"{name} {self._settings[key]}"
            for key, name in (("step", "step"), ("temperature", "T"), ("guidance", "guidance"), ("seed", "seed"))
            if isinstance(self._settings.get(key), int | float)
        ]
        return " · ".join([f"{self.index + 1} of {len(self.paths)}", self.path.name, *known])

    def score(self, index: int, draft: Draft) -> Score | None:
        """The wish for the bits of a picture: its levels are read off the PNG, which holds them exactly."""
        if not 0 <= index < len(self.pictures) or self._shape is None:
            return None
        rgb, height = self.pictures[index].rgb, self.pictures[index].height
        rows = self._settings.get("rows", height)
        if not isinstance(rows, int) or not 0 < rows <= height:
            return None
        planes = image_levels(rgb, self._shape)
        return Score(id=0, model=draft.model, pixels=planes, rows=rows, label=self._label(index, draft))

    def _label(self, index: int, draft: Draft) -> int | None:
        """The class that an image was drawn as; of a completion the first images, which were not drawn, have none."""
        labels = self._settings.get("labels")
        if not isinstance(labels, list):
            return None
        place = index - max(len(self.pictures) - len(labels), 0)
        label = labels[place] if 0 <= place < len(labels) else None
        return label if isinstance(label, int) and 0 <= label < len(draft.classes) else None


def temperature_names(temperatures: Iterable[object]) -> list[str]:
    """As a sweep names its images."""
    return [f"T{one:g}" if isinstance(one, int | float) and abs(one) < 1e6 else "" for one in temperatures]


class HeatMap:
    """An image and the bits that each of its pixels takes."""

    def __init__(self, index: int, picture: Picture, rows: int, given: str) -> None:
        """rows: how many of it there are. given: the class that the bits are given, "" for none."""
        self.index = index
        self._rows = rows
        self._given = f"given class {given}" if given else "without a class"
        self.note = "scoring …"
        self._picture = picture
        self._colors: bytes | None = None
        self._bits = 0.0
        self._label = "scoring"

    @property
    def whole(self) -> bool:
        """Whether all of the image is scored."""
        return self._rows == self._picture.height

    def grow(self, picture: Picture) -> None:
        """More of it is drawn; the bits stay those of the rows that there were."""
        self._picture = picture

    def refuse(self, why: str) -> None:
        """There will be no bits."""
        self.note, self._label = why, "no bits"

    def take(self, scored: Scored) -> None:
        self._colors = scored.colors
        self._bits = scored.bits_per_dim
        bits = sorted(scored.bits)
        some = "the first row" if self._rows == 1 else f"the first {self._rows} rows"
        part = "" if self.whole else f"{some} · "
        self.note = (
            f"{scored.bits_per_dim:.3f} bits/dim · {part}{self._given} · pixels {bits[0]:.2f} to {bits[-1]:.2f} bits, "
            f"half under {bits[len(bits) // 2]:.2f} · white: as many as a blind guess takes"
        )

    def pictures(self) -> list[Picture]:
        one = self._picture
        scored = None if self.whole else self._rows
        drawn = scored if one.rows_done is None else one.rows_done
        image = Picture(one.rgb, one.width, one.height, one.label, drawn)
        if self._colors is None:
            return [image, Picture(bytes(len(one.rgb)), one.width, one.height, self._label, 0)]
        return [image, Picture(self._colors, one.width, one.height, f"{self._bits:.2f} bits/dim", scored)]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
