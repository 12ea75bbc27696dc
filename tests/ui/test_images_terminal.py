"""Pictures cell by cell: the bytes of a real program on a pseudo-terminal against the pixels that it was given."""

import random

import pyte
import pytest
from terminal import program, run_program

from pixeltui.ui.colors import palette_rgb
from pixeltui.ui.widgets.dither import bayer_row, floyd_steinberg
from pixeltui.ui.widgets.pixels import QUADRANTS, quadrant_cells

TRUECOLOR = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TEXTUAL_ANIMATIONS": "none"}
FEW = {"TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"}
BACKGROUND = "101820"


def noise(width: int, height: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(3 * width * height)


def shown(label: str):
    return lambda screen: any(label in line for line in screen.display)


def halves(screen: pyte.Screen, x: int, y: int) -> tuple[str, str]:
    """Colours of the upper and the lower half of a cell."""
    cell = screen.buffer[y][x]
    if cell.data == " ":
        return cell.bg, cell.bg
    assert cell.data == "▀"
    return cell.fg, cell.bg


def pixel(rgb: bytes, width: int, x: int, y: int) -> str:
    return rgb[3 * (y * width + x) :][:3].hex()


@pytest.mark.parametrize(("width", "height", "scale"), [(32, 32, 1), (9, 7, 1), (9, 7, 2), (5, 5, 3)])
def test_truecolour_is_exact(width: int, height: int, scale: int) -> None:
    body = f"tile = ImageTile({width}, {height}, label='ready', scale={scale})\n"
    body += f"tile.set_rows(noise({width}, {height}), {height})\nyield tile"
    screen, _ = run_program(program(body), TRUECOLOR, shown("ready"))
    rgb = noise(width, height)
    for y in range(-(-height * scale // 2)):
        for x in range(width * scale):
            top, bottom = halves(screen, x + 1, y + 1)
            assert top == pixel(rgb, width, x // scale, 2 * y // scale), (x, y)
            lower = (2 * y + 1) // scale
            assert bottom == (pixel(rgb, width, x // scale, lower) if lower < height else BACKGROUND), (x, y)


def test_rows_that_are_not_drawn_stay_empty() -> None:
    body = "tile = ImageTile(16, 16, label='ready')\ntile.set_rows(noise(16, 16), 5)\nyield tile"
    screen, _ = run_program(program(body), TRUECOLOR, shown("ready"))
    rgb = noise(16, 16)
    for x in range(16):
        for y in range(2):
            assert halves(screen, x + 1, y + 1) == (pixel(rgb, 16, x, 2 * y), pixel(rgb, 16, x, 2 * y + 1))
        assert halves(screen, x + 1, 3) == (pixel(rgb, 16, x, 4), BACKGROUND)
        assert all(screen.buffer[y + 1][x + 1].data == "╱" for y in range(3, 8))


@pytest.mark.parametrize("finished", [True, False])
def test_256_colours_are_palette_entries(finished: bool) -> None:
    show = "tile.set_rows(noise(24, 24), 24)" if finished else "tile.set_rows(noise(24, 24), 20)"
    body = f"tile = ImageTile(24, 24, label='ready')\n{show}\nyield tile"
    screen, output = run_program(program(body), FEW, shown("ready"))
    rgb = noise(24, 24)
    if finished:
        indexed = floyd_steinberg(rgb, 24, 24, "256")
    else:
        indexed = b"".join(bayer_row(rgb[72 * y : 72 * y + 72], y, "256") for y in range(20))
    for y in range(len(indexed) // 48):
        for x in range(24):
            expected = tuple(bytes(palette_rgb(indexed[24 * row + x])).hex() for row in (2 * y, 2 * y + 1))
            assert halves(screen, x + 1, y + 1) == expected, (x, y)
    assert b"38;2;" not in output
    assert b"48;2;" not in output


def test_quadrants() -> None:
    body = "tile = ImageTile(16, 16, label='ready', scale=0)\ntile.set_rows(noise(16, 16), 16)\nyield tile"
    screen, _ = run_program(program(body), TRUECOLOR, shown("ready"))
    for y in range(4):
        for x, (char, color, background) in enumerate(quadrant_cells(noise(16, 16), 16, 16, 8, 4, y)):
            cell = screen.buffer[y + 1][x + 1]
            assert (cell.data, cell.fg, cell.bg) == (char, color.hex(), background.hex())
            assert cell.data in QUADRANTS


def test_gallery_places_every_picture() -> None:
    body = "yield Gallery([Picture(noise(20, 12, i), 20, 12, f'no {i}') for i in range(5)])"
    screen, _ = run_program(program(body), TRUECOLOR, shown("1–5 of 5"))
    for i in range(5):
        left, top = 7 + i % 3 * 22 + 1, i // 3 * 8 + 1
        rgb = noise(20, 12, i)
        for y in range(6):
            for x in range(20):
                assert halves(screen, left + x, top + y) == (pixel(rgb, 20, x, 2 * y), pixel(rgb, 20, x, 2 * y + 1))
        assert f"no {i}" in screen.display[top + 6]


def test_without_colours_there_are_characters() -> None:
    body = "tile = ImageTile(10, 4, label='ready')\n"
    body += "tile.set_rows(bytes(v for _ in range(4) for i in range(10) for v in [i * 28] * 3), 4)\nyield tile"
    screen, output = run_program(program(body), FEW | {"NO_COLOR": "1"}, shown("ready"))
    assert screen.display[1][1:11] == " .:-=+*#%@"
    assert b"38;" not in output.split(b"\x1b[?1049h")[-1].split(b" .:-=")[1][:40]
