"""Events as points, however many there are: bounded, with every extreme and every gap."""

import math
import random

import pytest

from pixeltui import events
from pixeltui.curves.points import Curves


def step(number: int, bits: float | None) -> events.Step:
    return events.Step(
        t=float(number),
        step=number,
        epoch=0.0,
        loss=bits,
        bits_per_dim=bits,
        lr=0.1,
        grad_norm=1.0,
        images_per_second=9.0,
    )


def started(number: int, t: float) -> events.Started:
    return events.Started(
        t=t, step=number, total_steps=9, steps_per_epoch=3, parameters=1, device="cpu", precision="fp32"
    )


def bits_of(curves: Curves):  # type: ignore[no-untyped-def]
    return curves.points["bits/train"]


@pytest.mark.parametrize("expected", [0, 1000])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_many_points_are_put_together_and_nothing_is_lost(expected: int, piece: int) -> None:
    """Extremes stay where they were, the mean is that of the values, a value that was missing is still marked."""
    draw = random.Random(0)
    values: list[float | None] = [draw.gauss(3, 0.1) for _ in range(1000)]
    values[437], values[611], values[801] = 9.0, None, -2.0
    curves = Curves(expected, most=64)
    told = [step(number, value) for number, value in enumerate(values, 1)]
    folded = [curves.fold(told[start : start + piece]) for start in range(0, 1000, piece)]
    assert any(folded) == (expected == 0), "whoever draws them is told that points went away"
    points = bits_of(curves)
    assert 16 <= len(points.steps) <= 64
    assert len(points.steps) == len(points.seconds) == len(points.ys) == len(points.lows) == len(points.highs)
    assert list(points.steps) == sorted(points.steps)
    for number, extremes in ((438, points.highs), (802, points.lows)):
        holder = next(i for i, last in enumerate(points.steps) if last >= number)
        assert extremes[holder] == values[number - 1]
    assert list(points.gaps) == [next(i for i, last in enumerate(points.steps) if last >= 612)]
    whole = [y for y in values[: int(points.steps[-1])] if y is not None]
    assert sum(points.ys) / len(points.ys) == pytest.approx(sum(whole) / len(whole), rel=0.01)
    assert all(low <= y <= high for low, y, high in zip(points.lows, points.ys, points.highs, strict=True))


def test_a_stretch_without_values_stays_a_gap() -> None:
    curves = Curves(most=8)
    curves.fold([step(number, None if 17 <= number <= 48 else 1.0) for number in range(1, 65)])
    points = bits_of(curves)
    assert points.per == 8
    assert [math.isnan(y) for y in points.ys] == [False] * 2 + [True] * 4 + [False] * 2
    assert (points.lows[3], points.highs[3]) == (math.inf, -math.inf)


@pytest.mark.parametrize("most", [8, 1000])
def test_what_a_resumed_run_does_again_takes_the_place_of_the_first(most: int) -> None:
    curves = Curves(most=most)
    curves.fold([started(0, 0.0), *(step(number, 1.0) for number in range(1, 41))])
    assert curves.fold([started(20, 100.0)]), "points went away"
    assert bits_of(curves).last_step <= 20
    curves.fold([step(number, 2.0) for number in range(21, 61)])
    points = bits_of(curves)
    assert list(points.steps) == sorted(points.steps)
    assert points.ys[0] == 1.0
    assert points.ys[-1] == 2.0


def test_a_step_measured_again_without_a_start_takes_its_place() -> None:
    curves = Curves()
    assert curves.fold([step(1, 1.0), step(2, 1.0), step(3, 1.0), step(2, 5.0)])
    assert list(bits_of(curves).steps) == [1, 2]
    assert list(bits_of(curves).ys) == [1.0, 5.0]
