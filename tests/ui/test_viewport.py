"""What stretch of the data is in view."""

import pytest

from pixeltui.ui.widgets.viewport import XView, YView


def test_ranges_grow_in_steps() -> None:
    view = XView()
    ranges = set()
    for i in range(1, 1001):
        view.update(0, i)
        assert view.range[1] >= i
        ranges.add(view.range)
    assert len(ranges) < 35
    y_view, seen = YView(), set()
    for i in range(1, 1001):
        y_view.update(0, i)
        low, high = y_view.range
        assert low <= 0 < i <= high < 1.5 * i + 1
        seen.add((low, high))
    assert len(seen) < 35


def test_zoom_pan_follow_fit() -> None:
    view = XView()
    view.live = False
    view.update(0, 1000)
    view.zoom(4)
    assert view.range == (750, 1000)
    assert view.mode == "follow"
    view.update(0, 1100)
    assert view.range == (850, 1100)
    view.pan(-1)
    assert view.range == (600, 850)
    view.update(0, 1200)
    assert view.range == (600, 850)
    view.pan(-10)
    assert view.range == (0, 250)
    view.zoom(2, at=100)
    assert view.range == (50, 175)
    view.follow()
    assert view.range == (1075, 1200)
    view.zoom(0.001)
    assert view.mode == "all"
    assert view.range == (0, 1200)
    with pytest.raises(ValueError, match="empty"):
        view.set(3, 3)


@pytest.mark.parametrize("value", [1.0, 3.7984449429, 0.0, -2.5, 2.27e13, 6.59e-7])
@pytest.mark.parametrize("log", [False, True])
def test_values_that_differ_by_rounding_are_one(value: float, log: bool) -> None:
    """In the middle of a range that has a scale."""
    view = YView()
    view.set_log(log)
    view.update(*sorted((value * (1 - 1e-15), value * (1 + 1e-15))))
    low, high = view.range
    assert high - low > 0.1 * abs(value)
    if value > 0 or not log:
        assert low <= value < high
    if value and not log:
        assert (low + high) / 2 == pytest.approx(value)


def test_an_axis_of_what_is_never_below_zero_starts_there() -> None:
    view = YView()
    for low, high in ((200.0, 210.0), (0.0, 420.0), (3.0, 900.0)):
        view.update(low, high)
        assert 0 <= view.range[0] <= low
    view.update(-1.0, 900.0)
    assert view.range[0] < -1
