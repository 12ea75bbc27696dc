"""Questions, lines to type, the list of keys."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from driving import drive, until
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input, Static

from pixeltui.config import Config, load_config
from pixeltui.ui.app import Console
from pixeltui.ui.screens import new_run
from pixeltui.ui.screens.bars import KeyBar
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.dialogs import Ask, Choice, Help, Prompt
from pixeltui.ui.screens.new_run import NewRun
from pixeltui.ui.screens.sampling import SamplingScreen
from pixeltui.ui.widgets.run_table import RunTable


@pytest.fixture
def app(runs_copy: Path) -> Console:
    return Console(runs_copy)


async def opened(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
    await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)


def test_a_long_note_opens_where_one_types(app: Console, runs_copy: Path) -> None:
    path = runs_copy / "done" / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "word " * 40 + "the end"}))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Prompt) and app.screen.query(Input))
        line = app.screen.query_one(Input)
        await until(pilot, lambda: "the end" in line.render_line(0).text, 5)
        assert "done" in str(app.screen.query_one(".dialog").border_title), "whose note it is"

    drive(app, script, (80, 24))


def test_the_list_of_keys_is_scrolled_with_j_k_g_and_capital_g(app: Console) -> None:
    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help) and app.screen.query(VerticalScroll))
        scroll = app.screen.query_one(VerticalScroll)
        for key, there in (
            ("j", lambda: scroll.scroll_y == 1),
            ("G", lambda: scroll.scroll_y == scroll.max_scroll_y > 1),
            ("k", lambda: scroll.scroll_y == scroll.max_scroll_y - 1),
            ("g", lambda: scroll.scroll_y == 0),
        ):
            await pilot.press(key)
            await until(pilot, there, 5)

    drive(app, script, (80, 24))


def test_answers_stand_below_each_other(app: Console) -> None:
    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        app.push_screen(Ask("Leave", "A run trains.", [Choice("d", "detach", "d"), Choice("s", "stop", "s")]))
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.query(Static))
        lines = str(app.screen.query(Static).last().render()).split("\n")
        assert {line.index(word) for line, word in zip(lines, ("detach", "stop", "cancel"), strict=True)} == {6}

    drive(app, script)


def test_while_words_are_typed_the_footer_offers_no_letters(app: Console) -> None:
    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        bar = app.screen.query_one(KeyBar)
        await pilot.press("slash", "d")
        await until(pilot, lambda: bar.render_line(0).text.split() == ["enter", "keeps", "esc", "clears"], 5)
        await pilot.click(bar, (3, 0))
        await until(pilot, lambda: "N new" in bar.render_line(0).text, 5)
        assert app.screen.query_one("#filter", Input).value == "d"

    drive(app, script)


def test_in_a_field_of_the_sampling_screen_the_footer_has_its_keys(app: Console) -> None:
    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, SamplingScreen) and app.screen.query(Input))
        bar = app.screen.query_one(KeyBar)
        await until(pilot, lambda: "n draw" in bar.render_line(0).text, 5)
        await pilot.press("slash")
        await until(pilot, lambda: "↑↓ field" in bar.render_line(0).text, 5)
        assert "n draw" not in bar.render_line(0).text
        await pilot.click(bar, (bar.render_line(0).text.index("↑↓"), 0))
        assert app.screen.focused is app.screen.query_one("#top_p")
        await pilot.press("escape")
        await until(pilot, lambda: "n draw" in bar.render_line(0).text, 5)

    drive(app, script)


def test_without_colours_what_could_be_typed_and_what_is_selected_are_told_from_values(
    runs_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Console(runs_copy)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, NewRun) and app.screen.query(Input))
        await pilot.pause()
        name, channels = app.screen.query_one("#name", Input), app.screen.query_one("#model-channels", Input)

        def style_of(line: Input, text: str):  # type: ignore[no-untyped-def]
            return next(segment.style for segment in line.render_line(0) if text in segment.text)

        channels.focus()
        await until(pilot, lambda: style_of(channels, "64").reverse, 5)
        assert style_of(name, "data").dim

    drive(app, script)


def test_another_preset_is_checked_once_whatever_fields_it_fills(app: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str | None] = []

    def count(*, preset: str | None = None, overrides: Sequence[str] = ()) -> Config:
        read.append(preset)
        return load_config(preset=preset, overrides=overrides)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        await pilot.press("N")
        await until(pilot, lambda: isinstance(app.screen, NewRun) and app.screen.query(Input))
        await pilot.pause()
        monkeypatch.setattr(new_run, "load_config", count)
        channels = app.screen.query_one("#model-channels", Input)
        before = channels.value
        await pilot.press("pageup", "j")  # a key behind it: all that the first led to has been done
        await pilot.pause()
        assert channels.value != before
        assert len(read) == 3, "its values, all of them together, and the field that was typed into"

    drive(app, script)


def test_few_runs_leave_their_room_to_the_preview(app: Console) -> None:
    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await opened(app, pilot)
        table, preview = app.screen.query_one(RunTable), app.screen.query_one("#preview")
        await until(pilot, lambda: preview.size.height > 25, 5)
        assert table.size.height >= 1 + len(table.rows), "each run is seen"
        await pilot.resize_terminal(80, 14)
        await until(pilot, lambda: app.screen.size.height == 14 and table.size.height > 1, 5)

    drive(app, script)
