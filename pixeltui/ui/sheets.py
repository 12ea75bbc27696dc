"""Samples as pictures: frames that are being drawn, and the PNG sheets of a run cut into their tiles again."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

from pixeltui.events import Frame
from pixeltui.greys import greys, nearest_levels
from pixeltui.store.files import read_regular
from pixeltui.store.rundir import RunDir
from pixeltui.ui.widgets.gallery import Picture

LARGEST_SHEET = 64 << 20
GAP = 4
TEXT_HEIGHT = 14
ENLARGED = 96


@dataclass(frozen=True)
class ImageShape:
    """Of a run's images."""

    height: int
    width: int
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunDir) -> "ImageShape | None":
        """Read off the run's meta.json. Raises UserError where that is damaged."""
        data = run.meta().get("data")
        shape = data.get("image_shape") if isinstance(data, dict) else None
        if not (
            isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 0 < n <= 256 for n in shape)
        ):
            return None
        return cls(shape[1], shape[2], tuple(map(str, data.get("classes") or ())) if isinstance(data, dict) else ())


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
    scale = max(1, ENLARGED // max(shape.height, shape.width))
    cell_width = shape.width * scale + GAP
    columns = (sheet.width - GAP) // cell_width
    tile_height = shape.height * scale + GAP
    cell_height = next((h for h in (tile_height + TEXT_HEIGHT, tile_height) if (sheet.height - GAP) % h == 0), 0)
    if not columns or not cell_height:
        return []
    rows = (sheet.height - GAP) // cell_height
    total = min(count or rows * columns, rows * columns, most)
    pictures = []
    for i in range(total):
        x, y = GAP + i % columns * cell_width, GAP + i // columns * cell_height
        tile = sheet.crop((x, y, x + shape.width * scale, y + shape.height * scale))
        small = tile.resize((shape.width, shape.height), Image.Resampling.NEAREST)
        pictures.append(Picture(small.tobytes(), shape.width, shape.height, labels[i] if i < len(labels) else ""))
    return pictures


def image_levels(rgb: bytes, levels: int, channels: int) -> bytes:
    """The levels [C, H, W] that a picture shows: a PNG holds them exactly."""
    return b"".join(rgb[channel::3] for channel in range(channels)).translate(nearest_levels(levels))


def _beside(path: Path, shape: ImageShape) -> tuple[list[str], int]:
    """Class names and the number of images, from the settings beside the sheet."""
    try:
        settings = json.loads(read_regular(path.with_suffix(".json"), most=1 << 20))
        labels = settings.get("names") or settings.get("labels") or []
        names = [shape.classes[n] if isinstance(n, int) and 0 <= n < len(shape.classes) else str(n) for n in labels]
        count = settings.get("count")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return [], 0
    return names, count if isinstance(count, int) and count > 0 else len(names)
