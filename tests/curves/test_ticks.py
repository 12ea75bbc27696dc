"""Ticks are round numbers, and their labels say exactly which."""

import itertools
import math
import random

import pytest

from pixeltui.curves import ticks


def test_linear_ticks_are_multiples_of_1_2_5() -> None:
    draw = random.Random(1)
    for _ in range(300):
        low = draw.uniform(-100, 100)
        high = low + 10 ** draw.uniform(-4, 7)
        found = ticks.linear_ticks(low, high, 8)
        step = ticks.nice_step(high - low, 8)
        assert all(b - a == pytest.approx(step, rel=1e-4) for a, b in itertools.pairwise(found))
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-6
        assert all(low - step * 1e-6 <= t <= high + step * 1e-6 for t in found)
        assert 2 <= len(found) <= 9
        assert all(abs(t / step - round(t / step)) < 1e-6 for t in found)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 0.5, 1.0], ["0.0", "0.5", "1.0"]),
        ([2.92, 2.94], ["2.92", "2.94"]),
        ([0, 5000, 10000], ["0", "5k", "10k"]),
        ([0, 500, 1000], ["0", "500", "1000"]),
        ([1_000_000, 1_500_000], ["1.0M", "1.5M"]),
        ([12_000, 12_500], ["12.0k", "12.5k"]),
        ([0, 1e-4, 2e-4], ["0", "1e-4", "2e-4"]),
        ([9e-4, 9.5e-4], ["9.0e-4", "9.5e-4"]),
        ([2.2e13, 2.4e13], ["2.2e13", "2.4e13"]),
        ([], []),
    ],
)
def test_labels(values: list[float], labels: list[str]) -> None:
    assert ticks.format_ticks(values) == labels


def test_log_ticks() -> None:
    assert ticks.log_ticks(1, 1000, 20) == pytest.approx([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
    assert ticks.log_ticks(0.001, 1000, 8) == pytest.approx([1e-3, 1e-2, 0.1, 1, 10, 100, 1000])
    assert len(ticks.log_ticks(1e-30, 1e30, 6)) <= 7
    assert ticks.log_ticks(2, 3, 5) == pytest.approx([2.0, 2.2, 2.4, 2.6, 2.8, 3.0])
    assert ticks.format_log_ticks([1e-4, 0.01, 0.5, 100, 1e6]) == ["1e-4", "0.01", "0.5", "100", "1e6"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5s"), (45, "45s"), (60, "1m"), (200, "3m20"), (4800, "1h20"), (187_200, "2d04h"), (-60, "-1m")],
)
def test_times(seconds: float, text: str) -> None:
    assert ticks.format_time(seconds) == text


def test_time_ticks_are_round() -> None:
    assert ticks.x_ticks(0, 7300, 60, "time")[1] == ["0", "30m", "1h00", "1h30", "2h00"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.94372, "2.944"), (0.0003, "3.00e-4"), (1234567, "1.23e6"), (12345, "12,345"), (0, "0.000"), (123.4, "123.4")],
)
def test_values(value: float, text: str) -> None:
    assert ticks.format_value(value) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.1, "0.1"),
        (0.02, "0.02"),
        (3e-3, "3e-3"),
        (3.0434e-7, "3.04e-7"),
        (9.9996e-3, "0.01"),
        (0.0, "0"),
        (12, "12"),
        (2.27e13, "2.27e13"),
    ],
)
def test_learning_rates(rate: float, text: str) -> None:
    assert ticks.format_rate(rate) == text


def test_an_axis_of_learning_rates_writes_them_as_they_are_written_elsewhere() -> None:
    assert ticks.y_ticks(0, 0.003, 8, False, ticks.TINY_RATE)[1] == ["0", "1e-3", "2e-3", "3e-3"]
    assert ticks.y_ticks(1e-4, 0.02, 8, True, ticks.TINY_RATE)[1] == ["1e-4", "1e-3", "0.01"]
    assert ticks.format_ticks([2.999e-3, 2.9995e-3, 3e-3], ticks.TINY_RATE) == ["2.9990e-3", "2.9995e-3", "3.0000e-3"]
    assert ticks.format_ticks([0, 5e-4, 1e-3, 1.5e-3], ticks.TINY_RATE) == ["0", "5e-4", "1.0e-3", "1.5e-3"]


def test_steps_have_no_fractions() -> None:
    assert ticks.x_ticks(0, 3, 100, "step")[0] == [0, 1, 2, 3]


@pytest.mark.parametrize(("low", "high", "height"), [(1.6, 3.75, 5), (1.7, 7.9, 5), (2.1, 3.9, 4), (0.6, 3.4, 5)])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_has_two_ticks_or_more_at_least_a_row_apart(low: float, high: float, height: int, log: bool) -> None:
    found, labels = ticks.y_ticks(low, high, height, log)
    assert 2 <= len(found) <= height
    assert len(set(labels)) == len(found)
