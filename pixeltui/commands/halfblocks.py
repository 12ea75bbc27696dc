"""Images as text: an upper half block a cell, its foreground the upper pixel and its background the lower one."""

import os
import shutil
import sys
from typing import Any, Literal, TextIO

from pixeltui.greys import greys
from pixeltui.ui.colors import detect_depth
from pixeltui.ui.widgets.dither import bayer_row

Color = Literal["truecolor", "256", "none"]

UPPER, LOWER, FULL = "▀", "▄", "█"
RESET = "\x1b[0m"


def terminal_color(stream: TextIO | None = None) -> Color:
    """What the terminal behind the stream, by default stdout, shows, as the console finds it; 256 where that is 16."""
    if not (stream or sys.stdout).isatty():
        return "none"
    depth = detect_depth(os.environ)
    return "256" if depth == "16" else depth


def terminal_columns() -> int:
    """Characters a line; 80 where there is no terminal."""
    return shutil.get_terminal_size().columns


def render(images: Any, levels: int, columns: int, color: Color) -> str:
    """A grid of images, one character a pixel wide and half a character a pixel high.

    images: uint8 [N, C, H, W], numpy array or tensor on the CPU; as many stand side by side, a column apart, as fit
    into `columns` characters, and at least one. levels: values of a sub-pixel; the highest is white. color "256":
    ordered dithering; "none": block characters, white from half of the levels up. Lines are joined by "\\n".
    """
    import numpy as np

    pixels = np.asarray(images)
    _, channels, height, width = pixels.shape
    rgb = np.frombuffer(greys(levels), np.uint8)[pixels]
    rgb = rgb.transpose(0, 2, 3, 1).repeat(1 if channels == 3 else 3, axis=3)
    per_row = max(1, (columns + 1) // (width + 1))
    lines: list[str] = []
    for start in range(0, len(rgb), per_row):
        row = rgb[start : start + per_row]
        if start:
            lines.append("")
        for y in range(0, height, 2):
            lower = row[:, y + 1] if y + 1 < height else None
            cells = (_cells(row[i, y], None if lower is None else lower[i], y, color) for i in range(len(row)))
            lines.append(" ".join(cells).rstrip(" ") if color == "none" else " ".join(cells))
    return "\n".join(lines)


def _cells(upper: Any, lower: Any | None, y: int, color: Color) -> str:
    """One image's cells of a line: upper and lower [W, 3], 0..255; lower is None below an odd last row."""
    if color == "none":
        marks = {(True, True): FULL, (True, False): UPPER, (False, True): LOWER, (False, False): " "}
        top = _bright(upper)
        bottom = [False] * len(top) if lower is None else _bright(lower)
        return "".join(marks[pair] for pair in zip(top, bottom, strict=True))
    styles = [f"\x1b[38;{code}" for code in _codes(upper, y, color)]
    if lower is not None:
        styles = [f"{style};48;{code}" for style, code in zip(styles, _codes(lower, y + 1, color), strict=True)]
    text, before = [], ""
    for style in styles:
        text.append(UPPER if style == before else f"{style}m{UPPER}")
        before = style
    return "".join(text) + RESET


def _bright(pixels: Any) -> list[bool]:
    return [0.299 * red + 0.587 * green + 0.114 * blue >= 127.5 for red, green, blue in pixels.tolist()]


def _codes(pixels: Any, y: int, color: Color) -> list[str]:
    """What follows 38; or 48; for each pixel [W, 3] of row y."""
    if color == "256":
        return [f"5;{index}" for index in bayer_row(pixels.tobytes(), y, "256")]
    return [f"2;{red};{green};{blue}" for red, green, blue in pixels.tolist()]
