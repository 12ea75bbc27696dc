"""The console on a real tiny training run, steered by keys."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import ENDLESS, drive, screen_of, until
from textual.pilot import Pilot
from textual.widgets import Input
from tiny import TINY

from pixeltui.config import Ui
from pixeltui.events import Pause, Resume, SaveCheckpoint
from pixeltui.session.attach import AttachedSession
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import find_run
from pixeltui.ui.app import Console
from pixeltui.ui.screens.bars import KeyBar, TitleBar
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Ask, Help, Prompt
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import LogPane
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.state_strip import StateStrip


@pytest.fixture
def console(tiny_npz: Path, tmp_path: Path) -> Callable[..., Console]:
    def make(*overrides: str, ui: Ui | None = None) -> Console:
        settings = (f"data.name={tiny_npz}", *TINY, *overrides)
        request = TrainRequest(runs_dir=tmp_path, preset="quick", overrides=settings, name="one", command="pixeltui")
        return Console(tmp_path, request=request, ui=ui or Ui(curves_per_second=20.0, images_per_second=20.0))

    return make


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
        await until(pilot, lambda: "p go on" in screen.query_one(KeyBar).render_line(0).text)
        await until(pilot, lambda: screen.query_one(TitleBar).remark == "paused here")
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
        await until(pilot, lambda: "p pause" in screen.query_one(KeyBar).render_line(0).text)
        await pilot.press("3", "N")
        assert isinstance(app.screen, BrowserScreen), "no form that could not be sent off"
        assert any("stop it first" in notification.message for notification in app._notifications)
        app.pop_screen()
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
    assert (events[-1].state, events[-1].reason) == ("stopped", "the console")  # type: ignore[union-attr]


def test_the_learning_rate_that_is_offered_is_the_present_one(console: Callable[..., Console], tmp_path: Path) -> None:
    """After a change by whichever console, for both."""
    app = console(*ENDLESS, "train.lr=0.01")

    async def offered(pilot: Pilot, screen: TrainingScreen) -> str:  # type: ignore[type-arg]
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, Prompt) and app.screen.query(Input))
        return app.screen.query_one(Input).value

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await until(pilot, lambda: screen.watched.view.step > 0)
        await pilot.press("p")
        assert await offered(pilot, screen) == "0.01"
        app.screen.query_one(Input).value = "3e-5"
        await pilot.press("enter")
        await until(pilot, lambda: screen.watched.view.notices)
        assert await offered(pilot, screen) == "3e-5"
        await pilot.press("escape")
        other = TrainingScreen(Watch(AttachedSession(find_run(tmp_path, "one"))))
        app.push_screen(other)
        await until(pilot, lambda: other.is_mounted and other.watched.view.notices)
        assert await offered(pilot, other) == "3e-5"
        app.screen.query_one(Input).value = "0.5"
        await pilot.press("enter")
        await until(pilot, lambda: len(other.watched.view.notices) > 1)
        app.pop_screen()
        await until(pilot, lambda: len(screen.watched.view.notices) > 1)
        assert await offered(pilot, screen) == "0.5"
        app.screen.query_one(Input).value = "1e16"
        await pilot.press("enter")
        assert isinstance(app.screen, Prompt), "no log can hold it"
        await pilot.press("escape")

    drive(app, script)


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


def log(screen: TrainingScreen) -> str:
    return "".join(line.text for line in screen.query_one(LogPane).lines)


def test_an_error_in_training_is_shown_with_what_to_do(tmp_path: Path) -> None:
    request = TrainRequest(runs_dir=tmp_path, preset="quick", overrides=(f"data.name={tmp_path}/no[red].npz",))
    app = Console(tmp_path, request=request)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await until(pilot, lambda: screen.watched.state == "failed")
        await until(pilot, lambda: log(screen).endswith("failed"))
        assert log(screen).count("no[red].npz") == 1
        await pilot.press("q")
        assert app.return_value == "quit"

    drive(app, script)


def test_where_no_run_could_be_made_no_key_offers_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app = Console(tmp_path, request=TrainRequest(runs_dir=tmp_path / "file", preset="quick"))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await until(pilot, lambda: screen.watched.state == "failed")
        await until(pilot, lambda: "pause" not in screen.query_one(KeyBar).render_line(0).text)
        assert "try out" not in screen.query_one(KeyBar).render_line(0).text
        await pilot.press("t")
        assert any("no run" in notice.message for notice in app._notifications)
        assert app.screen is screen

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
    monkeypatch.setattr("pixeltui.core.native.compiled.load", lambda: "not built")
    app = console(*ENDLESS, "sample.time_share=0.003", "train.device=cpu")

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


def test_keys_are_remapped_by_id(console: Callable[..., Console]) -> None:
    app = console(*ENDLESS, ui=Ui(keys={"pause": "f9"}, curves_per_second=20.0))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        watched = screen_of(app).watched
        await until(pilot, lambda: watched.view.step > 0)
        await pilot.press("p")
        await pilot.pause(0.3)
        assert watched.state == "training"
        await pilot.press("f9")
        await until(pilot, lambda: watched.state == "paused")

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


@pytest.mark.parametrize("key", ["d", "s"])
def test_leaving_a_run_that_trains_elsewhere_asks(console: Callable[..., Console], key: str) -> None:
    app = console(*ENDLESS)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: screen_of(app).watched.view.step > 0)
        run = find_run(app.runs_dir, "one")
        other = Console(app.runs_dir, session=AttachedSession(run))

        async def leave(pilot: Pilot) -> None:  # type: ignore[type-arg]
            await until(pilot, lambda: screen_of(other).watched.view.step > 0)
            await pilot.press("q")
            await until(pilot, lambda: isinstance(other.screen, Ask))
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(other.screen, Ask))
            await pilot.press("q", key)
            await until(pilot, lambda: other.return_value is not None)

        async with other.run_test() as pilot_of_other:
            await leave(pilot_of_other)
        assert other.return_value == "quit"
        if key == "s":
            await until(pilot, lambda: not app.trains)
        else:
            assert app.trains

    drive(app, script)


def test_what_comes_behind_a_dialog_is_told_over_it(console: Callable[..., Console]) -> None:
    app = console(*ENDLESS)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await until(pilot, lambda: screen.watched.view.step > 3)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        screen.watched.session.send(SaveCheckpoint())
        await until(pilot, lambda: any(one.title == "checkpoint" for one in app._notifications))
        assert isinstance(app.screen, Help)
        await pilot.press("escape")
        await until(
            pilot, lambda: app.screen is screen and any("checkpoint" in text for _, text in screen.watched.lines)
        )

    drive(app, script)


def test_a_pause_is_taken_back_before_the_run_has_come_to_it(console: Callable[..., Console]) -> None:
    app = console(*ENDLESS)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await until(pilot, lambda: screen.watched.view.step > 3)
        session, sent = app.training_session, []
        assert session is not None
        send, session.send = session.send, sent.append  # type: ignore[method-assign]
        await pilot.press("p", "p")
        assert [type(command) for command in sent] == [Pause, Resume]
        session.send = send  # type: ignore[method-assign]
        for state in ("paused", "training", "paused"):
            await pilot.press("p")
            await until(pilot, lambda state=state: screen.watched.state == state)  # type: ignore[misc]

    drive(app, script)
