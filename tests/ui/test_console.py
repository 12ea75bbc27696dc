"""The console on a real tiny training run, steered by keys."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from conftest import TINY
from textual.pilot import Pilot
from textual.widgets import Input

from pixeltui.config import Ui
from pixeltui.session.attach import AttachedSession
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import find_run
from pixeltui.ui.app import Console
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Ask, Help, Prompt
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import ConfigPane, LogPane
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.gallery import Gallery
from pixeltui.ui.widgets.state_strip import StateStrip

ENDLESS = ("train.steps=1000000", "train.eval_every=0", "train.checkpoint_every=0")


async def until(pilot: Pilot, met: Callable[[], object], seconds: float = 90.0) -> None:  # type: ignore[type-arg]
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came"
        await pilot.pause(0.05)


def drive(app: Console, script: Callable[[Pilot], Coroutine[None, None, None]], size=(120, 40)) -> None:  # type: ignore[no-untyped-def,type-arg]
    """Runs the script against the app; training in this process has ended when this returns."""

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await script(pilot)

    try:
        asyncio.run(go())
    finally:
        session = app.training_session
        if session is not None and session.alive:
            from pixeltui.events import Stop

            session.send(Stop())
            session.join(30)


@pytest.fixture
def console(tiny_npz: Path, tmp_path: Path) -> Callable[..., Console]:
    def make(*overrides: str, ui: Ui | None = None) -> Console:
        settings = (f"data.name={tiny_npz}", *TINY, *overrides)
        request = TrainRequest(runs_dir=tmp_path, preset="quick", overrides=settings, name="one", command="pixeltui")
        return Console(tmp_path, request=request, ui=ui or Ui(curves_per_second=20.0, images_per_second=20.0))

    return make


def screen_of(app: Console) -> TrainingScreen:
    assert isinstance(app.screen, TrainingScreen)
    return app.screen


def test_a_run_steered_from_its_start_to_its_end(console: Callable[..., Console], tmp_path: Path) -> None:
    """Pause, checkpoint, sample, evaluate, learning rate; then stop and checkpoint."""
    app = console(*ENDLESS)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        view = screen.watched.view
        await until(pilot, lambda: view.step > 3)
        await pilot.press("p")
        await until(pilot, lambda: screen.watched.state == "paused")
        paused_at = view.step
        await pilot.press("w")
        await until(pilot, lambda: view.checkpoints)
        assert (tmp_path / "one" / view.checkpoints[0].path).is_file()
        assert view.step == paused_at, "a paused run does not step"
        await pilot.press("n")
        await until(pilot, lambda: view.samples)
        await until(pilot, lambda: len(screen.query_one(SamplesPane).gallery.pictures) == 4)
        await pilot.press("e")
        await until(pilot, lambda: view.evaluated("val"))
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, Prompt))
        app.screen.query_one(Input).value = "nonsense"
        await pilot.press("enter")
        assert isinstance(app.screen, Prompt), "what is no number is not taken"
        app.screen.query_one(Input).value = "3e-5"
        await pilot.press("enter")
        await pilot.press("p")
        await until(pilot, lambda: view.steps[-1].lr < 4e-5)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is screen, "cancelled"
        await pilot.press("q", "s")
        await until(pilot, lambda: app.return_value is not None)

    drive(app, script)
    assert app.return_value == "stopped"
    assert not app.trains
    run = find_run(tmp_path, "one")
    events = run.read_events()[0]
    assert events[-1].state == "stopped"  # type: ignore[union-attr]


def test_detaching_leaves_training_alone(console: Callable[..., Console]) -> None:
    app = console(*ENDLESS)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: screen_of(app).watched.view.step > 0)
        await pilot.press("q", "enter")
        await until(pilot, lambda: app.return_value is not None)
        assert app.return_value == "detach"
        assert app.trains
        before = find_run(app.runs_dir, "one").read_events()[0][-1]
        await asyncio.sleep(0.3)
        assert find_run(app.runs_dir, "one").read_events()[0][-1] != before, "it steps on"

    drive(app, script)


def test_an_error_in_training_is_shown_with_what_to_do(tmp_path: Path) -> None:
    request = TrainRequest(runs_dir=tmp_path, preset="quick", overrides=(f"data.name={tmp_path}/no[red].npz",))
    app = Console(tmp_path, request=request)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await until(pilot, lambda: screen.watched.state == "failed")
        await until(pilot, lambda: any("no[red].npz" in str(line) for line in screen.query_one(LogPane).lines))
        await pilot.press("q")
        assert app.return_value == "quit"

    drive(app, script)


def test_frames_fill_in_row_by_row(console: Callable[..., Console]) -> None:
    from pixeltui.events import Frame

    app = console(*ENDLESS)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        pane = screen.query_one(SamplesPane)
        for rows in (2, 6):
            pixels = bytes([3] * 2 * 6 * 5)
            frame = Frame(step=1, rows_done=rows, levels=4, shape=(2, 1, 6, 5), pixels=pixels, labels=("0", "1"))
            pane.show_run(None, None, [], frame)
            picture = pane.gallery.pictures[1]
            assert (picture.rows_done, picture.label) == (rows, "1")
            assert picture.rgb == bytes([255] * 3 * 30)
        assert "newest" in str(pane.border_subtitle)

    drive(app, script)


def test_another_console_sees_samples_being_drawn(
    console: Callable[..., Console], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row by row, with their classes; once they are drawn they come from the run's folder."""
    # compiled steps would be through before anybody looks
    monkeypatch.setattr("pixeltui.core.native.rows.load", lambda: "not built")
    app = console(*ENDLESS, "sample.time_share=0.003")

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        view = screen_of(app).watched.view
        await until(pilot, lambda: view.step > 3)
        attached = Watch(AttachedSession(find_run(tmp_path, "one")))
        await pilot.press("n")
        await until(pilot, lambda: attached.session.latest_frame() is not None)
        other = TrainingScreen(attached)
        app.push_screen(other)
        await until(pilot, lambda: other.is_mounted and len(other.query_one(SamplesPane).gallery.pictures) == 4)
        pane = other.query_one(SamplesPane)
        assert [picture.label for picture in pane.gallery.pictures] == ["0", "1", "2", "0"]
        done = pane.gallery.pictures[0].rows_done
        assert done is not None
        assert 0 < done < 6, "it takes its time, at that share"
        await pilot.press("p")  # in a pause the rest is drawn at once
        await until(pilot, lambda: attached.view.samples)
        await until(pilot, lambda: attached.session.latest_frame() is None)
        await until(pilot, lambda: "1 of 1" in str(pane.border_subtitle))
        assert len(pane.gallery.pictures) == 4
        assert not (tmp_path / "one" / "frame.msgpack").exists()
        app.pop_screen()

    drive(app, script)


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
        assert [series.name for series in main.series] == ["train, raw", "train", "val"]
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
        narrow = main.x_range
        await pilot.press("0")
        assert main.x_range[1] - main.x_range[0] > narrow[1] - narrow[0]
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


def test_keys_are_remapped_by_id_and_unknown_ids_are_named(console: Callable[..., Console]) -> None:
    app = console(*ENDLESS, ui=Ui(keys={"pause": "f9", "puase": "x"}, curves_per_second=20.0))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        watched = screen_of(app).watched
        await until(pilot, lambda: watched.view.step > 0)
        assert any("puase" in notification.message for notification in app._notifications)
        await pilot.press("p")
        await pilot.pause(0.3)
        assert watched.state == "training"
        await pilot.press("f9")
        await until(pilot, lambda: watched.state == "paused")

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


def test_marked_runs_are_laid_over(finished: Path) -> None:
    import shutil

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


def test_a_slow_connection_is_told_less_often_and_keys_work_at_once(console: Callable[..., Console]) -> None:
    app = console(*ENDLESS, ui=Ui(low_bandwidth=True))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        view = screen.watched.view
        pane = screen.query_one(CurvesPane)
        await until(pilot, lambda: view.steps)
        await until(pilot, lambda: len(pane.main.series[0]))
        drawn, steps, began = len(pane.main.series[0]), len(view.steps), time.monotonic()
        await until(pilot, lambda: len(view.steps) > steps + 2)
        if time.monotonic() - began < 3:
            assert len(pane.main.series[0]) == drawn, "polled, and not drawn yet"
        await pilot.press("p")
        strip = screen.query_one(StateStrip)
        await until(pilot, lambda: any(item.value.endswith("paused") for item in strip.items), 4)
        await until(pilot, lambda: len(pane.main.series[0]) == len(view.steps))

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
        assert lasts["two train"] < lasts["train"], "by step"
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
