"""Images as bytes, and what they become in cells: half blocks, quadrants or characters. No terminal here.

Images are RGB, row-major, three bytes a pixel; "indexed" ones hold a palette entry, one byte a pixel.
"""

from collections.abc import Sequence
from operator import add
from typing import Final

from pixeltui.greys import greys

RAMP: Final = " .:-=+*#%@"
QUADRANTS: Final = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
"""By mask: 1 upper left, 2 upper right, 4 lower left, 8 lower right."""


def to_rgb(pixels: bytes, shape: tuple[int, int, int, int], levels: int = 256) -> list[bytes]:
    """uint8 levels [N, C, H, W] with C of 1 or 3 to N images. Raises ValueError for a wrong shape or size."""
    count, channels, height, width = shape
    if channels not in (1, 3):
        raise ValueError(f"an image has 1 or 3 channels, not {channels}")
    area = height * width
    if len(pixels) != count * channels * area:
        raise ValueError(f"{len(pixels)} bytes do not make {count} images of {channels}x{height}x{width}")
    if not 2 <= levels <= 256:
        raise ValueError(f"levels must be in 2 to 256, not {levels}")
    if levels < 256:
        pixels = pixels.translate(greys(levels))
    images = []
    for start in range(0, len(pixels), channels * area):
        rgb = bytearray(3 * area)
        for channel in range(3):
            plane = start + (channel if channels == 3 else 0) * area
            rgb[channel::3] = pixels[plane : plane + area]
        images.append(bytes(rgb))
    return images


def half_block_keys(top: bytes, bottom: bytes, size: int, scale: int) -> list[tuple[bytes, int]]:
    """Runs of equal cells of one row, (key, cells): the upper pixel's bytes, then the lower's; only the upper's where
    `bottom` is empty (below the picture's edge). size: bytes a pixel. scale: cells a pixel."""
    runs: list[tuple[bytes, int]] = []
    last, count = b"", 0
    for i in range(0, len(top), size):
        key = top[i : i + size] + bottom[i : i + size]
        if key == last:
            count += scale
        else:
            if count:
                runs.append((last, count))
            last, count = key, scale
    if count:
        runs.append((last, count))
    return runs


def ramp_text(top: bytes, bottom: bytes, scale: int) -> str:
    """One row of RGB half-block cells as characters, darker ones emptier."""
    bottom = bottom or top
    steps = len(RAMP)
    light = [
        299 * (top[i] + bottom[i]) + 587 * (top[i + 1] + bottom[i + 1]) + 114 * (top[i + 2] + bottom[i + 2])
        for i in range(0, len(top), 3)
    ]
    return "".join(RAMP[min(steps - 1, value * steps // 510_001)] * scale for value in light)


Rgb = tuple[int, int, int]


def box_row(rgb: bytes, width: int, height: int, columns: int, rows: int, row: int) -> list[Rgb]:
    """One row of the image resampled to columns x rows by means of boxes; boxes are whole pixels."""
    y0 = row * height // rows
    y1 = max(y0 + 1, (row + 1) * height // rows)
    line: Sequence[int] = rgb[3 * width * y0 : 3 * width * (y0 + 1)]
    for y in range(y0 + 1, y1):
        line = list(map(add, line, rgb[3 * width * y : 3 * width * (y + 1)]))
    if columns == width:
        area = y1 - y0
        line = line if area == 1 else [value // area for value in line]
        return list(zip(line[0::3], line[1::3], line[2::3], strict=True))
    out = []
    for column in range(columns):
        x0 = column * width // columns
        x1 = max(x0 + 1, (column + 1) * width // columns)
        area = (x1 - x0) * (y1 - y0)
        part = line[3 * x0 : 3 * x1]
        out.append((sum(part[0::3]) // area, sum(part[1::3]) // area, sum(part[2::3]) // area))
    return out


# A mask of a cell's four pixels and the one with the sides swapped are the same picture: 7 are enough.
_SINGLES: Final = ((1, 0), (2, 1), (4, 2), (8, 3))
_PAIRS: Final = ((3, 0, 1), (5, 0, 2), (6, 1, 2))


def quadrant(pixels: Sequence[Rgb]) -> tuple[int, bytes, bytes]:
    """Mask, foreground and background of the cell nearest to 2x2 pixels (upper left, upper right, lower left, lower
    right): of the 16 masks the one with the smallest squared error when each side takes its mean."""
    a, b, c, d = pixels
    if a == b == c == d:
        color = bytes(a)
        return 15, color, color
    red, green, blue = a[0] + b[0] + c[0] + d[0], a[1] + b[1] + c[1] + d[1], a[2] + b[2] + c[2] + d[2]
    # The error is least where the sum over both sides of |sum of pixels|^2 / count is largest.
    best, best_score, n, side = 0, -1.0, 1, a
    for mask, i in _SINGLES:
        r, g, b_ = pixels[i]
        score = r * r + g * g + b_ * b_ + ((red - r) ** 2 + (green - g) ** 2 + (blue - b_) ** 2) / 3
        if score > best_score:
            best, best_score, n, side = mask, score, 1, (r, g, b_)
    for mask, i, j in _PAIRS:
        r, g, b_ = pixels[i][0] + pixels[j][0], pixels[i][1] + pixels[j][1], pixels[i][2] + pixels[j][2]
        score = (r * r + g * g + b_ * b_ + (red - r) ** 2 + (green - g) ** 2 + (blue - b_) ** 2) / 2
        if score > best_score:
            best, best_score, n, side = mask, score, 2, (r, g, b_)
    r, g, b_ = side
    m = 4 - n
    color = bytes(((r + n // 2) // n, (g + n // 2) // n, (b_ + n // 2) // n))
    return best, color, bytes(((red - r + m // 2) // m, (green - g + m // 2) // m, (blue - b_ + m // 2) // m))


def quadrant_cells(
    rgb: bytes, width: int, height: int, columns: int, rows: int, row: int
) -> list[tuple[str, bytes, bytes]]:
    """(character, foreground, background) of the cells of one row of an image shown in columns x rows cells."""
    upper = box_row(rgb, width, height, 2 * columns, 2 * rows, 2 * row)
    lower = box_row(rgb, width, height, 2 * columns, 2 * rows, 2 * row + 1)
    cells = []
    for x in range(0, 2 * columns, 2):
        mask, color, background = quadrant((upper[x], upper[x + 1], lower[x], lower[x + 1]))
        cells.append((QUADRANTS[mask], color, background))
    return cells


def cell_size(width: int, height: int, scale: int) -> tuple[int, int]:
    """Columns and rows of an image in half blocks (scale 1 to 8), or quadrants (0: half the size, -1: a quarter...)."""
    if scale >= 1:
        return width * scale, -(-height * scale // 2)
    shrink = 2 ** (1 - scale)
    return max(1, -(-width // shrink)), max(1, -(-height // (2 * shrink)))


def largest_scale(width: int, height: int, columns: int, rows: int) -> int:
    """The largest scale, 8 at most, whose picture fits into columns x rows cells; -3 if none does."""
    for scale in range(8, -4, -1):
        needed = cell_size(width, height, scale)
        if needed[0] <= columns and needed[1] <= rows:
            return scale
    return -3
