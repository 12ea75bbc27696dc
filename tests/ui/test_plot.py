"""Curves that meet in a chart: none of them is lost."""

import itertools
from collections import Counter

import pytest

from pixeltui.curves.series import Series
from pixeltui.ui.widgets.plot import plot_rows
from pixeltui.ui.widgets.raster import SYMBOLS, Frame, GraphSymbol, Trace, draw

FRAME = Frame(0, 100, 0, 1, 60, 8)


def cells(*series: Series, symbol: GraphSymbol = "braille", letters: bool = False) -> list[list[tuple[str, int]]]:
    """Character and style of every cell of the plot."""
    traces = [Trace(one) for one in series]
    rows = plot_rows(traces, FRAME, SYMBOLS[symbol], {}, label_width=0, letters=letters)
    return [[(char, style) for text, style in row[2:] for char in text] for row in rows]


def colors(*series: Series) -> Counter[int]:
    return Counter(style for row in cells(*series) for _, style in row if style)


def flat(name: str, y: float = 0.5, **rest: bool) -> Series:
    return Series(name, range(101), [y] * 101, **rest)


@pytest.mark.parametrize("count", range(1, 9))
def test_curves_that_lie_on_each_other_are_all_seen(count: int) -> None:
    seen = colors(*(flat(str(i)) for i in range(count)))
    assert sum(seen.values()) == FRAME.width
    assert set(seen) == set(range(1, count + 1)) or count > 6
    assert len(seen) >= min(count, 6), "as many as there are colours"


@pytest.mark.parametrize("pair", list(itertools.combinations(range(5), 2)))
def test_two_that_meet_get_as_many_cells_whatever_else_there_is(pair: tuple[int, int]) -> None:
    seen = colors(*(flat(str(i), 0.5 if i in pair else 0.0) for i in range(5)))
    first, second = (seen[i + 1] for i in pair)
    assert first + second == FRAME.width
    assert abs(first - second) <= 4


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_cells_that_curves_share_have_the_dots_of_all(symbol: GraphSymbol) -> None:
    up, down = Series("up", [0, 100], [0, 1]), Series("down", [0, 100], [1, 0])
    layers = [draw(one, FRAME, SYMBOLS[symbol]) for one in (up, down)]
    both = bytes(a | b for a, b in zip(*(layer.cells for layer in layers), strict=True))
    text = "".join(char for row in cells(up, down, symbol=symbol) for char, _ in row)
    assert text == both.decode("latin-1").translate(SYMBOLS[symbol].table)


def test_a_bright_line_over_a_faint_noisy_one_stays_thin() -> None:
    noisy = Series("raw", range(101), [0.4 + 0.2 * (i % 2) for i in range(101)], dim=True)
    alone, both = cells(flat("smooth")), cells(noisy, flat("smooth"))
    line = [(y, x) for y, row in enumerate(alone) for x, (_, style) in enumerate(row) if style]
    assert len(line) == FRAME.width
    assert all(both[y][x] == (alone[y][x][0], 2) for y, x in line)


def test_markers_that_fall_on_one_cell_are_shared() -> None:
    often, seldom = Series("a", [0, 30, 60, 90], [0.5] * 4, marker=True), Series("b", [60], [0.5], marker=True)
    twice = Series("c", [0, 60], [0.5] * 2, marker=True)
    marked = [style for row in zip(*cells(seldom, twice, often), strict=True) for char, style in row if char == "●"]
    assert len(marked) == 4
    assert set(marked) == {1, 2, 3}
    assert marked[2] == 1, "the only one it has"


def test_one_point_alone_can_be_seen() -> None:
    (found,) = (cell for row in cells(Series("a", [50], [0.5])) for cell in row if cell[1])
    assert found == ("●", 1)
    assert not any(char == "●" for row in cells(flat("a")) for char, _ in row)


def test_letters_stand_beside_each_other_where_curves_end_together() -> None:
    rows = cells(flat("a"), flat("b"), flat("c", dim=True), symbol="ascii", letters=True)
    assert ["".join(char for char, _ in row)[-4:] for row in rows if row[0][1]] == ["'cba"]


def test_a_new_point_changes_only_its_own_cells() -> None:
    first, second = (Series(name, range(60), [0.5 + 0.001 * i for i in range(60)]) for name in "ab")
    before = cells(first, second)
    first.append(60, 0.9)
    after = cells(first, second)
    changed = {x for row, old in zip(after, before, strict=True) for x, cell in enumerate(row) if cell != old[x]}
    assert changed
    assert min(changed) >= FRAME.column(59, FRAME.width) - 1
