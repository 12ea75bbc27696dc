"""Completions and heat maps on the sampling screen, on a real tiny run."""

import json
from pathlib import Path

import numpy as np
from driving import until
from easels import drawn, on_screen, pixels, stopped_drawing
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import Input

from pixeltui.data import load
from pixeltui.store.rundir import RunDir
from pixeltui.ui.screens.sampling import SamplingScreen


def test_an_image_is_completed_below_the_row_one_moves(runs_copy: Path) -> None:
    data = load(RunDir.open(runs_copy / "done").config().data)

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await pilot.press("2")
        await until(pilot, lambda: drawn(screen, "complete"))
        await pilot.press("l", "down")
        await until(pilot, lambda: screen.draft.values["image"] == "test:1" and screen.draft.values["keeps"] == "4")
        await until(pilot, lambda: drawn(screen, "complete"))
        original = data.test.images[1, 0].numpy()
        images = np.frombuffer(pixels(screen, "complete"), np.uint8).reshape(-1, 6, 5)
        assert len(images) == 6, "the original, what is kept, four completions"
        assert (images[0] == original).all()
        assert (images[:, :4] == original[:4]).all(), "bit for bit"
        cut = screen.gallery.pictures[1].rgb[3 * 5 * 4 : 3 * 5 * 5]
        assert cut == bytes((255, 176, 32)) * 5
        await pilot.press("w")
        await until(pilot, lambda: screen.kept)
        settings = json.loads(Path(screen.kept).with_suffix(".json").read_text())
        assert (settings["completes"], settings["keep_rows"]) == ("test:1", 4)

    on_screen(runs_copy, script)


def test_where_there_is_little_room_completions_take_the_screen(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await pilot.press("2")
        await until(pilot, lambda: drawn(screen, "complete") and screen.gallery.size.width == 78)
        await pilot.press("slash")
        await until(pilot, lambda: screen.query_one("#keeps", Input).region.width > 0)
        await pilot.press("escape", "1")
        await until(pilot, lambda: screen.query_one("#count", Input).region.width > 0)

    on_screen(runs_copy, script, size=(80, 24))


def test_what_is_filled_in_is_a_box_or_what_a_mask_says(runs_copy: Path, tmp_path: Path) -> None:
    data = load(RunDir.open(runs_copy / "done").config().data)
    mask = np.random.default_rng(0).random((6, 5)) < 0.5
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")

    def completed(screen: SamplingScreen) -> np.ndarray:
        return np.frombuffer(pixels(screen, "complete"), np.uint8).reshape(-1, 6, 5)

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await pilot.press("s")
        assert "2 completes" in screen._said, "there is nothing to complete yet"
        await pilot.press("2")
        await until(pilot, lambda: drawn(screen, "complete"))
        await pilot.press("s", "right", "b", "up", "right")
        assert (screen.draft.values["image"], screen.draft.values["keeps"]) == ("train:1", "3x3+2+0")
        assert screen.query_one("#image", Input).value == "train:1"
        await until(pilot, lambda: drawn(screen, "complete") and screen.draft.sizes.get("train") == len(data.train))
        original = data.train.images[1, 0].numpy()
        kept = np.ones((6, 5), bool)
        kept[0:3, 2:5] = False
        images = completed(screen)
        assert (images[0] == original).all()
        assert (images[:, kept] == original[kept]).all(), "bit for bit"
        assert len({image[~kept].tobytes() for image in images[2:]}) > 1
        await pilot.press("w")
        await until(pilot, lambda: screen.kept)
        settings = json.loads(Path(screen.kept).with_suffix(".json").read_text())
        assert (settings["completes"], settings["filled_in"]) == ("train:1", "3x3+2+0")
        screen.query_one("#keeps", Input).value = str(tmp_path / "mask.png")
        await until(pilot, lambda: drawn(screen, "complete") and not (completed(screen) == images).all())
        assert (completed(screen)[:, mask] == original[mask]).all()
        line = screen.query_one("#keeps", Input)
        line.value = "9x9+0+0"
        await until(pilot, lambda: line.has_class("wrong"))
        assert "not inside" in screen.draft.first_problem_of_completing
        await pilot.press("1", "n")
        await until(pilot, lambda: drawn(screen))
        assert not screen.draft.first_problem, "of no interest where nothing is completed"

    on_screen(runs_copy, script)


def test_a_completion_is_drawn_four_times_and_asks_for_no_count(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        count = screen.query_one("#count", Input)
        await until(pilot, lambda: count.region.area)
        count.value = "2"
        await pilot.press("2")
        await until(pilot, lambda: drawn(screen, "complete"))
        assert not count.region.area
        assert len(screen.gallery.pictures) == 2 + 4
        count.value = "none"
        await pilot.pause()
        assert not screen.form.problem, "of what is not asked"
        await pilot.press("1")
        await until(pilot, lambda: count.region.area and "count" in screen.form.problem)

    on_screen(runs_copy, script)


def test_a_wrong_field_that_is_hidden_is_told_and_once_it_is_right_the_image_comes(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        screen.query_one("#classes", Input).value = "3,5"
        await pilot.pause()
        await pilot.press("2")
        await pilot.pause()
        assert screen.has_class("-full"), "the fields are not seen"
        assert "classes: no class '3'" in screen.gallery.empty
        assert ["classes: no class '3'" in one.message for one in screen.app._notifications] == [True]
        await pilot.press("n")
        await pilot.pause()
        assert not drawn(screen, "complete")
        await pilot.press("slash")
        screen.query_one("#classes", Input).value = "1"
        await until(pilot, lambda: drawn(screen, "complete"))
        assert len(screen.gallery.pictures) == 6
        await pilot.press("escape", "1", "z")
        screen.query_one("#classes", Input).value = "7"
        await pilot.pause()
        screen.app.clear_notifications()
        await pilot.press("n")
        assert ["classes: no class '7'" in one.message for one in screen.app._notifications] == [True]

    on_screen(runs_copy, script, (80, 24))


def test_bits_of_the_rows_that_are_there_while_more_are_drawn(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        rows = await stopped_drawing(pilot, screen)
        await pilot.press("enter")
        some = "the first row " if rows.rows == 1 else f"the first {rows.rows} rows "
        await until(pilot, lambda: screen.heat is not None and some in screen.heat.note)
        heat = screen.gallery.pictures[1].rgb
        assert len(set(heat[: 3 * 5 * rows.rows])) > 2
        assert heat[3 * 5 * rows.rows :] == bytes((8, 8, 20)) * (5 * (6 - rows.rows)), "nothing is said of the others"

    on_screen(runs_copy, script)


def test_bits_of_each_pixel(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        await pilot.press("enter")
        await until(pilot, lambda: screen.heat is not None and "bits/dim" in screen.heat.note)
        image, heat = screen.gallery.pictures
        assert len(set(heat.rgb)) > 2
        assert image.rgb != heat.rgb
        await pilot.press("l")
        await until(
            pilot, lambda: screen.heat is not None and screen.heat.index == 1 and "bits/dim" in screen.heat.note
        )
        await pilot.press("escape")
        assert screen.heat is None
        assert len(screen.gallery.pictures) == 4
        await pilot.press("h")
        assert screen.gallery.index == 0
        # One that was kept, from its PNG: the same bits.
        await pilot.press("w")
        await until(pilot, lambda: screen.kept)
        await pilot.press("3", "enter")
        await until(pilot, lambda: screen.heat is not None and "bits/dim" in screen.heat.note)
        assert screen.gallery.pictures[1].rgb == heat.rgb

    on_screen(runs_copy, script)
