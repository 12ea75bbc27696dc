"""The run browser: the table, its order and filter, and what can be done to a run."""

import asyncio
import json
import shlex
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from driving import names, until
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, OptionList

from pixeltui.ui.app import Console
from pixeltui.ui.run_list import RunList
from pixeltui.ui.screens import browser
from pixeltui.ui.screens.bars import KeyBar, TitleBar
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.compare import CompareScreen
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Ask, Prompt
from pixeltui.ui.screens.new_run import NewRun
from pixeltui.ui.screens.preview import Preview
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.widgets.run_table import RunTable

HOSTILE = "[red]\x1b[2Jnote[/red]"


@pytest.fixture
def runs(tiny_train: Callable[..., int], tmp_path: Path) -> Path:
    """Three runs, alpha to gamma, of which two have tags, and something that is no run."""
    assert tiny_train("--name", "alpha", "--set", "train.steps=4", "--set", "sample.every=2") == 0
    folder = tmp_path / "runs"
    for name, tags, steps in (("beta", ["good"], 2), ("gamma", ["good", HOSTILE], 1)):
        shutil.copytree(folder / "alpha", folder / name)
        meta = json.loads((folder / name / "meta.json").read_text())
        (folder / name / "meta.json").write_text(json.dumps({**meta, "tags": tags}))
        lines = (folder / name / "events.jsonl").read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line).get("step", 0) <= steps]
        (folder / name / "events.jsonl").write_text("".join(kept))
        config = folder / name / "config.toml"
        config.write_text(config.read_text().replace("channels = 8", f"channels = {8 * steps}"))
    (folder / "junk[bold]").mkdir()
    return folder


def drive(runs: Path, script: Callable[[Console, Pilot], Coroutine[None, None, None]], size=(140, 40)) -> None:  # type: ignore[no-untyped-def,type-arg]
    async def go() -> None:
        app = Console(runs)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and names(app))
            await script(app, pilot)

    asyncio.run(go())


def cells(app: Console) -> str:
    table = app.screen.query_one(RunTable)
    return "\n".join(table.render_line(y).text for y in range(table.size.height))


def test_every_run_is_listed_and_what_is_none_is_damaged(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        assert sorted(names(app)) == ["alpha", "beta", "gamma", "junk[bold]"]
        text = cells(app)
        assert "damaged" in text
        assert "junk[bold]" in text, "markup is text"
        assert "\x1b" not in text

    drive(runs, script)


def test_an_empty_folder_says_how_to_begin(tmp_path: Path) -> None:
    async def go() -> None:
        app = Console(tmp_path)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and "N trains the first one" in cells(app))
            assert not app.screen.query_one(Preview).display
            keys = app.screen.query_one(KeyBar).render_line(0).text
            assert "N new" in keys
            assert "open" not in keys
            assert "try out" not in keys, "of no use without a run"
            await pilot.press("colon", *"preset")
            found = app.screen.query_one(OptionList)
            await until(pilot, lambda: found.option_count)
            assert "train a new run" in str(found.get_option_at_index(0).prompt), "by what it does, not by its name"

    asyncio.run(go())


def test_a_name_that_is_typed_is_the_first_that_the_palette_finds(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        assert "enter open" in app.screen.query_one(KeyBar).render_line(0).text
        await pilot.press("colon", *"tags")
        found = app.screen.query_one(OptionList)
        await until(pilot, lambda: found.option_count and "Tags: " in str(found.get_option_at_index(0).prompt))

    drive(runs, script)


def test_sorting_by_letter_and_capital(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("o", "n")
        assert names(app) == ["alpha", "beta", "gamma", "junk[bold]"]
        await pilot.press("o", "N")
        assert names(app) == ["junk[bold]", "gamma", "beta", "alpha"]
        await pilot.press("o", "t")
        assert names(app)[:3] == ["gamma", "beta", "alpha"]
        await pilot.press("o", "escape", "n")
        assert isinstance(app.screen, BrowserScreen), "n is no column's letter any more"

    drive(runs, script)


def test_filtering_as_one_types(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("slash", "g", "o", "o", "d", "space", "b", "e")
        assert names(app) == ["beta"]
        await pilot.press("enter")
        assert isinstance(app.focused, RunTable)
        await pilot.press("escape")
        assert len(names(app)) == 4

    drive(runs, script)


def test_the_cursor_is_on_the_first_run_that_matches(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        table = app.screen.query_one(RunTable)
        await pilot.press("o", "n", "G", "slash", *"good")
        assert names(app) == ["beta", "gamma"]
        assert table.cursor_row == 0
        await pilot.press("escape", "j", "slash", *"good")
        assert names(app) == ["beta", "gamma"]
        assert table.cursor_row == 1, "its run still matches"

    drive(runs, script)


def test_where_there_is_no_run_keys_of_runs_say_so(runs: Path, tmp_path: Path) -> None:
    keys = ("enter", "R", "t", "I", "r", "number_sign", "e", "E", "D", "c", "space", "a")

    async def refused(app: Console, pilot: Pilot, key: str, why: str) -> None:  # type: ignore[type-arg]
        app.clear_notifications()
        await pilot.press(key)
        await until(pilot, lambda: [n.message for n in app._notifications] == [why])
        assert isinstance(app.screen, BrowserScreen)

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("slash", *"nowhere", "enter")
        assert not names(app)
        for key in keys:
            await refused(app, pilot, key, "no run matches 'nowhere': esc shows all")
        assert not app.marked

    drive(runs, script)

    async def go() -> None:
        app = Console(tmp_path / "none")
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and "N trains" in cells(app))
            for key in keys:
                await refused(app, pilot, key, "no run here: N trains one")

    asyncio.run(go())


def test_deleting_asks_and_moves_to_the_trash(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("o", "n", "g", "D")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen))
        assert (runs / "alpha").is_dir()
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.is_running)
        await pilot.press("y")
        await until(pilot, lambda: not (runs / "alpha").exists())
        assert (runs / ".trash" / "alpha").is_dir()
        await until(pilot, lambda: names(app) == ["beta", "gamma", "junk[bold]"])

    drive(runs, script)


async def type_in(app: Console, pilot: Pilot, key: str, text: str) -> None:  # type: ignore[type-arg]
    """Answers the question that a key asks."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, Prompt) and app.screen.query(Input))
    app.screen.query_one(Input).value = text
    await pilot.press("enter")


def test_rename_tags_and_note(runs: Path) -> None:
    def meta() -> dict:  # type: ignore[type-arg]
        return json.loads((runs / "aardvark" / "meta.json").read_text())

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("o", "n", "g")
        await type_in(app, pilot, "r", "no way")
        assert isinstance(app.screen, Prompt), "what cannot be a name is not taken"
        app.screen.query_one(Input).value = "aardvark"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and "aardvark" in names(app))
        await pilot.press("g")
        await type_in(app, pilot, "number_sign", "one two one")
        await until(pilot, lambda: meta()["tags"] == ["one", "two"])
        await type_in(app, pilot, "number_sign", "one odd\u202etag")
        assert isinstance(app.screen, Prompt), "what the command refuses is not taken either"
        await pilot.press("escape")
        await type_in(app, pilot, "e", HOSTILE.replace("\x1b", ""))
        await until(pilot, lambda: meta().get("note") == "[red][2Jnote[/red]")
        line = app.screen.query_one("#preview #note")
        await until(pilot, lambda: "[red][2Jnote[/red]" in "".join(line.render_line(0).text))
        assert line.display, "the note is seen with its run"

    drive(runs, script)


def test_the_preview_follows_the_cursor(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        screen = app.screen
        await pilot.press("o", "n", "g")
        main = screen.query_one("#preview CurvesPane", CurvesPane).main
        await until(pilot, lambda: main.series and len(main.series[0]) == 4)
        await pilot.press("j")
        await until(pilot, lambda: len(main.series[0]) == 2)

    drive(runs, script)


def test_marked_runs_against_each_other(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("o", "n", "g", "v")
        assert isinstance(app.screen, BrowserScreen), "nothing is marked yet"
        await pilot.press("space", "space", "v")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        table = app.screen.query_one(DataTable)
        await until(pilot, lambda: table.row_count > 7)
        rows = [[str(cell) for cell in table.get_row_at(y)] for y in range(table.row_count)]
        assert ["model.channels", "8", "16"] in rows
        main = app.screen.query_one(CurvesPane).main
        assert [series.name for series in main.series if series.marker] == ["alpha val", "beta val"]
        assert len({series.color for series in main.series}) == 2
        await pilot.press("enter", "z")
        assert (main.cursor is not None, app.screen.has_class("-full")) == (True, True)
        for left in ((True, False), (False, False)):
            await pilot.press("escape")
            assert (main.cursor is not None, app.screen.has_class("-full")) == left, "a layer at a time"
        await pilot.press("escape")
        assert isinstance(app.screen, BrowserScreen)

    drive(runs, script)


def test_what_is_no_run_takes_no_place_among_those_compared(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "MOST_COMPARED", 3)

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("o", "s", "a")
        assert names(app)[2] == "junk[bold]"
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        assert app.screen.query_one(TitleBar).title == "3 runs against each other"

    drive(runs, script)


def test_opening_a_run_and_coming_back(runs: Path) -> None:
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("o", "n", "g", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen))

    drive(runs, script)


def test_a_new_run_is_checked_as_one_types_and_trained(runs: Path, tiny_npz: Path, tmp_path: Path) -> None:
    images = tmp_path / "some images.npz"
    shutil.copy(tiny_npz, images)

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, NewRun))
        form = app.screen
        problem = form.query_one("#problem")
        form.query_one("#train-lr", Input).value = "-1"
        await pilot.pause()
        assert problem.has_class("wrong")
        await pilot.press("enter")
        assert app.screen is form
        form.query_one("#train-lr", Input).value = "0.01"
        form.query_one("#data-name", Input).value = str(images)
        form.query_one("#model-channels", Input).value = "8"
        form.query_one("#model-blocks", Input).value = "1"
        form.query_one("#name", Input).value = "fresh"
        form.query_one("#other", Input).value = "train.steps=3 sample.every=0 model.first_kernel=3 train.batch_size=16"
        await pilot.pause()
        assert not problem.has_class("wrong")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrainingScreen))
        await until(pilot, lambda: app.training is not None and app.training.state == "finished")
        await until(pilot, lambda: not app.trains)
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and "fresh" in names(app))

    drive(runs, script)
    assert "lr = 0.01" in (runs / "fresh" / "config.toml").read_text()
    command = shlex.split(json.loads((runs / "fresh" / "meta.json").read_text())["command"])
    assert command[:4] == ["pixeltui", "train", "--preset", "quick"]
    assert f"data.name={images}" in command
    assert command[-2:] == ["--name", "fresh"]


def test_a_thousand_rows_make_only_those_in_view(runs: Path) -> None:
    """The cursor stays in view and on its run, and short names leave their heading whole."""
    for number in range(60):
        shutil.copytree(runs / "gamma", runs / f"r{number:02}")
    for name in ("alpha", "beta", "gamma", "junk[bold]"):
        shutil.move(runs / name, runs.parent / name)

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: len(names(app)) == 60)
        table = app.screen.query_one(RunTable)
        await pilot.press("o", "n", "g")
        lines = cells(app).splitlines()
        assert len(lines) == table.size.height < 60
        assert lines[0].split()[:3] == ["name▼", "state", "data"]
        assert lines[1].split()[0] == "r00"
        await pilot.press("G", "k")
        assert "r58" in cells(app)
        assert table.current is not None
        assert table.current.name == "r58"
        await pilot.press("o", "N")
        assert table.current.name == "r58", "on its run in another order"
        assert table.cursor_row == 1
        assert "┃" in cells(app)
        await pilot.press("slash", "r", "3")
        await until(pilot, lambda: len(names(app)) == 10)
        assert table.current.name.startswith("r3")
        await pilot.press("enter", "escape", "g")
        await pilot.click(RunTable, offset=(5, 4))
        assert table.cursor_row == 2
        await pilot.click(RunTable, offset=(5, 1))
        assert names(app)[0] == "r00", "a click on a heading sorts"

    drive(runs, script)


def test_runs_of_one_age_keep_their_places(runs: Path) -> None:
    """What is read first, with what other listings have kept, comes in the order of what is read again."""
    found = RunList(runs)
    first = [run.name for run in found.reload()]
    assert first == [run.name for run in found.reload()] == sorted(first)
