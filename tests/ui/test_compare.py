"""The comparison screen: names of runs, curves, what differs."""

import shutil
from pathlib import Path

import pytest
from driving import drive, until
from textual.pilot import Pilot

from pixeltui.store.rundir import RunDir
from pixeltui.ui.app import Console
from pixeltui.ui.keys import STEERING
from pixeltui.ui.screens.bars import KeyBar
from pixeltui.ui.screens.compare import CompareScreen, Sheet, shortened
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Help
from pixeltui.ui.widgets.differences import Differences
from pixeltui.ui.widgets.images import ImageTile
from pixeltui.ui.widgets.key_list import KeyList


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a-1", "a-2"], ["1", "2"]),
        (["wide", "narrow-and-deep"], ["wide", "narrow-and-deep"]),
        (["photos", "quick-digits-20261126-061853-f296"], ["photos", "quick-digits…061853-f296"]),
        (
            ["photos", "tiny", "quick-digits-20261126-061853-f296", "quick-digits-20261126-061254-6140"],
            ["photos", "tiny", "quick-…-f296", "quick-…-6140"],
        ),
    ],
)
def test_long_names_that_begin_alike_are_told_apart(names: list[str], short: list[str]) -> None:
    assert shortened(names) == short


@pytest.fixture
def compared(runs_copy: Path) -> tuple[Console, list[Path]]:
    """A console, and six runs to compare."""
    paths = [runs_copy / f"run-{number}" for number in range(6)]
    for number, path in enumerate(paths):
        shutil.copytree(runs_copy / "done", path)
        config = path / "config.toml"
        config.write_text(config.read_text().replace("ema_decay = 0.99", f"ema_decay = 0.99{number}"))
    return Console(runs_copy), paths


def test_a_run_without_a_config_differs_in_no_key(compared: tuple[Console, list[Path]]) -> None:
    app, paths = compared
    (paths[0] / "config.toml").write_text("no = [ toml")

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        table = (await shown(app, pilot, paths[:3])).query_one(Differences)
        rows = [list(map(str, table.get_row_at(row))) for row in range(table.row_count)]
        assert [row for row in rows if "." in row[0]] == [["train.ema_decay", "", "0.9915", "0.9925"]]

    drive(app, script)


async def shown(app: Console, pilot: Pilot, paths: list[Path]) -> CompareScreen:  # type: ignore[type-arg]
    screen = CompareScreen([RunDir.open(path) for path in paths])
    app.push_screen(screen)
    await until(pilot, lambda: screen.is_mounted and screen.query_one(Differences).row_count)
    return screen


def test_every_compared_run_gets_its_curves_and_none_is_laid_over(compared: tuple[Console, list[Path]]) -> None:
    app, paths = compared
    app.marked = {str(path) for path in paths}

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = await shown(app, pilot, paths)
        main = screen.query_one(CurvesPane).main
        names = [series.name for series in main.series]
        await pilot.press("b")
        await pilot.pause()
        assert [series.name for series in main.series] == names, "as they were"
        await pilot.press("E")
        await until(pilot, lambda: all((path / "curves.csv").is_file() for path in paths))
        assert len({(path / "curves.csv").read_text().count("\nbits/train,") for path in paths} - {0}) == 1
        assert any("run-5" in notification.message for notification in app._notifications)
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        lines = app.screen.query_one(KeyList).lines(80)
        assert not any("lay the runs" in meaning for _, meaning in lines)
        assert any("CSV" in meaning for _, meaning in lines)
        await pilot.press("escape")
        screen.query_one(Differences).focus()
        await pilot.pause()
        assert "zoom" in screen.query_one(KeyBar).render_line(0).text
        screen.query_one(Sheet).gallery.focus()
        await pilot.pause()
        assert not STEERING & {key.id for key in screen.query_one(KeyBar)._keys}
        screen.query_one(Differences).focus()
        await pilot.pause()
        assert "metric" not in screen.query_one(KeyBar).render_line(0).text, "a key of the curves"

    drive(app, script)


def test_what_differs_between_six_runs_can_be_read(compared: tuple[Console, list[Path]]) -> None:
    """The columns get the room that the table has, whenever it gets more."""
    app, paths = compared

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = await shown(app, pilot, paths)
        table = screen.query_one(Differences)
        table.focus()
        await pilot.press("down", "down")

        def texts() -> list[str]:
            cells = [table.get_row_at(row) for row in range(table.row_count)]
            return [str(cell) for row in cells for cell in row] + [str(c.label) for c in table.columns.values()]

        assert any("…" in text for text in texts())
        await pilot.press("z")
        await until(pilot, lambda: not any("…" in text for text in texts()))
        assert {"train.ema_decay", "0.9935"} <= set(texts())
        assert table.cursor_row == 2
        await pilot.press("z")
        await until(pilot, lambda: any("…" in text for text in texts()))
        await pilot.resize_terminal(250, 40)
        await until(pilot, lambda: not any("…" in text for text in texts()))

    drive(app, script)


def test_six_runs_beside_each_other_at_one_scale_and_none_cut_off(compared: tuple[Console, list[Path]]) -> None:
    app, paths = compared
    paths = [path.rename(path.with_name(f"{i}-is-at-both-ends-of-its-name-{i}")) for i, path in enumerate(paths)]

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = await shown(app, pilot, paths)
        table, sheets = screen.query_one(Differences), list(screen.query(Sheet))
        await until(pilot, lambda: all(sheet.gallery.pictures and sheet.border_title for sheet in sheets))
        for columns, rows in ((120, 40), (131, 40), (80, 24)):
            await pilot.resize_terminal(columns, rows)
            await until(pilot, lambda c=columns: screen.size.width == c and table.size.width < c)
            await pilot.pause(0.3)
            assert len({sheet.outer_size.width for sheet in sheets}) > 1 or columns == 80
            await until(pilot, lambda: len({sheet.gallery.shown_scale for sheet in sheets}) == 1, 20)
            for number, sheet in enumerate(sheets):
                title = str(sheet.border_title)
                assert title.count("…") == 1
                assert title.endswith(str(number)), "what tells it from the others"
                assert len(title) <= sheet.outer_size.width - 2
            width = sum(column.get_render_width(table) for column in table.columns.values())
            assert (width > table.size.width) == bool(table.border_subtitle)
            assert bool(table.border_subtitle) == (columns == 80)
        assert "of 6 runs" in str(table.border_subtitle)

    drive(app, script)


def test_one_sample_has_the_screen_and_esc_gives_it_back(compared: tuple[Console, list[Path]]) -> None:
    app, paths = compared

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = await shown(app, pilot, paths[:2])
        first, second = screen.query(Sheet)
        await until(pilot, lambda: first.gallery.pictures and second.gallery.pictures)
        first.gallery.focus()
        await pilot.pause()
        small = first.gallery.shown_scale
        await pilot.press("enter")
        await until(pilot, lambda: first.gallery.shown_scale > small and first.size.width > 100)
        assert not second.region.area
        await until(pilot, lambda: "bits/dim" in first.gallery.pictures[1].label, 60)
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is screen
        assert first.heat is None
        await until(pilot, lambda: second.region.area and first.gallery.shown_scale == small)
        await pilot.press("escape")
        assert app.screen is not screen

    drive(app, script)


def test_the_sheet_that_has_the_focus_is_seen(compared: tuple[Console, list[Path]]) -> None:
    app, paths = compared

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = await shown(app, pilot, paths[:2])
        sheets = list(screen.query(Sheet))
        await until(pilot, lambda: all(sheet.gallery.pictures for sheet in sheets))
        screen.query_one(Differences).focus()
        await pilot.pause()

        def framed() -> list[bool]:
            return [any(tile.selected for tile in sheet.query(ImageTile)) for sheet in sheets]

        assert framed() == [False, False]
        for expected in ([True, False], [False, True]):
            await pilot.press("tab")
            await pilot.pause()
            assert framed() == expected
            assert [sheet.styles.border_top[0] == "heavy" for sheet in sheets] == expected

    drive(app, script)
