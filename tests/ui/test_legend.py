"""What a chart's first row says where it is short of room."""

import pytest

from pixeltui.ui.widgets.plot import Entry, legend_row


def test_legend_gives_up_names_and_then_series() -> None:
    entries = [Entry("train", "2.500", 1, "━━"), Entry("validation", "2.600", 2, "━━")]
    wide, narrow, tiny = (legend_row("loss", entries, "", width) for width in (60, 28, 18))
    texts = ["".join(text for text, _ in row) for row in (wide, narrow, tiny)]
    assert [len(text) for text in texts] == [60, 28, 18]
    assert "validation 2.600" in texts[0]
    assert "2.600" in texts[1]
    assert "train" not in texts[1]
    assert "2.500" in texts[2]
    assert "2.600" not in texts[2]


def test_faint_series_leave_a_short_legend_first() -> None:
    entries = [Entry("train, raw", "2.500", 1, "━━", dim=True), Entry("val", "2.600", 2, "━━")]
    text = "".join(run[0] for run in legend_row("loss", entries, "", 30))
    assert "val 2.600" in text
    assert "2.500" not in text


@pytest.mark.parametrize("at", ["", "step 52"])
def test_a_narrow_chart_keeps_a_value_to_the_last(at: str) -> None:
    """Rather than the swatch, where it was read, or that the axis is logarithmic."""
    entries = [Entry("raw", "0.6384", 1, "━━"), Entry("smoothed", "0.6841", 2, "━━")]
    for width in (60, 40, 30, 25):
        row = legend_row("gradient norm (log)", entries, at, width)
        text = "".join(text for text, _ in row)
        assert len(text) == width
        assert "0.6384" in text, width
    assert "(log)" not in text
