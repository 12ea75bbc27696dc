"""Tiles that change only where their pixels do, and pages of them that reflow."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget

from pixeltui.ui.widgets.gallery import Gallery, Picture
from pixeltui.ui.widgets.images import ImageTile


class Bench(App[None]):
    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.messages: list[Gallery.Highlighted] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_gallery_highlighted(self, message: Gallery.Highlighted) -> None:
        self.messages.append(message)

    def on_gallery_selected(self, message: Gallery.Selected) -> None:
        self.messages.append(message)


def show(widget: Widget, check: Callable[[Pilot[None], Bench], Awaitable[None]], size: tuple[int, int]) -> None:
    async def run() -> None:
        app = Bench(widget)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await check(pilot, app)

    asyncio.run(run())


def noise(width: int, height: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(3 * width * height)


def spy(widget: Widget, monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    regions: list[Region] = []
    monkeypatch.setattr(widget, "refresh", lambda *found, **rest: regions.extend(found))
    return regions


def test_which_of_the_images_are_seen() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        gallery = app.widget
        assert isinstance(gallery, Gallery)
        gallery.set_pictures([Picture(noise(8, 8), 8, 8)] * 3)
        await pilot.pause()
        (status,) = gallery.query("_Status")
        assert "1–3 of 3" in status.render_line(0).text
        gallery.set_pictures([Picture(noise(8, 8), 8, 8)])
        await pilot.pause()
        assert status.render_line(0).text.split()[:3] == ["1", "of", "1"]

    show(Gallery(), check, (60, 20))


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_new_row_refreshes_its_cells_alone(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = ImageTile(8, 8, scale=scale, depth="truecolor")
    tile.set_rows(noise(8, 8), 3)
    regions = spy(tile, monkeypatch)
    tile.set_rows(noise(8, 8), 4)
    rows = {y for region in regions for y in range(region.y, region.bottom)}
    assert rows == {1 + y // 2 for y in range(3 * scale, 4 * scale)}
    regions.clear()
    tile.set_rows(noise(8, 8), 4)
    assert regions == []
    changed = bytearray(noise(8, 8))
    changed[0] ^= 255
    tile.set_rows(bytes(changed), 4)
    assert {region.y for region in regions} == {1 + y // 2 for y in range(scale)}


def test_finishing_dithers_the_whole_picture_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = ImageTile(8, 8, depth="256")
    tile.set_rows(noise(8, 8), 7)
    regions = spy(tile, monkeypatch)
    tile.set_rows(noise(8, 8), 8)
    assert {region.y for region in regions} == {1, 2, 3, 4}


def test_wrong_sizes_are_refused() -> None:
    tile = ImageTile(8, 8)
    with pytest.raises(ValueError, match="8x8"):
        tile.set_rows(b"123", 8)
    with pytest.raises(ValueError, match="scale 9"):
        ImageTile(8, 8, scale=9)


def test_selection_frames_the_picture_and_leaves_it_alone() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        before = [tile.render_line(y).text for y in range(6)]
        tile.selected = True
        after = [tile.render_line(y).text for y in range(6)]
        assert after[0] == "┏━━━━━━━━┓"
        assert after[-1] == "┗━━cat━━━┛"
        assert before[1:-1] == after[1:-1]
        tile.label = "a very long name"
        assert tile.render_line(5).text == "┗a very l┛"

    tile = ImageTile(8, 8, label="cat")
    tile.set_rows(noise(8, 8), 8)
    show(tile, check, (40, 12))


def gallery(count: int, width: int = 32, height: int = 32) -> Gallery:
    return Gallery([Picture(noise(width, height, i), width, height, f"no {i}") for i in range(count)])


@pytest.mark.parametrize(
    ("size", "columns", "rows", "scale"),
    [((200, 50), 5, 2, 1), ((120, 40), 3, 2, 1), ((80, 24), 2, 1, 1), ((60, 16), 3, 1, 0), ((30, 8), 3, 1, -1)],
)
def test_pages_follow_the_window(size: tuple[int, int], columns: int, rows: int, scale: int) -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        found = app.query_one(Gallery)
        assert (found.columns, found.rows, found.shown_scale) == (columns, rows, scale)
        tiles = list(app.query(ImageTile))
        assert len(tiles) == min(24, columns * rows)
        for tile in tiles:
            assert found.region.contains_region(tile.region)
        assert not any(a.region.overlaps(b.region) for a in tiles for b in tiles if a is not b)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert (found.columns, found.rows) == (3, 2)
        assert len(app.query(ImageTile)) == 6

    show(gallery(24), check, size)


def test_the_cursor_walks_through_pages() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        found = app.query_one(Gallery)
        assert (found.page_size, found.pages) == (6, 2)
        for move, index in [((1, 0), 1), ((0, 1), 4), ((0, 1), 7), ((0, 1), 7), ((-1, 0), 6), ((0, -1), 3)]:
            found.action_move(*move)
            assert found.index == index
        found.action_page(1)
        assert (found.index, found.page) == (8, 1)
        await pilot.pause()
        tiles = list(app.query(ImageTile))
        assert [tile.label for tile in tiles] == ["no 6", "no 7", "no 8"]
        assert [tile.selected for tile in tiles] == [False, False, True]
        found.action_first()
        found.action_last()
        found.action_select()
        await pilot.pause()
        assert isinstance(app.messages[-1], Gallery.Selected)
        assert [m.index for m in app.messages][-3:] == [0, 8, 8]

    show(gallery(9), check, (120, 40))


def test_pictures_in_progress_and_none() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        found = app.query_one(Gallery)
        found.set_rows(1, noise(32, 32, 1), 10)
        found.set_rows(8, noise(32, 32, 1), 10)
        tiles = list(app.query(ImageTile))
        assert [tile.rows_done for tile in tiles][:2] == [32, 10]
        found.action_last()
        await pilot.pause()
        assert [tile.rows_done for tile in app.query(ImageTile)] == [32, 32, 10]
        found.set_pictures([])
        await pilot.pause()
        assert not app.query(ImageTile)
        found.action_move(1, 0)
        found.action_select()

    show(gallery(9), check, (120, 40))


def test_tile_sizes() -> None:
    async def check(pilot: Pilot[None], app: Bench) -> None:
        found = app.query_one(Gallery)
        found.action_zoom(1)
        assert found.shown_scale == 2
        found.action_zoom(1)
        assert found.shown_scale == 2  # there is no room for more
        found.action_toggle_renderer()
        assert found.shown_scale == 0
        found.action_toggle_renderer()
        assert found.shown_scale == 1

    show(gallery(3), check, (90, 40))


def test_rows_of_a_sweep_are_named_at_their_left_while_they_are_rows() -> None:
    """Under small tiles there is no room for temperature and class."""
    found = Gallery([Picture(noise(8, 8, i), 8, 8, f"T0.{7 + i // 10} {i % 10}") for i in range(30)])
    found.most_columns, found.row_names = 10, ["T0.7", "T0.8", "T0.9"]

    async def check(pilot: Pilot[None], app: Bench) -> None:
        for width, scale in ((60, -1), (80, 0), (120, 1)):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
            found.fit()
            await pilot.pause()
            assert (found.columns, found.shown_scale) == (10, scale)
            tiles, names = list(app.query(ImageTile)), list(app.query(".row-name"))
            assert [tile.label for tile in tiles] == [str(i % 10) for i in range(30)]
            assert [str(name.render()) for name in names] == found.row_names
            for name, tile in zip(names, tiles[::10], strict=True):
                assert name.region.right < tile.region.x + 1
                assert tile.region.y < name.region.y < tile.region.bottom - 1
                assert found.region.contains_region(tile.region)
        found.set_scale(2)
        await pilot.pause()
        assert not app.query(".row-name"), "they do not fit side by side any more"
        assert app.query(ImageTile).first().label == "T0.7 0"
        found.most_columns, found.row_names = None, []
        found.set_pictures([Picture(noise(8, 8), 8, 8, "3")])
        await pilot.pause()
        assert not app.query(".row-name")

    show(found, check, (60, 30))
