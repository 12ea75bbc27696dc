"""The inspection screen on a real tiny run, steered by keys; what it shows is computed by a process of its own."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from driving import until
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from pixeltui.session.wishes import Pane
from pixeltui.ui.app import Console
from pixeltui.ui.screens.bars import TitleBar
from pixeltui.ui.screens.browser import BrowserScreen, RunTable
from pixeltui.ui.screens.inspect import TITLES, InspectScreen
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.widgets.inspected import arranged

Script = Callable[[Pilot, InspectScreen], Coroutine[None, None, None]]  # type: ignore[type-arg]


def on_screen(runs: Path, script: Script, size: tuple[int, int] = (110, 36), keys: tuple[str, ...] = ("I",)) -> None:
    """Opens the screen on the run "done" from the browser, by these keys."""
    app = Console(runs)

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.1)
            await until(pilot, lambda: isinstance(app.screen, InspectScreen))
            assert isinstance(app.screen, InspectScreen)
            await script(pilot, app.screen)

    asyncio.run(go())
    assert app.studio.pid is None, "the process has ended with the console"


def note(screen: InspectScreen) -> str:
    return str(screen.query_one("#note", Static).render())


async def see(pilot: Pilot, screen: InspectScreen, key: str, name: str) -> Pane:  # type: ignore[type-arg]
    await pilot.press(key)
    await until(pilot, lambda: name in screen.panes and screen.name_shown == name, 60)
    await pilot.pause(0.1)
    return screen.panes[name]


def test_every_pane(runs_copy: Path) -> None:
    """In turn, on one screen: its process imports torch once."""

    async def script(pilot: Pilot, screen: InspectScreen) -> None:  # type: ignore[type-arg]
        await see_bits(pilot, screen)
        layers = await see_features(pilot, screen)
        await see_units(pilot, screen, layers)
        await see_field_classes_and_nearest(pilot, screen)
        await see_verdicts(pilot, screen)
        assert screen.panes.keys() == TITLES.keys()
        await write_and_double(pilot, screen, runs_copy / "done" / "inspect")
        await pilot.press("escape")
        assert isinstance(screen.app.screen, BrowserScreen)

    on_screen(runs_copy, script)


async def see_bits(pilot: Pilot, screen: InspectScreen) -> None:  # type: ignore[type-arg]
    bits = await see(pilot, screen, "2", "bits")
    assert [len(group.tiles) for group in bits.groups] == [1, 20], "one map of grey; ten images beside their maps"
    await until(pilot, lambda: "bits" in note(screen))
    assert len(screen.seen.gallery.pictures) == 1
    await pilot.press("j")
    assert len(screen.seen.gallery.pictures) == 20
    assert screen.seen.gallery.columns % 2 == 0, "pairs stand together"
    labels = [float(tile.label) for tile in bits.groups[1].tiles[1::2]]
    assert labels == sorted(labels), "easy ones first"


async def see_features(pilot: Pilot, screen: InspectScreen) -> list[str]:  # type: ignore[type-arg]
    """The names of the layers."""
    features = await see(pilot, screen, "3", "features")
    names = [group.name for group in features.groups]
    assert {"vertical_first", "blocks.0:1", "blocks.0.horizontal_gate", "norm"} <= set(names)
    await pilot.press("j", "j", "l")
    assert screen.query_one("#seen").border_subtitle == f"↑↓ 3 of {len(names)}: {names[2]}"
    assert note(screen).startswith("unit ")
    await pilot.press("z", "l")
    assert len(screen.seen.gallery.pictures) == 1
    assert screen.seen.gallery.pictures[0].rgb == features.groups[2].tiles[2].rgb
    await pilot.press("escape")
    assert (len(screen.seen.gallery.pictures), screen.seen.gallery.index) == (9, 2)
    return names


async def see_units(pilot: Pilot, screen: InspectScreen, layers: list[str]) -> None:  # type: ignore[type-arg]
    units = await see(pilot, screen, "4", "units")
    table = screen.query_one(DataTable)
    assert table.row_count == len(units.rows) == len(layers)
    await pilot.press("G")
    assert table.cursor_row == len(layers) - 1


async def see_field_classes_and_nearest(pilot: Pilot, screen: InspectScreen) -> None:  # type: ignore[type-arg]
    field = await see(pilot, screen, "5", "field")
    assert [tile.label for tile in field.groups[0].tiles] == ["can see", "looks at"]
    assert "no blind spot" in note(screen)

    classes = await see(pilot, screen, "6", "classes")
    assert [row[0] for row in classes.rows] == ["0", "1", "2"]
    assert sum(int(row[1]) for row in classes.rows) == 10

    nearest = await see(pilot, screen, "7", "nearest")
    tiles = nearest.groups[0].tiles
    assert len(tiles) == 32
    assert all(0 <= float(tile.label) <= 1 for tile in tiles[1::2])
    assert "train:" in note(screen)


async def see_verdicts(pilot: Pilot, screen: InspectScreen) -> None:  # type: ignore[type-arg]
    verdicts = await see(pilot, screen, "1", "verdicts")
    assert [text for kind, text in verdicts.lines if kind == "good"] == ["✔ mask", "✔ model", "✔ sampler"]
    assert not any(kind == "bad" for kind, _ in verdicts.lines)


async def write_and_double(pilot: Pilot, screen: InspectScreen, folder: Path) -> None:  # type: ignore[type-arg]
    """w writes the files; n takes twice the images, as far as there are more."""
    await pilot.press("w")
    await until(pilot, lambda: (folder / "inspect.json").exists(), 60)
    document = json.loads((folder / "inspect.json").read_text())
    assert document["run"] == "done"
    await until(pilot, lambda: "written" in screen._said)
    title = screen.query_one(TitleBar)
    assert title.remark.startswith("written")
    await pilot.press("n")
    assert len(screen.panes) == len(TITLES), "there are ten, and all of them are shown"
    screen.images = 4
    for images, taken in ((8, 8), (16, 10)):
        await pilot.press("n")
        assert screen.images == images
        await until(pilot, lambda: "verdicts" in screen.panes, 60)
        assert title.remark == f"{taken} images"
    classes = await see(pilot, screen, "6", "classes")
    assert classes.note.endswith("over all 10 images of the test split")


def test_it_fits_a_small_window_and_opens_from_a_run(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: InspectScreen) -> None:  # type: ignore[type-arg]
        for key, name in (("2", "bits"), ("5", "field")):
            await see(pilot, screen, key, name)
            assert screen.seen.gallery.pages == 1
            tiles = screen.seen.gallery._tiles
            assert max(tile.region.right for tile in tiles) < 80
            assert max(tile.region.bottom for tile in tiles) < 24
        await pilot.press("escape")
        assert isinstance(screen.app.screen, TrainingScreen)

    on_screen(runs_copy, script, size=(80, 24), keys=("enter", "I"))


def test_a_run_without_a_checkpoint_says_what_to_do(runs_copy: Path) -> None:
    for path in (runs_copy / "done" / "checkpoints").iterdir():
        path.unlink()

    async def script(pilot: Pilot, screen: InspectScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: "no checkpoint yet" in screen._said, 60)

    on_screen(runs_copy, script)


@pytest.mark.parametrize("beside", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (32, 32), (64, 64), (5, 6)])
@pytest.mark.parametrize("room", [(76, 14), (116, 30), (246, 60)])
def test_tiles_that_belong_together_stand_together(size: tuple[int, int], beside: int, room: tuple[int, int]) -> None:
    for count in (2, 4, 32, 128):
        columns, scale = arranged(*size, count, beside, *room)
        assert columns % beside == 0
        assert 1 <= columns <= count
        width = size[0] * scale if scale > 0 else size[0] // 2 ** (1 - scale)
        assert columns * (width + 2) <= room[0]
