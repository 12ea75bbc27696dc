"""What the browser tells of a run before it is opened."""

import asyncio
import json
from pathlib import Path

import pytest
from driving import until
from textual.widgets import Input, Static

from pixeltui.ui.app import Console
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.dialogs import Prompt
from pixeltui.ui.widgets.run_table import RunTable

LONG = "a-name-that-is-as-long-as-those-that-a-script-makes-lr0."


def said(app: Console) -> str:
    line = app.screen.query_one("#preview #note", Static)
    return str(line.render()) if line.display else ""


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (
            {"type": "state", "t": 9e8, "step": 4, "state": "failed", "reason": "the disk \x1b[2Jis full"},
            "failed: the disk",
        ),
        (
            {"type": "state", "t": 9e8, "step": 4, "state": "training", "reason": ""},
            "crashed: its process ended at step",
        ),
        ("meta.json", "meta.json: No such file"),
        ("config.toml", "damaged: config.toml: No such file"),
        (("config.toml", "no = [ toml"), "damaged: config.toml: cannot be read as TOML"),
        ("events.jsonl", "damaged: events.jsonl: No such file"),
        (("events.jsonl", ""), "crashed: its process ended"),
        (("meta.json", '{"schema": 1, "created": "yesterday"}'), "damaged: meta.json has values that no run has"),
    ],
)
def test_a_run_that_ended_badly_says_why(runs_copy: Path, ending: dict | tuple | str, words: str) -> None:  # type: ignore[type-arg]
    run = runs_copy / "done"
    if isinstance(ending, str):
        (run / ending).unlink()
    elif isinstance(ending, tuple):
        (run / ending[0]).write_text(ending[1])
    else:
        with (run / "events.jsonl").open("a") as log:
            log.write(json.dumps(ending) + "\n")

    async def go() -> None:
        app = Console(runs_copy)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            await until(pilot, lambda: words in said(app), 20)
            assert "\x1b" not in said(app)

    asyncio.run(go())


def test_a_long_reason_ends_in_an_ellipsis_and_has_the_colour_of_the_theme(runs_copy: Path) -> None:
    ending = {"type": "state", "t": 9e8, "step": 4, "state": "failed"}
    log = runs_copy / "done" / "events.jsonl"
    past = log.read_text()

    async def go(reason: str) -> None:
        log.write_text(past + json.dumps({**ending, "reason": reason}) + "\n")
        app = Console(runs_copy)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and "failed:" in said(app), 20)
            line = app.screen.query_one("#preview #note", Static)
            await until(pilot, lambda: line.size.height > 1)
            if len(reason) > 500:
                assert line.size.height == 5
                await until(pilot, lambda: said(app).endswith("…"))
            else:
                assert str(runs_copy / "done" / "log.txt") in said(app).replace("\n", ""), "where more is told"
            first = next(iter(line.render_line(0)))
            await pilot.press("T")
            await until(pilot, lambda: next(iter(line.render_line(0))).style.color != first.style.color)

    for reason in ("word " * 20, "word " * 200):
        asyncio.run(go(reason))


def test_names_that_begin_alike_are_told_apart_and_tags_have_what_is_left(runs_copy: Path) -> None:
    (runs_copy / "done").rename(runs_copy / f"{LONG}1")
    (runs_copy / f"{LONG}2").mkdir()
    meta = json.loads((runs_copy / f"{LONG}1" / "meta.json").read_text())
    tags = [f"a-tag-{number}" for number in range(8)]
    (runs_copy / f"{LONG}1" / "meta.json").write_text(json.dumps({**meta, "tags": tags}))

    async def go() -> None:
        app = Console(runs_copy)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            table = app.screen.query_one(RunTable)
            text = "\n".join(table.render_line(y).text for y in range(table.size.height))
            assert "lr0.1 " in text
            assert "lr0.2 " in text
            await pilot.resize_terminal(250, 40)
            await until(pilot, lambda: " ".join(tags) in "".join(table.render_line(y).text for y in range(4)), 20)

    asyncio.run(go())


def test_a_tag_that_is_typed_comes_behind_those_that_are_there(runs_copy: Path) -> None:
    path = runs_copy / "done" / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tags": ["one"]}))

    async def go() -> None:
        app = Console(runs_copy)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            await pilot.press("number_sign")
            await until(pilot, lambda: isinstance(app.screen, Prompt) and app.screen.query_one(Input).has_focus)
            await pilot.press(*"two", "enter")
            await until(pilot, lambda: json.loads(path.read_text())["tags"] == ["one", "two"], 20)

    asyncio.run(go())


@pytest.mark.parametrize(("count", "heights"), [(3, (31, 15, 61)), (100, (16, 10, 24))])
def test_few_runs_leave_their_room_to_the_preview(tmp_path: Path, count: int, heights: tuple[int, ...]) -> None:
    for number in range(count):
        (tmp_path / f"run-{number}").mkdir()

    async def go() -> None:
        app = Console(tmp_path)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            for size, height in zip(((120, 40), (80, 24), (120, 70)), heights, strict=True):
                await pilot.resize_terminal(*size)
                await until(pilot, lambda h=height: app.screen.query_one("#preview").outer_size.height == h, 20)
                assert app.screen.query_one(RunTable).outer_size.height == size[1] - 2 - height

    asyncio.run(go())
