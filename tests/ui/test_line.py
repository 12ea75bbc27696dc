"""Lines that are typed: as much of a long one as there is room for, and nothing that steers a terminal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from driving import drive, until
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from pixeltui.ui.app import Console
from pixeltui.ui.screens.dialogs import Ask, Choice, Prompt
from pixeltui.ui.screens.new_run import NewRun
from pixeltui.ui.screens.sampling import SamplingScreen
from pixeltui.ui.widgets.run_table import RunTable

HOSTILE = "tag\x1b[2J\x1b]0;mine\x07\u202e"
LONG = "a-name-that-is-long-" * 5 + "with-its-end"


def seen(app: App) -> str:  # type: ignore[type-arg]
    """The screen as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def ask(app: Console, pilot: Pilot, key: str, there: Callable[[Screen[object]], object]) -> None:  # type: ignore[type-arg]
    """Back to the browser with its runs, then what this key opens."""
    await until(pilot, lambda: app.screen.query(RunTable) and app.screen.query_one(RunTable).rows)
    await pilot.press(key)
    await until(pilot, lambda: there(app.screen) and app.screen.query(Input))
    await pilot.pause()


def test_the_end_of_a_long_line_is_in_view(runs_copy: Path) -> None:
    app = Console(runs_copy)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await ask(app, pilot, "r", lambda screen: isinstance(screen, Prompt))
        app.screen.query_one(Input).value = ""
        await pilot.press(*LONG)
        await pilot.pause()
        assert LONG[-40:] in seen(app)
        await pilot.press("home")
        await pilot.pause()
        assert LONG[:40] in seen(app)
        await pilot.press("escape")
        await ask(app, pilot, "N", lambda screen: isinstance(screen, NewRun))
        app.screen.query_one("#name", Input).focus()
        await pilot.press(*LONG)
        await pilot.pause()
        assert LONG[-30:] in seen(app)

    drive(app, script, (80, 24))


def test_a_run_with_a_long_name_is_seen_in_the_fields(runs_copy: Path) -> None:
    (runs_copy / "done").rename(runs_copy / LONG)
    app = Console(runs_copy)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await ask(app, pilot, "t", lambda screen: isinstance(screen, SamplingScreen))
        line = app.screen.query_one("#run", Input)
        await until(pilot, lambda: line.value == LONG)
        await pilot.press("slash", *["up"] * 4)
        assert app.focused is line
        await pilot.press("end")
        await pilot.pause()
        assert LONG[-10:] in seen(app)

    drive(app, script, (80, 24))


def test_what_lines_begin_with_cannot_steer_the_terminal(runs_copy: Path) -> None:
    run = runs_copy / f"run{HOSTILE}"
    shutil.move(runs_copy / "done", run)
    meta = json.loads((run / "meta.json").read_text())
    meta = {**meta, "tags": [HOSTILE], "note": HOSTILE, "data": {**meta["data"], "classes": ["0", HOSTILE, "2"]}}
    (run / "meta.json").write_text(json.dumps(meta))
    app = Console(runs_copy)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        for key in ("number_sign", "e", "r", "E"):
            await ask(app, pilot, key, lambda screen: isinstance(screen, Prompt))
            assert HOSTILE in app.screen.query_one(Input).value, "as it is"
            assert not set(seen(app)) & set("\x1b\x07\u202e"), key
            await pilot.press("escape")
        await ask(app, pilot, "t", lambda screen: isinstance(screen, SamplingScreen))
        classes = app.screen.query_one("#classes", Input)
        classes.focus()
        await pilot.press("pagedown", "pagedown")
        assert classes.value == HOSTILE
        await pilot.pause()
        assert seen(app).count("mine??") >= 2
        assert not set(seen(app)) & set("\x1b\x07\u202e")

    drive(app, script, (120, 40))


def test_an_answer_that_names_a_run_cannot_either(tmp_path: Path) -> None:
    app = Console(tmp_path)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        app.push_screen(Ask(HOSTILE, HOSTILE, [Choice("y", HOSTILE, "")]))
        await until(pilot, lambda: isinstance(app.screen, Ask) and "mine" in seen(app))
        assert not set(seen(app)) & set("\x1b\x07\u202e")

    drive(app, script)


def test_the_cursor_is_where_it_is_seen(runs_copy: Path) -> None:
    app = Console(runs_copy)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await ask(app, pilot, "e", lambda screen: isinstance(screen, Prompt))
        line = app.screen.query_one(Input)
        line.value = "\x1b\x1b\x1b日"
        line.cursor_position = 4
        assert line.cursor_screen_offset.x - line.content_region.x == 3 + 2 + 1
        assert line.content_width == 3 + 2 + 1

    drive(app, script)
