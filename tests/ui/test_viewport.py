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
