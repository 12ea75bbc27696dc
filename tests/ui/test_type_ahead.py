"""Several keys in one read, as a slow line delivers them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from driving import names, until
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input

from pixeltui.ui import type_ahead
from pixeltui.ui.app import Console
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.dialogs import Help
from pixeltui.ui.screens.new_run import NewRun
from pixeltui.ui.widgets.run_table import RunTable


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[Callable[[Console, Pilot], Coroutine[None, None, None]]], None]:  # type: ignore[type-arg]
    """Runs a script on a browser of four directories, whose names are all that it knows of them."""
    for name in ("bad-1", "bad-2", "good-1", "good-2"):
        (tmp_path / name).mkdir()

    def drive(script: Callable[[Console, Pilot], Coroutine[None, None, None]]) -> None:  # type: ignore[type-arg]
        async def go() -> None:
            app = Console(tmp_path)
            async with app.run_test(size=(100, 30)) as pilot:
                await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and names(app))
                await script(app, pilot)

        asyncio.run(go())

    return drive


def type_at_once(app: Console, keys: str) -> None:
    named = {"/": "slash", "\r": "enter", "\x1b": "escape", "?": "question_mark"}
    for key in keys:
        app.post_message(Key(named.get(key, key), key))


def test_words_behind_the_slash_are_the_filter_and_no_keys(browse) -> None:  # type: ignore[no-untyped-def]
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        type_at_once(app, "/good\rj")
        await until(pilot, lambda: len(names(app)) == 2 and app.screen.query_one(RunTable).cursor_row == 1, 20)
        assert app.is_running, "d is a letter here"
        assert app.screen.query_one("#filter", Input).value == "good"

    browse(script)


def test_the_letter_behind_o_is_a_column(browse) -> None:  # type: ignore[no-untyped-def]
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        type_at_once(app, "oN")
        await until(pilot, lambda: names(app)[0] == "good-2")
        assert isinstance(app.screen, BrowserScreen)

    browse(script)


def test_keys_reach_the_screen_that_a_key_opened(browse) -> None:  # type: ignore[no-untyped-def]
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        type_at_once(app, "Nabc")
        app.post_message(Paste("-def"))
        await until(pilot, lambda: isinstance(app.screen, NewRun) and typed(app.screen).endswith("abc-def"))
        type_at_once(app, "\x1b??\x1b?")
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen | Help))
        await until(pilot, lambda: isinstance(app.screen, Help))

    browse(script)


def typed(screen: NewRun) -> str:
    return screen.focused.value if isinstance(screen.focused, Input) else ""


def test_keys_behind_one_that_closes_a_dialog_are_not_given_up_on_first(browse, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(type_ahead, "STUCK_SECONDS", float("inf"))

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        type_at_once(app, "??j")
        await until(pilot, lambda: app.screen.query(RunTable) and app.screen.query_one(RunTable).cursor_row == 1)
        app.post_message(Key("N", "N"))
        await until(pilot, lambda: isinstance(app.screen, NewRun))
        app.post_message(Key("escape", "\x1b"))
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen))
        type_at_once(app, "j")
        await until(pilot, lambda: app.screen.query_one(RunTable).cursor_row == 2)

    browse(script)


def test_a_key_whose_widget_goes_with_it_holds_no_other_back(browse) -> None:  # type: ignore[no-untyped-def]
    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        app.post_message(Key("N", "N"))
        await until(pilot, lambda: isinstance(app.screen, NewRun) and app.screen.focused)
        await app.screen.focused.remove()  # type: ignore[union-attr]
        type_at_once(app, "\x1b/good")
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and len(names(app)) == 2, seconds=10)

    browse(script)


def browse_while_it_reads(tmp_path: Path, read: Callable[[], None], script: Callable[[Console, Pilot], Any]) -> None:  # type: ignore[type-arg]
    for name in ("bad-1", "bad-2", "good-1", "good-2"):
        (tmp_path / name).mkdir()

    async def go() -> None:
        app = Console(tmp_path, first_listing=read)
        async with app.run_test(size=(100, 30)) as pilot:
            await script(app, pilot)

    asyncio.run(go())


def test_keys_wait_for_the_runs_that_they_are_about(tmp_path: Path) -> None:
    read = threading.Event()

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen))
        type_at_once(app, "jj")
        await pilot.pause(0.1)
        read.set()
        await until(pilot, lambda: names(app) and app.screen.query_one(RunTable).cursor_row == 2, 20)

    browse_while_it_reads(tmp_path, lambda: read.wait(60) and None, script)


def test_a_key_does_not_wait_for_ever_for_runs(tmp_path: Path) -> None:
    read = threading.Event()

    async def script(app: Console, pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: isinstance(app.screen, BrowserScreen))
        type_at_once(app, "?")
        await until(pilot, lambda: isinstance(app.screen, Help), 20)
        read.set()

    browse_while_it_reads(tmp_path, lambda: read.wait(60) and None, script)
