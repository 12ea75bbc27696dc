"""What a chart's first and last row say where they are short of room."""

import pytest
from rich.cells import cell_len

from pixeltui.ui.widgets.plot import Entry, axis_rows, legend_row
from pixeltui.ui.widgets.raster import SYMBOLS, Frame


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


def test_a_smoothed_curve_is_never_taken_for_the_values() -> None:
    entries = [Entry("train, raw", "2.500", 1, "━━", dim=True), Entry("train, smoothed", "2.600", 2, "━━")]
    entries += [Entry("val", "2.700", 3, "━━")]
    texts = ["".join(run[0] for run in legend_row("bits/dim", entries, "", width)) for width in (80, 54, 46)]
    assert "train, raw 2.500" in texts[0]
    assert all("train, smoothed 2.600" in text for text in texts[:2])
    assert "train ~ 2.600" in texts[2]
    assert all("val 2.700" in text for text in texts)


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


def compared(count: int, swatch: str = "━━") -> list[Entry]:
    """Of so many runs, the curve of training and the one of the validation split."""
    names = [f"run-{chr(ord('a') + i)}-of-the-sweep" for i in range(count)]
    entries = []
    for i, name in enumerate(names):
        entries += [Entry(f"{name} train", "2.500", 2 * i + 1, swatch, dim=True)]
        entries += [Entry(f"{name} val", f"2.{600 + i}", 2 * i + 2, swatch)]
    return entries


@pytest.mark.parametrize(("count", "width"), [(2, 78), (3, 78), (4, 98), (6, 78), (6, 98), (6, 138), (6, 248)])
def test_every_run_of_a_comparison_is_named(count: int, width: int) -> None:
    """By a swatch with a name beside it, or by a name in its colour."""
    row = legend_row("bits/dim", compared(count), "", width)
    assert len("".join(text for text, _ in row)) == width
    for i in range(count):
        (at,) = (at for at, (text, _) in enumerate(row) if text == f"2.{600 + i} ")
        name, swatch = row[at - 1], row[at - 2]
        assert name[0].startswith("r")
        assert 2 * i + 2 in (name[1], swatch[1])


def test_letters_stay_where_they_are_the_only_colours() -> None:
    row = legend_row("bits/dim", compared(6, "x"), "", 98)
    assert [text for text, _ in row].count(" x ") == 6


def test_a_name_of_wide_characters_takes_two_cells_each() -> None:
    entries = [Entry("画像の学習 val", "2.500", 1, "━━"), Entry("手書き数字 val", "2.600", 2, "━━")]
    for width in range(30, 90):
        assert cell_len("".join(text for text, _ in legend_row("bits/dim", entries, "", width))) == width


@pytest.mark.parametrize("last", [45, 130, 200, 230, 704, 12_345, 100_000])
def test_an_x_axis_has_a_scale(last: int) -> None:
    """One label alone, for want of room beside the axis's name, gives none."""
    for width in range(36, 130):
        frame = Frame(1.0, float(last), 2.0, 4.0, width, 6, False)
        *_, ((text, _),) = axis_rows(frame, SYMBOLS["braille"], "step", 3)
        assert len(text) == width + 5
        assert len(text.removesuffix("step").split()) > 1, text
