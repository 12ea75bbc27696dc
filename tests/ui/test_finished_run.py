"""The training screen on a run that is over: its panes and their keys."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from driving import drive, screen_of, until
from textual.pilot import Pilot
from textual.widgets import Input

from pixeltui.config import Ui
from pixeltui.curves.points import Curves
from pixeltui.events import Step
from pixeltui.session.attach import AttachedSession
from pixeltui.store.rundir import RunDir, find_run
from pixeltui.ui.app import Console
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Help
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import ConfigPane, LogPane
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.widgets.chart import Chart
from pixeltui.ui.widgets.gallery import Gallery
from pixeltui.ui.widgets.state_strip import StateStrip


@pytest.fixture
def finished(tiny_train: Callable[..., int], tmp_path: Path) -> Path:
    """tmp_path/runs with one finished run, `one`."""
    assert tiny_train("--name", "one", "--set", "train.epochs=3", "--set", "sample.every=1 epoch") == 0
    return tmp_path / "runs"


def test_a_finished_run_is_shown_and_takes_no_commands(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        assert screen.watched.state == "finished"
        pane = screen.query_one(SamplesPane)
        await until(pilot, lambda: len(pane.gallery.pictures) == 4)
        assert (pane.gallery.pictures[0].width, pane.gallery.pictures[0].height) == (5, 6)
        main = screen.query_one(CurvesPane).main
        assert [series.name for series in main.series] == ["train, raw", "train, smoothed", "val"]
        assert len(main.series[0]) == len(screen.watched.view.steps)
        await pilot.press("p", "w")
        await pilot.pause(0.2)
        assert screen.watched.state == "finished"
        assert list((finished / "one" / "control").iterdir()) == []
        await pilot.press("2", "h")
        await pilot.pause()
        assert f"of {len(screen.watched.view.samples)}" in str(pane.border_subtitle)
        await pilot.press("q")

    drive(app, script)
    assert app.return_value == "quit"


def test_a_config_that_cannot_be_read_says_why(finished: Path) -> None:
    (finished / "one" / "config.toml").write_text("no = [ toml")
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane = screen_of(app).query_one(ConfigPane)
        await until(pilot, lambda: pane.lines)
        assert "config.toml: cannot be read as TOML" in " ".join(strip.text.strip() for strip in pane.lines)
        await pilot.press("q")

    drive(app, script, size=(140, 45))


def test_the_strip_and_the_chart_write_a_learning_rate_alike(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        chart = screen.query_one("#lr", Chart)
        await until(pilot, lambda: screen.watched.view.steps and any(len(one) for one in chart.series))
        (told,) = (item.value for item in screen.query_one(StateStrip).items if item.key == "lr")
        legend, *rows = (" ".join(text for text, _ in row) for row in chart.figure.rows(60, 12))
        assert legend.split()[-1] == told
        assert any("e-3" in row for row in rows)
        await pilot.press("q")

    drive(app, script, size=(140, 45))


def test_keys_of_the_curves(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane = screen_of(app).query_one(CurvesPane)
        main = pane.main
        await pilot.press("m")
        assert main.figure.title == "nats/dim"
        await pilot.press("M", "y")
        assert main.figure.title == "bits/dim"
        assert main.log_y
        await pilot.press("plus")
        narrow = main.figure.x_view.range
        await pilot.press("0")
        assert main.figure.x_view.range[1] - main.figure.x_view.range[0] > narrow[1] - narrow[0]
        await pilot.press("enter")
        at = main.cursor
        assert at is not None
        await pilot.press("h", "h")
        assert main.cursor is not None
        assert main.cursor < at
        assert all(chart.cursor == main.cursor for chart in pane.charts), "all charts in step"
        await pilot.press("escape")
        assert main.cursor is None
        await pilot.press("x")
        assert main.figure.x_kind == "epoch"
        await pilot.press("x")
        assert main.figure.x_kind == "time"
        await pilot.press("E")
        lines = (finished / "one" / "curves.csv").read_text().splitlines()
        assert lines[0] == "curve,step,seconds,value"
        assert len([line for line in lines if line.startswith("bits/train,")]) == len(main.series[0])

    drive(app, script)


def test_curves_of_another_run_are_all_in_view_and_nothing_else(finished: Path) -> None:
    run = find_run(finished, "one")
    app = Console(finished, session=AttachedSession(run))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        steps = [event for event in run.read_events()[0] if isinstance(event, Step)]
        curves, large = Curves(), Curves()
        curves.fold(steps)
        large.fold([msgspec.structs.replace(step, bits_per_dim=50.0 + step.step) for step in steps])
        pane = screen_of(app).query_one(CurvesPane)
        pane.show(large, RunDir(finished / "another"))
        assert pane.main.figure.y_view.range[1] > 50
        pane.show(curves, run)
        assert pane.main.figure.y_view.range[1] < 20

    drive(app, script)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (250, 70)])
def test_every_pane_has_its_key_at_every_size(finished: Path, size: tuple[int, int]) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        width, height = size
        for key, kind in (("1", CurvesPane), ("2", SamplesPane), ("4", ConfigPane), ("5", LogPane)):
            await pilot.press(key)
            await pilot.pause()
            pane = screen.query_one(kind)
            assert pane.has_focus_within, key
            region = pane.region
            assert region.width >= 20, key
            assert region.height >= 5, key
            assert region.right <= width, key
            assert region.bottom <= height, key
            await pilot.press("z")
            await pilot.pause()
            await pilot.press("escape")
            await pilot.pause()
        assert not screen.has_class("-full")

    drive(app, script, size)


def test_help_lists_the_keys_of_the_pane(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("2", "question_mark")
        assert isinstance(app.screen, Help)
        assert app.screen._scopes == ["samples", "training", "everywhere"]
        await pilot.press("escape")
        assert isinstance(app.screen, TrainingScreen)

    drive(app, script)


def test_the_log_is_filtered(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        log = screen_of(app).query_one(LogPane)
        await pilot.press("5", "slash")
        app.screen.query_one(Input).value = "best so far"
        await pilot.press("enter")
        await pilot.pause()
        text = "\n".join(line.text for line in log.lines)
        assert "val " in text
        assert "samples" not in text

    drive(app, script)


def test_every_word_of_a_filter_is_looked_for_in_keys_values_and_lines(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        log, config = screen.query_one(LogPane), screen.query_one(ConfigPane)
        for pane, key in ((log, "5"), (config, "4")):
            await pilot.press(key)
            await until(pilot, lambda pane=pane: pane.lines)
        log.filter_by("so VAL")
        told = [line.text.split()[1] for line in log.lines if line.text[:2].isdecimal()]
        assert told == ["val", "val"], "the validations that were the best"
        config.filter_by("cosine")
        assert [line.text.split() for line in config.lines] == [["train"], ["schedule", "cosine"]]
        config.filter_by("EMA 0.99 train")
        assert [line.text.split()[0] for line in config.lines] == ["train", "ema_decay"]
        for pane in (log, config):
            pane.filter_by("cosine nowhere")
            await pilot.pause()
            text = " ".join(pane.render_line(y).text.strip() for y in range(pane.size.height))
            assert "nothing matches cosine nowhere: / changes it" in text
        log.add([("info", "12:00:00  cosine, nowhere")])
        await pilot.pause()
        assert [line.text.strip() for line in log.lines] == ["12:00:00 cosine, nowhere"]
        assert "nothing matches" not in log.render_line(0).text

    drive(app, script, (120, 50))


def test_marked_runs_are_laid_over(finished: Path) -> None:
    shutil.copytree(finished / "one", finished / "two")
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))
    app.marked = {str(finished / "two")}

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane = screen_of(app).query_one(CurvesPane)
        await pilot.press("b")
        await until(pilot, lambda: any(series.name == "two val" for series in pane.main.series))
        assert any(series.name == "val" for series in pane.main.series)
        await pilot.press("b")
        assert not any(series.name == "two val" for series in pane.main.series)

    drive(app, script)


def test_another_theme_reaches_the_text(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        panes = [screen.query_one(LogPane), screen.query_one(ConfigPane)]
        await pilot.pause()
        before = [{segment.style.color for line in pane.lines for segment in line if segment.style} for pane in panes]
        await pilot.press("T")
        await pilot.pause()
        after = [{segment.style.color for line in pane.lines for segment in line if segment.style} for pane in panes]
        assert all(old and new and not old & new for old, new in zip(before, after, strict=True))

    drive(app, script)


def test_tiles_get_the_focus(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("2")
        assert isinstance(app.focused, Gallery)
        await pilot.press("right_square_bracket")
        assert screen_of(app).query_one(SamplesPane).temperature == 1.05

    drive(app, script)


@pytest.mark.parametrize(("symbol", "characters"), [("block", "▘▖▌▝▀▞▛▗▚▄▙▐▜▟█"), ("ascii", "'.|")])
def test_curves_are_drawn_with_what_the_config_says(finished: Path, symbol: str, characters: str) -> None:
    ui = Ui(graph_symbol=symbol)  # type: ignore[arg-type]
    app = Console(finished, ui=ui, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        main = screen_of(app).query_one(CurvesPane).main
        await pilot.pause()
        plot = "".join(main.render_line(y).text[main.figure.label_width + 2 :] for y in range(1, main.size.height - 2))
        assert any(character in plot for character in characters)
        assert not any("⠀" < character <= "⣿" for character in plot)

    drive(app, script)


def test_by_epoch_every_run_has_its_own_scale(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    """Two runs of two epochs each, one with batches twice as large."""
    for name, size in (("one", 16), ("two", 32)):
        assert tiny_train("--name", name, "--set", "train.epochs=2", "--set", f"train.batch_size={size}") == 0
    runs = tmp_path / "runs"
    app = Console(runs, session=AttachedSession(find_run(runs, "one")))
    app.marked = {str(runs / "two")}

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane = screen_of(app).query_one(CurvesPane)
        await pilot.press("b")
        await until(pilot, lambda: any(series.name == "two train" for series in pane.main.series))
        lasts = {series.name: series.xs[-1] for series in pane.main.series}
        assert lasts["two train"] < lasts["train, smoothed"], "by step"
        await pilot.press("x")
        ends = {series.xs[-1] for series in pane.main.series}
        assert ends == {2.0}, "by epoch both end where they ended"
        await pilot.press("enter")
        assert pane.main.figure.format_x(pane.main.cursor or 0.0) == "2.00"

    drive(app, script)


def test_what_is_in_a_remark_is_no_markup(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("5", "slash")
        app.screen.query_one(Input).value = "[/red] [x"
        await pilot.press("enter")
        await pilot.pause()
        log = screen_of(app).query_one(LogPane)
        assert log.remark == "[/red] [x"

    drive(app, script)


def test_lines_that_came_while_the_log_was_hidden_fill_its_width(finished: Path) -> None:
    app = Console(finished, session=AttachedSession(find_run(finished, "one")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        log = screen_of(app).query_one(LogPane)
        await pilot.press("2", "z")
        await pilot.pause()
        assert not log.region.area, "the samples have the whole screen"
        log.add([("info", "12:00:00  " + "word " * 12)])
        await pilot.press("escape")
        await until(pilot, lambda: any(line.text.count("word") == 12 for line in log.lines))
        assert all(line.cell_length >= 40 for line in log.lines if "word" in line.text)

    drive(app, script)
