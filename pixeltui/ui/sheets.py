"""Samples as pictures: frames that are being drawn, and the PNG sheets of a run cut into their tiles again."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

from pixeltui.events import Frame
from pixeltui.greys import greys, nearest_levels
from pixeltui.store.files import read_regular
from pixeltui.store.rundir import RunDir
from pixeltui.store.sheet import SheetLayout
from pixeltui.ui.widgets.gallery import Picture

LARGEST_SHEET = 64 << 20


@dataclass(frozen=True)
class ImageShape:
    """Of a run's images."""

    height: int
    width: int
    classes: tuple[str, ...] = ()
    channels: int = 3
    levels: int = 256

    @classmethod
    def of(cls, run: RunDir) -> "ImageShape | None":
        """Read off the run's meta.json, None where that does not say it. Raises UserError where that is damaged."""
        data = run.meta().get("data", {})
        shape, levels = data.get("image_shape", []), data.get("levels")
        if len(shape) != 3 or not all(isinstance(n, int) and 0 < n <= 256 for n in [*shape, levels]) or levels < 2:
            return None
        channels, height, width = shape
        return cls(height, width, tuple(map(str, data.get("classes", ()))), channels, levels)


def frame_pictures(frame: Frame) -> list[Picture]:
    """One picture an image, rows that are not drawn yet left out."""
    count, channels, height, width = frame.shape
    values = frame.pixels.translate(greys(max(frame.levels, 2)))
    plane = height * width
    pictures = []
    for i in range(count):
        base = i * channels * plane
        rgb = bytearray(3 * plane)
        for c in range(3):
            start = base + min(c, channels - 1) * plane
            rgb[c::3] = values[start : start + plane]
        label = frame.labels[i] if i < len(frame.labels) else ""
        pictures.append(Picture(bytes(rgb), width, height, label, frame.rows_done))
    return pictures


def sheet_pictures(path: Path, shape: ImageShape, most: int = 256) -> list[Picture]:
    """The tiles of a PNG sheet of samples; none where it cannot be read as one."""
    from PIL import Image

    try:
        if path.is_symlink():
            return []
        # PNG alone: for some other formats Pillow starts other programs.
        with Image.open(io.BytesIO(read_regular(path, most=LARGEST_SHEET)), formats=("PNG",)) as image:
            if image.size[0] * image.size[1] > LARGEST_SHEET:
                return []
            sheet = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return []
    labels, count = _beside(path, shape)
    layout = SheetLayout.of_sheet(sheet.size, shape.height, shape.width, count)
    if layout is None:
        return []
    pictures = []
    for i in range(min(layout.count, most)):
        x, y = layout.corner(i)
        tile = sheet.crop((x, y, x + layout.tile[0], y + layout.tile[1]))
        small = tile.resize((shape.width, shape.height), Image.Resampling.NEAREST)
        pictures.append(Picture(small.tobytes(), shape.width, shape.height, labels[i] if i < len(labels) else ""))
    return pictures


def image_levels(rgb: bytes, shape: ImageShape) -> bytes:
    """The levels [C, H, W] that a picture shows: a PNG holds them exactly."""
    return b"".join(rgb[channel::3] for channel in range(shape.channels)).translate(nearest_levels(shape.levels))


def _beside(path: Path, shape: ImageShape) -> tuple[list[str], int | None]:
    """Class names and, where they tell it, the number of images, from the settings beside the sheet."""
    try:
        settings = json.loads(read_regular(path.with_suffix(".json"), most=1 << 20))
        labels = settings.get("names") or settings.get("labels") or []
        names = [shape.classes[n] if isinstance(n, int) and 0 <= n < len(shape.classes) else str(n) for n in labels]
        count = settings.get("count")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return [], None
    return names, count if isinstance(count, int) and count > 0 else None
