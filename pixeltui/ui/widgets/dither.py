"""Pictures for terminals with 256 or 16 colours.

Error diffusion (Floyd and Steinberg 1976) for a finished picture; an ordered pattern (Bayer 1973) while it is being
drawn, since there a pixel's colour depends on no other pixel.
"""

from functools import cache
from typing import Final, Literal

from pixeltui.ui.colors import ANSI_16, CUBE_LEVELS, palette_rgb

FewColors = Literal["256", "16"]

_BAYER: Final = (0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5)
_NEARLY_GREY: Final = 16  # the ramp of greys is five times finer than the cube
_CUBE: Final = bytes(min(range(6), key=lambda i: abs(CUBE_LEVELS[i] - v)) for v in range(256))
_GREY: Final = bytes(232 + max(0, min(23, (v - 3) // 10)) for v in range(256))  # of 8, 18, ... 238 the nearest
_GREY_LADDER: Final = sorted(
    [(palette_rgb(i)[0], i) for i in range(232, 256)] + [(v, 16 + 43 * i) for i, v in enumerate(CUBE_LEVELS)]
)
_RGB: Final = tuple(palette_rgb(i) for i in range(256))


def nearest_256(red: int, green: int, blue: int) -> int:
    """Of the 240 fixed entries the one nearest in RGB."""
    r, g, b = _CUBE[red], _CUBE[green], _CUBE[blue]
    grey = _GREY[(red + green + blue) // 3]
    level = _RGB[grey][0]
    off = (CUBE_LEVELS[r] - red) ** 2 + (CUBE_LEVELS[g] - green) ** 2 + (CUBE_LEVELS[b] - blue) ** 2
    if (level - red) ** 2 + (level - green) ** 2 + (level - blue) ** 2 < off:
        return grey
    return 16 + 36 * r + 6 * g + b


@cache
def _nearest_16(red: int, green: int, blue: int) -> int:
    return min(
        range(16), key=lambda i: (ANSI_16[i][0] - red) ** 2 + (ANSI_16[i][1] - green) ** 2 + (ANSI_16[i][2] - blue) ** 2
    )


def nearest_16(red: int, green: int, blue: int) -> int:
    """Of the 16 named entries (xterm's) the one nearest in RGB, to 8 levels."""
    return _nearest_16(red & 248, green & 248, blue & 248)


def nearest(rgb: bytes, depth: FewColors) -> int:
    """Palette entry of one colour, without dithering."""
    return (nearest_256 if depth == "256" else nearest_16)(*rgb)


def floyd_steinberg(rgb: bytes, width: int, height: int, depth: FewColors) -> bytes:
    """RGB to indexed; the error of a pixel goes on to its neighbours to the right and below."""
    find = nearest_256 if depth == "256" else nearest_16
    out = bytearray(width * height)
    ahead = [0.0] * (3 * width + 6)  # errors for this row and the next, one pixel of margin on either side
    for y in range(height):
        here, ahead = ahead, [0.0] * (3 * width + 6)
        right_r = right_g = right_b = 0.0
        for x in range(width):
            i, j = 3 * (y * width + x), 3 * x + 3
            red = rgb[i] + here[j] + right_r
            green = rgb[i + 1] + here[j + 1] + right_g
            blue = rgb[i + 2] + here[j + 2] + right_b
            red = 0 if red < 0 else 255 if red > 255 else int(red + 0.5)
            green = 0 if green < 0 else 255 if green > 255 else int(green + 0.5)
            blue = 0 if blue < 0 else 255 if blue > 255 else int(blue + 0.5)
            index = out[y * width + x] = find(red, green, blue)
            shown = _RGB[index]
            error_r, error_g, error_b = (red - shown[0]) / 16, (green - shown[1]) / 16, (blue - shown[2]) / 16
            right_r, right_g, right_b = 7 * error_r, 7 * error_g, 7 * error_b
            ahead[j - 3] += 3 * error_r
            ahead[j - 2] += 3 * error_g
            ahead[j - 1] += 3 * error_b
            ahead[j] += 5 * error_r
            ahead[j + 1] += 5 * error_g
            ahead[j + 2] += 5 * error_b
            ahead[j + 3] += error_r
            ahead[j + 4] += error_g
            ahead[j + 5] += error_b
    return bytes(out)


@cache
def _ordered_cube() -> tuple[bytes, ...]:
    """By threshold: cube step of every value, the one below or above it."""
    tables = []
    for rank in _BAYER:
        table = bytearray(256)
        for value in range(256):
            low = max(i for i in range(6) if CUBE_LEVELS[i] <= value)
            high = min(5, low + 1)
            span = CUBE_LEVELS[high] - CUBE_LEVELS[low]
            table[value] = high if span and (value - CUBE_LEVELS[low]) / span > (rank + 0.5) / 16 else low
        tables.append(bytes(table))
    return tuple(tables)


@cache
def _ordered_grey() -> tuple[bytes, ...]:
    tables = []
    for rank in _BAYER:
        table = bytearray(256)
        for value in range(256):
            low = max(i for i, (level, _) in enumerate(_GREY_LADDER) if level <= value)
            high = min(len(_GREY_LADDER) - 1, low + 1)
            span = _GREY_LADDER[high][0] - _GREY_LADDER[low][0]
            up = span and (value - _GREY_LADDER[low][0]) / span > (rank + 0.5) / 16
            table[value] = _GREY_LADDER[high if up else low][1]
        tables.append(bytes(table))
    return tuple(tables)


def bayer_row(row: bytes, y: int, depth: FewColors) -> bytes:
    """One row of RGB to indexed; y is the row's number in its picture."""
    out = bytearray(len(row) // 3)
    ranks = _BAYER[4 * (y & 3) : 4 * (y & 3) + 4]
    cube, grey = _ordered_cube()[4 * (y & 3) : 4 * (y & 3) + 4], _ordered_grey()[4 * (y & 3) : 4 * (y & 3) + 4]
    for x in range(len(out)):
        red, green, blue = row[3 * x : 3 * x + 3]
        if depth == "16":
            shift = 8 * ranks[x & 3] - 60
            out[x] = nearest_16(*(max(0, min(255, v + shift)) for v in (red, green, blue)))
        elif max(red, green, blue) - min(red, green, blue) <= _NEARLY_GREY:
            out[x] = grey[x & 3][(red + green + blue) // 3]
        else:
            table = cube[x & 3]
            out[x] = 16 + 36 * table[red] + 6 * table[green] + table[blue]
    return bytes(out)
