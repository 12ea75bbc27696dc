"""Curves in cells: every point is there, nothing is bridged."""

import math
import random

import pytest

from pixeltui.curves.series import Series
from pixeltui.ui.widgets.raster import SYMBOLS, Frame, Trace, draw


@pytest.mark.parametrize("count", [50, 5_000])
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_appending_draws_what_drawing_anew_does(symbol: str, count: int) -> None:
    draw_y = random.Random(4)
    ys = [None if draw_y.random() < 0.01 else draw_y.gauss(0, 1) for _ in range(count)]
    frame = Frame(-3, count * 1.1, -3, 3, 60, 12)
    series = Series("a")
    trace = Trace(series)
    for start in range(0, count, 7):
        series.extend(range(start, min(count, start + 7)), ys[start : start + 7])
        trace.draw(frame, SYMBOLS[symbol])
    anew = draw(Series("a", range(count), ys), frame, SYMBOLS[symbol])
    assert trace.draw(frame, SYMBOLS[symbol]) == anew


@pytest.mark.parametrize("x1", [336, 374, 412, 526, 586, 634])
def test_a_point_between_two_columns_is_joined_whichever_it_falls_into(x1: int) -> None:
    """Rounded in one way where few points are new, in another where many are."""
    middle = x1 // 2
    series = Series("a", range(middle - 60, middle + 1), [0.1 * (x % 10) for x in range(61)])
    trace, frame = Trace(series), Frame(0, x1, 0, 1, 10, 6)
    trace.draw(frame, SYMBOLS["braille"])
    series.extend(range(middle + 1, x1), [0.5] * (x1 - middle - 1))
    seen = trace.draw(frame, SYMBOLS["braille"])
    assert all(any(seen.cells[column::10]) for column in range(4, 10))


def test_every_point_is_covered_by_dots() -> None:
    draw_y = random.Random(5)
    for count in (3, 40, 3000):
        ys = [draw_y.gauss(0, 1) for _ in range(count)]
        frame = Frame(0, count - 1, -4, 4, 50, 20)
        symbols = SYMBOLS["braille"]
        layer = draw(Series("a", range(count), ys), frame, symbols)
        row_of = frame.row_of(80)
        for x, y in enumerate(ys):
            column, row = frame.column(x, 100), math.floor(row_of(y) + 0.5)
            bit = symbols.bits[column % 2][row % 4]
            assert layer.cells[row // 4 * 50 + column // 2] & bit, (count, x)


def test_a_line_has_no_holes_and_a_gap_is_not_bridged() -> None:
    frame = Frame(0, 100, 0, 1, 50, 10)
    whole = draw(Series("a", [0, 100], [0.1, 0.9]), frame, SYMBOLS["braille"])
    assert all(any(whole.cells[y * 50 + x] for y in range(10)) for x in range(50))
    broken = draw(Series("a", [0, 40, 50, 60, 100], [0.5, 0.5, None, 0.5, 0.5]), frame, SYMBOLS["braille"])
    empty = [x for x in range(50) if not any(broken.cells[y * 50 + x] for y in range(10))]
    assert empty == list(range(21, 29))
    assert broken.gaps == {25}
