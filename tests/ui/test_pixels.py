"""Bytes of images, resampling, quadrants and dithering, against plain definitions."""

import random

import pytest

from pixeltui.ui.colors import palette_rgb
from pixeltui.ui.widgets import dither, pixels


def test_to_rgb() -> None:
    grey = pixels.to_rgb(bytes([0, 1, 2, 3]), (2, 1, 1, 2), levels=4)
    assert grey == [bytes([0, 0, 0, 85, 85, 85]), bytes([170, 170, 170, 255, 255, 255])]
    colour = pixels.to_rgb(bytes([1, 2, 3, 4, 5, 6]), (1, 3, 1, 2))
    assert colour == [bytes([1, 3, 5, 2, 4, 6])]
    for data, shape, levels in ((b"ab", (1, 2, 1, 1), 256), (b"ab", (1, 1, 1, 1), 256), (b"a", (1, 1, 1, 1), 1)):
        with pytest.raises(ValueError, match=r"channels|bytes|levels"):
            pixels.to_rgb(data, shape, levels)


def test_equal_cells_are_one_run() -> None:
    assert pixels.half_block_keys(b"aab", b"bbb", 1, 2) == [(b"ab", 4), (b"bb", 2)]
    assert pixels.half_block_keys(b"abc" * 3, b"", 3, 1) == [(b"abc", 3)]


def squared_error(mask: int, four: list[tuple[int, int, int]]) -> float:
    error = 0.0
    for side in (0, 1):
        members = [p for i, p in enumerate(four) if (mask >> i & 1) == side]
        for c in range(3):
            mean = sum(p[c] for p in members) / len(members) if members else 0
            error += sum((p[c] - mean) ** 2 for p in members)
    return error


def test_quadrants_are_the_best_of_all_masks() -> None:
    draw = random.Random(2)
    for _ in range(300):
        four = [(draw.randrange(256), draw.randrange(256), draw.randrange(256)) for _ in range(4)]
        mask, color, background = pixels.quadrant(four)
        assert squared_error(mask, four) == pytest.approx(min(squared_error(m, four) for m in range(16)))
        inside = [p for i, p in enumerate(four) if mask >> i & 1]
        assert all(abs(color[c] - sum(p[c] for p in inside) / len(inside)) <= 0.5 for c in range(3))
        assert len(background) == 3
    assert pixels.quadrant([(9, 9, 9)] * 4) == (15, b"\t\t\t", b"\t\t\t")


@pytest.mark.parametrize(("width", "height"), [(32, 32), (28, 28), (7, 5), (1, 1), (3, 9)])
def test_means_of_boxes_cover_the_image(width: int, height: int) -> None:
    rgb = bytes([200, 100, 50]) * (width * height)
    for scale in (0, -1, -2):
        columns, rows = pixels.cell_size(width, height, scale)
        for row in range(rows):
            cells = pixels.quadrant_cells(rgb, width, height, columns, rows, row)
            assert len(cells) == columns
            assert {color for _, color, _ in cells} == {bytes([200, 100, 50])}


def test_sizes_and_fits() -> None:
    assert pixels.cell_size(32, 32, 1) == (32, 16)
    assert pixels.cell_size(5, 5, 3) == (15, 8)
    assert pixels.cell_size(32, 32, 0) == (16, 8)
    assert pixels.largest_scale(32, 32, 78, 22) == 1
    assert pixels.largest_scale(32, 32, 64, 32) == 2
    assert pixels.largest_scale(64, 64, 60, 30) == 0
    assert pixels.largest_scale(2, 2, 200, 60) == 8


def test_nearest_256_is_nearest() -> None:
    draw = random.Random(3)
    for _ in range(200):
        rgb = tuple(draw.randrange(256) for _ in range(3))

        def off(index: int, rgb: tuple[int, ...] = rgb) -> int:
            return sum((a - b) ** 2 for a, b in zip(palette_rgb(index), rgb, strict=True))

        best = min(off(i) for i in range(16, 256))
        assert off(dither.nearest_256(*rgb)) <= best + 64  # the grey is that of the mean, rounded


def blurred_error(rgb: bytes, indexed: bytes, size: int) -> float:
    """Mean squared error of 4x4 means: what an eye a few steps away sees."""
    error, count = 0.0, 0
    for y in range(0, size, 4):
        for x in range(0, size, 4):
            places = [(y + j) * size + x + i for j in range(4) for i in range(4)]
            for c in range(3):
                mean = sum(rgb[3 * p + c] - palette_rgb(indexed[p])[c] for p in places) / 16
                error, count = error + mean * mean, count + 1
    return error / count


@pytest.mark.parametrize("depth", ["256", "16"])
def test_dithering_beats_the_nearest_colour(depth: dither.FewColors) -> None:
    size = 32
    rgb = bytes(v for y in range(size) for x in range(size) for v in (40 + 4 * x, 60 + 3 * y, 90 + x + y))
    diffused = dither.floyd_steinberg(rgb, size, size, depth)
    ordered = b"".join(dither.bayer_row(rgb[96 * y : 96 * y + 96], y, depth) for y in range(size))
    plain = bytes(dither.nearest(rgb[i : i + 3], depth) for i in range(0, len(rgb), 3))
    assert 4 * blurred_error(rgb, diffused, size) < blurred_error(rgb, plain, size)
    assert blurred_error(rgb, ordered, size) < blurred_error(rgb, plain, size)
    if depth == "256":
        assert min(diffused) >= 16
        assert min(ordered) >= 16


def test_palette_colours_stay_as_they_are() -> None:
    for index in range(16, 256):
        rgb = bytes(palette_rgb(index)) * 16
        for out in (dither.floyd_steinberg(rgb, 4, 4, "256"), dither.bayer_row(rgb, 1, "256")):
            assert {palette_rgb(i) for i in out} == {palette_rgb(index)}
