"""What a chart shows, read from its strips, and which rows a change touches."""

import asyncio
import itertools
import math
import random
from collections.abc import Callable

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.geometry import Region
from textual.pilot import Pilot

from pixeltui.curves.series import Series
from pixeltui.ui.colors import DARK
from pixeltui.ui.widgets.chart import Chart
from pixeltui.ui.widgets.palette import depth_filters


class Bench(App[None]):
    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart
        self.messages: list[object] = []

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_chart_cursor_moved(self, message: Chart.CursorMoved) -> None:
        self.messages.append(message)

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        self.messages.append(message)


def lines(chart: Chart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def show(chart: Chart, check: Callable[[Pilot[None], Bench], object], size: tuple[int, int] = (100, 30)) -> None:
    async def run() -> None:
        app = Bench(chart)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            result = check(pilot, app)
            if asyncio.iscoroutine(result):
                await result

    asyncio.run(run())


def noisy(count: int = 100_000) -> Series:
    draw = random.Random(0)
    return Series("train", range(count), [3 + draw.gauss(0, 0.01) for _ in range(count)])


def dots(row: str) -> int:
    return sum(0x2800 < ord(char) < 0x2900 for char in row)


def test_a_spike_of_one_point_among_100_000_is_seen() -> None:
    series = noisy()
    spiked = Series("train", series.xs, [*series.ys[:77_777], 9.0, *series.ys[77_778:]])

    def check(pilot: object, app: Bench) -> None:
        rows = lines(app.chart)[1:-2]
        column = [row[x] for x in range(100) for row in rows[2:20] if 0x2800 < ord(row[x]) < 0x2900]
        assert len(column) == 18  # one unbroken line from the noise up to the spike
        assert "9" in "".join(row[:4] for row in rows)

    show(Chart("loss", [spiked], live=False), check)


def test_a_gap_has_a_red_mark_at_the_bottom() -> None:
    ys = [1.0] * 400 + [math.nan] * 20 + [2.0] * 580

    def check(pilot: object, app: Bench) -> None:
        bottom = app.chart.render_line(app.chart.size.height - 3)
        marks = [segment for segment in bottom if "✗" in segment.text]
        assert len(marks) == 1
        assert marks[0].style.color.triplet.hex == DARK.bad
        assert not any("✗" in row for row in lines(app.chart)[:-3])

    show(Chart("loss", [Series("train", range(1000), ys)]), check)


def test_axes_have_round_ticks() -> None:
    def check(pilot: object, app: Bench) -> None:
        rows = lines(app.chart)
        assert [row[:3].strip() for row in rows[1:-2] if row[:3].strip()] == ["10", "8", "6", "4", "2", "0"]
        assert rows[-1].split() == ["0", "2k", "4k", "6k", "8k", "10k", "step"]
        assert rows[-2].count("┬") == 7

    points = Series("a", range(10_001), [i / 1000 for i in range(10_001)])
    show(Chart("loss", [points]), check, (100, 24))


def test_log_axis() -> None:
    def check(pilot: object, app: Bench) -> None:
        app.chart.log_y = True
        rows = lines(app.chart)
        assert rows[0].startswith(" norm (log)")
        assert [row.split("┤")[0].strip() for row in rows[1:-2] if "┤" in row][:4] == ["1000", "300", "100", "30"]
        columns = [next(x for x, c in enumerate(row[8:]) if 0x2800 < ord(c) < 0x2900) for row in rows[4:-5]]
        steps = [a - b for a, b in itertools.pairwise(columns)]
        assert max(steps) - min(steps) <= 1  # an exponential is straight

    series = Series("a", range(1001), [10 ** (i / 200 - 2) for i in range(1001)])
    show(Chart("norm", [series], live=False), check)


def test_values_below_zero_on_a_log_axis_do_no_harm() -> None:
    def check(pilot: object, app: Bench) -> None:
        app.chart.log_y = True
        assert any(dots(row) for row in lines(app.chart))

    show(Chart("a", [Series("a", [0, 1, 2, 3], [-1, 0, 5, 10])]), check)
    show(Chart("a", [Series("a", [0, 1], [-1, -2])]), lambda pilot, app: setattr(app.chart, "log_y", True))


def test_cursor_reads_all_series() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        chart = app.chart
        chart.set_x_kind("epoch")
        chart.action_toggle_cursor()
        assert chart.cursor == 1000
        chart.move_cursor(-45)
        rows = lines(chart)
        x = chart.cursor
        assert x is not None
        assert f"epoch {x:,.2f}" in rows[0]
        values = chart.values_at(x)
        assert values[0][1] == pytest.approx(x, abs=1)
        assert [value for _, value in values[1:]] == [pytest.approx(2 * x, abs=200), None]
        assert f"{values[0][1]:.1f}" in rows[0]
        assert "–" in rows[0]
        assert sum("│" in row[12:] for row in rows[1:-2]) >= 20
        await pilot.pause()
        assert [type(m) for m in app.messages] == [Chart.CursorMoved] * 2
        assert app.messages[-1].x == x
        chart.action_toggle_cursor()
        assert chart.cursor is None

    train = Series("train", range(1001), [float(i) for i in range(1001)])
    val = Series("val", range(0, 1001, 100), [2.0 * i for i in range(0, 1001, 100)], "series1", marker=True)
    late = Series("late", [900, 1000], [1.0, 1.0])
    show(Chart("loss", [train, val, late], live=False), check)


def test_markers_show_the_points_of_a_sparse_series() -> None:
    val = Series("val", range(0, 1001, 100), [1.0] * 11, marker=True)

    def check(pilot: object, app: Bench) -> None:
        assert sum(row.count("●") for row in lines(app.chart)) == 11

    show(Chart("loss", [val]), check)


def test_a_new_point_changes_few_rows() -> None:
    series = noisy(5000)
    touched: list[int] = []

    def check(pilot: object, app: Bench) -> None:
        chart = app.chart
        lines(chart)
        refresh = chart.refresh

        def spy(*regions: Region, **rest: bool) -> Chart:
            touched.append(len(regions))
            return refresh(*regions, **rest)

        chart.refresh = spy
        for i in range(5000, 5050):
            series.append(i, 3.0)
            chart.update_data()

    show(Chart("loss", [series]), check)
    assert touched
    assert max(touched) <= 3


def test_actions_reach_the_view_and_are_told() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        chart = app.chart
        chart.action_zoom_x(4)
        x0, x1 = chart.figure.x_view.range
        assert x1 - x0 == pytest.approx(5000 * 1.25 / 4, rel=0.01)
        assert chart.follows
        chart.action_pan_x(-1)
        assert not chart.follows
        low, high = chart.figure.y_view.range
        chart.action_zoom_y(2)
        chart.action_pan_y(0.5)
        low2, high2 = chart.figure.y_view.range
        assert high2 - low2 == pytest.approx((high - low) / 2)
        assert low2 == pytest.approx((low + high) / 2)
        chart.action_fit()
        assert chart.figure.x_view.range[0] == 0
        await pilot.pause()
        assert sum(isinstance(m, Chart.ViewChanged) for m in app.messages) == 3

    show(Chart("loss", [noisy(5000)]), check)


@pytest.mark.parametrize("size", [(80, 24), (250, 70), (30, 6), (20, 4), (10, 2)])
def test_every_size_is_filled_exactly(size: tuple[int, int]) -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        for width, height in (size, (size[0] + 7, size[1] + 3), size):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            rows = [app.chart.render_line(y) for y in range(app.chart.size.height)]
            assert [row.cell_length for row in rows] == [app.chart.size.width] * len(rows)
            assert all(len(row.text) == app.chart.size.width for row in rows)

    show(Chart("bits/dim", [noisy(500), Series("val", [1, 400], [2, 3], marker=True)]), check, size)


def test_ascii_without_colours() -> None:
    def check(pilot: object, app: Bench) -> None:
        rows = [app.chart.render_line(y) for y in range(app.chart.size.height)]
        text = "".join(row.text for row in rows).replace("–", "-")
        assert text.isascii()
        assert " a train" in rows[0].text
        assert " b val" in rows[0].text
        assert any(row.text.rstrip(" .").endswith("a") for row in rows[1:-2])
        assert all(s.style is None or (s.style.color is None and s.style.bgcolor is None) for row in rows for s in row)

    series = [noisy(500), Series("val", [1, 400], [2, 3])]
    show(Chart("bits/dim", series, graph_symbol="ascii", depth="none", live=False), check)


def test_raw_and_smoothed_differ_in_16_colours_from_each_other_and_from_the_labels() -> None:
    def check(pilot: object, app: Bench) -> None:
        (filter_16,) = depth_filters("16")
        legend = filter_16.apply(list(app.chart.render_line(0)), Color(0, 0, 0))
        swatches = [segment.style.color.number for segment in legend if "━" in segment.text]
        names = {segment.style.color.number for segment in legend if segment.text.strip() in ("raw", "smooth")}
        assert swatches == [6, 14]
        assert names.isdisjoint(swatches)

    raw = Series("raw", [0, 1], [1.0, 2.0], dim=True)
    show(Chart("loss", [raw, Series("smooth", [0, 1], [1.0, 2.0])], depth="16"), check)


def test_no_points_at_all() -> None:
    def check(pilot: object, app: Bench) -> None:
        assert [row.strip() for row in lines(app.chart) if row.strip()] == ["loss", "nothing yet"], "no axes of no data"
        app.chart.set_series([Series("train", [5], [1.0])])
        assert sum(row.count("●") for row in lines(app.chart)) == 1

    show(Chart("loss", [Series("train")]), check)


def test_a_curve_that_falls_leaves_its_beginning_above_the_axis_while_all_of_it_is_shown() -> None:
    train = Series("train", range(1000), [3 + 5 * math.exp(-step / 10) for step in range(1000)])
    first = Series("val", [20, 999], [4.5, 3.0], marker=True)
    short = Series("other", range(30), [6.0] * 30)

    def top(chart: Chart, *series: Series) -> float:
        chart.set_series(series)
        chart.figure.y_view.fit()
        chart.update_data()
        lines(chart)
        return chart.figure.y_view.range[1]

    def check(pilot: object, app: Bench) -> None:
        chart = app.chart
        assert top(chart, train) > 8
        chart.figure.falls = True
        assert 3.03 < top(chart, train) < 3.1
        assert dots(lines(chart)[1]) >= 1, "it comes in from above"
        assert 4.5 < top(chart, train, first) < 4.7, "scores are few, and all shown"
        assert 6 < top(chart, train, short) < 6.3
        chart.figure.x_view.set(0, 100)
        assert top(chart, train) > 8, "where one looks at the beginning it is there"

    show(Chart("bits/dim", [train], live=False), check)
