"""The samples pane of a finished run: moving among tiles and sheets, one image with its bits, PNG files."""

import time
from pathlib import Path

import pytest
from driving import drive, screen_of, until
from PIL import Image
from textual.pilot import Pilot

from pixeltui.errors import UserError
from pixeltui.events import Frame, Notice
from pixeltui.session.attach import AttachedSession
from pixeltui.store.rundir import find_run
from pixeltui.ui.app import Console
from pixeltui.ui.enlarged import wish_for_bits
from pixeltui.ui.keys import STEERING
from pixeltui.ui.screens.bars import KeyBar
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import ConfigPane, LogPane
from pixeltui.ui.widgets.gallery import Picture


def test_one_image_and_the_bits_of_its_pixels(runs_copy: Path) -> None:
    """enter shows it in large, arrows others, h l the same place of other sheets, E writes both, esc leaves."""
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        pane = screen.query_one(SamplesPane)
        await until(pilot, lambda: len(pane.gallery.pictures) == 4)
        await pilot.press("2", "right", "enter")
        await pilot.pause()
        assert pane.heat is not None
        assert pane.heat.index == 1
        assert screen.has_class("-full"), "with the whole screen to itself"
        assert len(pane.gallery.pictures) == 2
        assert pane.gallery.index == 0, "the frame is around the image, not its bits"
        await until(pilot, lambda: "bits/dim" in pane.gallery.pictures[1].label, 60)
        assert "given class 1" in pane.remark
        image, bits = pane.gallery.pictures
        assert len(set(bits.rgb)) > 3, "a heat map, not a blank"
        await pilot.press("E")
        folder = runs_copy / "done" / "images"
        await until(pilot, lambda: list(folder.glob("*.png")))
        (path,) = folder.glob("*.png")
        assert path.name == "step-00000010-002-bits.png"
        with Image.open(path) as written:
            assert written.size == (2 * 5 * 8 + 8, 6 * 8)
            assert bytes(written.getpixel((4, 4))) == image.rgb[:3]  # type: ignore[arg-type]
            assert bytes(written.getpixel((5 * 8 + 8 + 4, 4))) == bits.rgb[:3]  # type: ignore[arg-type]
        await pilot.press("right")
        await until(pilot, lambda: pane.heat is not None and "3 of 4" in pane.remark)
        await until(pilot, lambda: "bits/dim" in pane.gallery.pictures[1].label, 60)
        await pilot.press("h")
        await until(pilot, lambda: "step 5 · 3 of 4" in pane.remark)
        await pilot.press("escape")
        await pilot.pause()
        assert pane.heat is None
        assert not screen.has_class("-full")
        assert len(pane.gallery.pictures) == 4
        assert pane.gallery.index == 2, "the frame stays where it was"
        await pilot.press("E")
        await until(pilot, lambda: (folder / "step-00000005-003.png").exists())
        with Image.open(folder / "step-00000005-003.png") as written:
            assert written.size == (5, 6), "pixel by pixel"
            assert written.tobytes() == pane.gallery.pictures[2].rgb

    drive(app, script)


def test_capital_l_is_the_learning_rate_but_among_earlier_samples(runs_copy: Path) -> None:
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane = screen_of(app).query_one(SamplesPane)
        await until(pilot, lambda: pane.gallery.pictures)
        await pilot.press("2", "home")
        await until(pilot, lambda: "1 of 2" in pane.remark)
        await pilot.press("L")
        await until(pilot, lambda: "2 of 2" in pane.remark)
        assert not pane.check_action("show", (10,)), "at the newest it is the learning rate again"

    drive(app, script)


def test_an_image_in_progress_is_scored_as_far_as_it_is_drawn(runs_copy: Path) -> None:
    run = find_run(runs_copy, "done")
    frame = Frame(step=99, rows_done=2, levels=4, shape=(1, 1, 6, 5), pixels=bytes([3] * 30), labels=("2",))
    app = Console(runs_copy, session=AttachedSession(run))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane = screen_of(app).query_one(SamplesPane)
        pane.show_run(run, screen_of(app).watched.shape, [], frame)
        wish = wish_for_bits(run, pane.gallery.pictures[0], ("0", "1", "2"))
        assert (wish.rows, wish.label, wish.pixels) == (2, 2, bytes([3] * 30))
        assert wish.model.checkpoint == "best"

    drive(app, script)
    for path in run.checkpoints_dir.glob("*.safetensors"):
        path.unlink()
    picture = Picture(bytes(90), 5, 6, "2", None)
    with pytest.raises(UserError, match="no checkpoint"):
        wish_for_bits(run, picture, ())
    with pytest.raises(UserError, match="no row"):
        wish_for_bits(run, Picture(bytes(90), 5, 6, "2", 0), ())


def test_a_sample_enlarged_while_it_is_drawn_is_finished_and_scored_again(runs_copy: Path) -> None:
    """Of a frame that gets more rows, and of one whose last rows come with the sheet."""
    run = find_run(runs_copy, "done")
    app = Console(runs_copy, session=AttachedSession(run))

    def frame(rows: int, step: int = 99) -> Frame:
        pixels = bytes([3] * 5 * rows + [0] * 5 * (6 - rows))
        return Frame(step=step, rows_done=rows, levels=4, shape=(1, 1, 6, 5), pixels=pixels, labels=("2",))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane, shape = screen_of(app).query_one(SamplesPane), screen_of(app).watched.shape
        await until(pilot, lambda: pane.gallery.pictures)
        sheets = pane._sheets
        screen_of(app)._show_samples = lambda: None  # type: ignore[method-assign]
        for last in (frame(6), None):
            step = 99 if last else sheets[-1][0]
            pane.show_run(run, shape, [] if last else sheets[:-1], frame(1, step))
            await pilot.press("2", "enter")
            await until(pilot, lambda: "the first row ·" in pane.remark, 60)
            image, bits = pane.gallery.pictures
            assert (image.rows_done, bits.rows_done) == (1, 1), "of the others nothing is said"
            pane.show_run(run, shape, [], frame(3, step))
            assert pane.gallery.pictures[0].rows_done == 3
            assert pane.gallery.pictures[0].rgb[: 3 * 5 * 3] == bytes([255] * 3 * 5 * 3)
            pane.show_run(run, shape, [] if last else sheets, last)
            await until(pilot, lambda: "bits/dim" in pane.remark and "first" not in pane.remark, 60)
            image, bits = pane.gallery.pictures
            assert image.rows_done in (None, 6)
            assert bits.rows_done is None
            await pilot.press("escape")

    drive(app, script)


def test_a_run_that_is_over_offers_no_keys_that_steer(runs_copy: Path) -> None:
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        for pane in ("1", "2", "4", "5"):
            await pilot.press(pane)
            await pilot.pause()
            assert not STEERING & {key.id for key in screen.query_one(KeyBar)._keys}
        titles = {command.title.partition(":")[0] for command in app.get_system_commands(screen)}
        assert "Samples" in titles
        assert not titles & {"Pause", "Write", "Rate", "Detach"}

    drive(app, script)


def test_a_run_that_is_over_refuses_at_once_and_says_the_same_once(runs_copy: Path) -> None:
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        await pilot.press("p", "w", "p", "n")
        await pilot.pause()
        assert [one.message for one in app._notifications] == ["run done is not training"]
        await pilot.press("L")
        await pilot.pause()
        assert app.screen is screen, "no question whose answer is refused"
        assert len(app._notifications) == 2

    drive(app, script)


def test_every_text_pane_is_filtered_with_the_same_key(runs_copy: Path) -> None:
    from textual.widgets import Input

    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = screen_of(app)
        config, log = screen.query_one(ConfigPane), screen.query_one(LogPane)
        await pilot.press("4", "slash")
        app.screen.query_one(Input).value = "ema"
        await pilot.press("enter")
        await pilot.pause()
        assert [line.text.split()[0] for line in config.lines] == ["train", "ema_decay"]
        await pilot.press("1", "slash")  # from the curves it is the log's
        await until(pilot, lambda: app.screen is not screen)
        app.screen.query_one(Input).value = "checkpoint"
        await pilot.press("enter")
        await until(pilot, lambda: log.lines and all("checkpoint" in line.text for line in log.lines))

    drive(app, script, (120, 50))


def test_an_empty_pane_says_so_and_a_run_that_is_over_has_no_next_sample(runs_copy: Path) -> None:
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        pane, run = screen_of(app).query_one(SamplesPane), find_run(runs_copy, "done")
        await until(pilot, lambda: pane.gallery.pictures)
        await pilot.press("2", "right_square_bracket")
        await pilot.pause()
        assert "next" not in pane.remark
        assert ["no next sample" in one.message for one in app._notifications] == [True]
        screen_of(app)._show_samples = lambda: None  # type: ignore[method-assign]
        pane.show_run(run, screen_of(app).watched.shape, [], None)
        for key in ("enter", "i", "plus", "h", "right", "j", "c", "E"):
            app.clear_notifications()
            await pilot.press(key)
            await pilot.pause()
            assert [one.message for one in app._notifications] == ["no samples yet"], key

    drive(app, script)


def test_the_next_temperature_is_told_from_the_runs_own(runs_copy: Path) -> None:
    config = runs_copy / "done" / "config.toml"
    config.write_text(config.read_text().replace("temperature = 1.0", "temperature = 0.8"))
    for key, expected in (("left_square_bracket", 0.75), ("right_square_bracket", 0.85)):
        app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

        async def script(pilot: Pilot, app: Console = app, key: str = key, expected: float = expected) -> None:  # type: ignore[type-arg]
            pane = screen_of(app).query_one(SamplesPane)
            await until(pilot, lambda: pane.gallery.pictures)
            await pilot.press("2", key)
            assert pane.temperature == expected

        drive(app, script)


def test_an_error_in_training_comes_with_the_path_of_the_log(runs_copy: Path) -> None:
    run = find_run(runs_copy, "done")
    app = Console(runs_copy, session=AttachedSession(run))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        told = Notice(t=time.time(), level="error", kind="failed", message="the loss is not finite")
        screen_of(app)._tell([told, Notice(t=time.time(), level="warning", kind="disk", message="no space")])
        await pilot.pause()
        said = [one.message for one in app._notifications]
        assert said == [f"the loss is not finite\nlog: {run.log_path}", "no space"]

    drive(app, script)


def test_a_pane_that_has_no_room_gives_the_focus_to_the_curves(runs_copy: Path) -> None:
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        main = screen_of(app).query_one(CurvesPane).main
        await pilot.press("4")
        await pilot.pause()
        assert screen_of(app).focused is screen_of(app).query_one(ConfigPane)
        await pilot.press("z")
        await until(pilot, lambda: screen_of(app).focused is main, 5)

    drive(app, script, (80, 24))


def test_the_focused_pane_is_told_from_the_others_without_colours(
    runs_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Console(runs_copy, session=AttachedSession(find_run(runs_copy, "done")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        panes = [screen_of(app).query_one(f"#{name}") for name in ("samples", "log")]
        for key, expected in (("2", [True, False]), ("5", [False, True])):
            await pilot.press(key)
            await pilot.pause()
            assert [pane.styles.border_title_style.reverse is True for pane in panes] == expected

    drive(app, script)
