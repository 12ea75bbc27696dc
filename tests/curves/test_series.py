"""Points of curves: extremes of any stretch, gaps, lookups, smoothing."""

import math
import random

import pytest

from pixeltui.curves.series import Series, Smoother


def test_extremes_equal_a_plain_search() -> None:
    draw = random.Random(0)
    ys = [math.nan if draw.random() < 0.02 else draw.gauss(0, 1) for _ in range(5000)]
    ys[1000:1300] = [math.nan] * 300
    series = Series("loss")
    for start in range(0, 5000, 37):  # blocks fill up bit by bit
        series.extend(range(start, min(5000, start + 37)), ys[start : start + 37])
    for _ in range(500):
        start, stop = sorted((draw.randrange(5001), draw.randrange(5001)))
        part = [y for y in ys[start:stop] if not math.isnan(y)]
        assert series.extremes(start, stop) == (min(part, default=math.inf), max(part, default=-math.inf))


def test_gaps_and_lookups() -> None:
    series = Series("val", [0, 10, 20, 30], [1.0, None, math.inf, 4.0])
    assert list(series.gaps) == [1, 2]
    assert series.value_at(2) == (0, 1.0)
    assert math.isnan(series.value_at(12)[1])
    assert series.value_at(29) == (30, 4.0)
    assert series.value_at(-1) is None
    assert series.value_at(31) is None
    assert series.last == 4.0
    series.append(40, math.nan)
    assert series.last is None
    assert series.view(9, 21) == (0, 4)


@pytest.mark.parametrize(("xs", "ys"), [([1, 0], [1, 1]), ([0, math.nan], [1, 1]), ([math.inf], [1]), ([0], [])])
def test_wrong_points_are_refused(xs: list[float], ys: list[float]) -> None:
    with pytest.raises(ValueError, match="series 'loss'"):
        Series("loss", xs, ys)
    series = Series("loss", [5], [1])
    with pytest.raises(ValueError, match="must not decrease"):
        series.append(4, 1)


def test_smoothing_is_unbiased_and_goes_on_between_calls() -> None:
    smooth = Smoother(0.9)
    first = smooth([2.0, 2.0, None])
    assert first[:2] == pytest.approx([2, 2])
    assert first[2] is None
    assert Smoother(0.9)([2.0, 2.0, None, 5.0])[3] == smooth([5.0])[0]
    assert Smoother(0)([1.0, 7.0]) == [1, 7]
    for value in (3.7984449429, 0.1, 1e14 / 3):
        assert Smoother(0.6)([value] * 3) == [value] * 3, "drawn in the same cell as the value itself"
