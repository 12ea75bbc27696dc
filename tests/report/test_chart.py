"""The charts of a report: what is drawn where."""

import math
import re

import pytest

from pixeltui.report.chart import Line, chart
from pixeltui.report.lines import likelihood_top


def paths(svg: str, kind: str) -> list[list[tuple[str, float, float]]]:
    """The pen's moves of each line of a kind, in thousandths of the plot from its upper left corner."""
    found = re.findall(rf'<path d="([^"]*)" class="{kind} c\d"', svg)
    return [[(a, float(x), float(y)) for a, x, y in re.findall(r"([ML])(\S+) (\S+?)(?= |$)", d)] for d in found]


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart("empty", []) == ""
    assert chart("gaps", [Line(name="a", xs=[1, 2], ys=[None, math.nan])]) == ""
    assert chart("log", [Line(name="a", xs=[1, 2], ys=[0.0, -1.0])], log=True) == ""


def test_larger_is_higher_and_later_is_further_right() -> None:
    (line,) = paths(chart("a", [Line(name="a", xs=[0, 5, 10], ys=[1.0, 3.0, 2.0])]), "line")
    (_, x0, y0), (_, x1, y1), (_, x2, y2) = line
    assert x0 < x1 < x2
    assert y1 < y2 < y0
    assert math.isclose(y2, (y0 + y1) / 2, abs_tol=0.2)


def test_a_gap_lifts_the_pen() -> None:
    (line,) = paths(chart("a", [Line(name="a", xs=[1, 2, 3, 4], ys=[1.0, None, 2.0, 3.0])]), "line")
    assert [move for move, _, _ in line] == ["M", "M", "L"]


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors() -> None:
    (line,) = paths(chart("a", [Line(name="a", xs=[1, 2, 3], ys=[1.0, 10.0, 100.0])], log=True), "line")
    (_, _, a), (_, _, b), (_, _, c) = line
    assert math.isclose(a - b, b - c, abs_tol=0.2)


def test_of_many_points_the_extremes_stay() -> None:
    ys = [math.sin(i / 1000) for i in range(20_000)]
    ys[12_345] = 9.0
    (line,) = paths(chart("a", [Line(name="a", xs=range(20_000), ys=ys)]), "line")
    assert len(line) <= 1000
    peak = min(line, key=lambda point: point[2])
    assert abs(peak[1] - 12_345 / 20_000 * 1000) < 20


def test_errors_are_bars_of_their_size() -> None:
    line = Line(name="a", xs=[0, 1], ys=[1.0, 2.0], errors=[0.25, None], style="dots")
    svg = chart("a", [line])
    ((x, top, bottom),) = re.findall(r'd="M(\S+) (\S+)V(\S+)" class="bar"', svg)
    dots = [tuple(map(float, dot)) for dot in re.findall(r'd="M(\S+) (\S+)h0" class="dot"', svg)]
    assert len(dots) == 2
    assert float(x) == dots[0][0]
    assert math.isclose(abs(float(top) - float(bottom)), (dots[0][1] - dots[1][1]) / 2, abs_tol=0.3)
    assert "1.000 ± 0.25" in svg


def test_a_line_that_ended_early_is_not_cut_off_whole() -> None:
    """One of two runs has seen a twentieth of what the other has: its best point is in the chart."""
    long = Line(name="long", xs=range(101), ys=[8.0 - 0.05 * x for x in range(101)], style="dots")
    short = Line(name="short", xs=[1, 2], ys=[9.0, 8.5], style="dots")
    faint = Line(name="no validation yet", xs=[1, 2], ys=[9.5, 8.7], style="faint")
    assert likelihood_top([long]) == pytest.approx(8.0 - 0.05 * 5)
    assert likelihood_top([long, short]) == 8.5
    assert likelihood_top([long, short, faint]) == 8.7


def test_what_lies_above_the_top_is_cut_and_told() -> None:
    line = Line(name="a", xs=[0, 1, 2], ys=[100.0, 2.0, 1.0])
    assert "lies above" in chart("a", [line], top=2.0)
    assert "lies above" not in chart("a", [line])
