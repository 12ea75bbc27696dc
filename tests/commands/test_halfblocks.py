"""Half blocks, read back by a terminal: every pixel is where and what it was."""

import io

import numpy as np
import pyte
import pytest
import torch

from pixeltui.commands.halfblocks import render, terminal_color

RNG = np.random.default_rng(0)


def screen(text, columns=80, lines=40):
    terminal = pyte.Screen(columns, lines)
    stream = pyte.Stream(terminal)
    stream.feed(text.replace("\n", "\r\n"))
    return terminal


def shown(terminal, x, y, height, width):
    """RGB [H, W, 3] of an image whose top left pixel is at column x, pixel row 2 y; 24-bit colours."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for row in range(height):
        for column in range(width):
            cell = terminal.buffer[y + row // 2][x + column]
            assert cell.data == "▀"
            pixels[row, column] = list(bytes.fromhex(cell.bg if row % 2 else cell.fg))
    return pixels


@pytest.mark.parametrize("height", [6, 5])
def test_truecolor_is_exact_in_a_grid_as_wide_as_the_terminal(height):
    images = torch.from_numpy(RNG.integers(0, 256, (5, 3, height, 7), dtype=np.uint8))
    terminal = screen(render(images, 256, 25, "truecolor"))
    assert max(len(line.rstrip()) for line in terminal.display) == 23  # three images and two gaps
    for i, image in enumerate(images.numpy()):
        x, y = 8 * (i % 3), 4 * (i // 3)
        assert (shown(terminal, x, y, height, 7) == image.transpose(1, 2, 0)).all()


def test_the_highest_level_is_white_and_grey_is_grey():
    text = render(np.array([[[[0, 8, 16]]]], np.uint8), 17, 80, "truecolor")
    assert [cell.fg for cell in screen(text).buffer[0].values()][:3] == ["000000", "808080", "ffffff"]


def test_one_image_at_least_and_nothing_after_the_last_line():
    text = render(np.zeros((2, 1, 4, 9), np.uint8), 2, 5, "none")
    assert text.split("\n") == [""] * 5
    assert render(np.ones((2, 1, 2, 9), np.uint8), 2, 5, "none") == "█" * 9 + "\n\n" + "█" * 9


def test_without_colours_block_characters_show_black_and_white():
    image = np.array([[[[0, 16, 0, 16], [0, 0, 16, 16], [16, 2, 15, 0]]]], np.uint8)
    assert render(image, 17, 80, "none") == " ▀▄█\n▀ ▀"


def test_256_colours_are_right_on_average():
    colors = shown_with_256([115, 60, 255])
    assert set(colors[:, 0]) == {95, 135}
    assert set(colors[:, 1]) == {0, 95}
    assert set(colors[:, 2]) == {255}
    assert np.abs(colors.mean(0) - [115, 60, 255]).max() < 4
    colors = shown_with_256([100, 100, 100])
    assert set(map(tuple, colors)) == {(98, 98, 98), (108, 108, 108)}
    assert np.abs(colors.mean(0) - 100).max() < 1
    greys = render(np.array([[[[0, 100, 255]]]], np.uint8), 256, 80, "256")
    assert "38;5;16m" in greys
    assert "38;5;241m" in greys  # 98
    assert "38;5;231m" in greys


def shown_with_256(color):
    """RGB [256, 3] of the pixels of an image that has this colour all over."""
    flat = np.broadcast_to(np.array(color, np.uint8)[None, :, None, None], (1, 3, 16, 16))
    lines = list(screen(render(flat, 256, 80, "256")).buffer.values())[:8]
    cells = [cell for line in lines for cell in list(line.values())[:16]]
    return np.array([list(bytes.fromhex(c)) for cell in cells for c in (cell.fg, cell.bg)])


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "stream", "color"),
    [
        ({"COLORTERM": "truecolor"}, Terminal(), "truecolor"),
        ({"COLORTERM": "24bit"}, Terminal(), "truecolor"),
        ({}, Terminal(), "256"),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, Terminal(), "none"),
        ({"TERM": "dumb"}, Terminal(), "none"),
        ({"TERM": "xterm-kitty"}, Terminal(), "truecolor"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Terminal(), "truecolor"),
        ({"TERM": "screen", "STY": "1.pts", "COLORTERM": "truecolor"}, Terminal(), "256"),
        ({"COLORTERM": "truecolor"}, io.StringIO(), "none"),
    ],
)
def test_the_terminal_decides(environment, stream, color, monkeypatch):
    for name in ("COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal_color(stream) == color
