"""The line at the top: what one looks at has the room that the remark leaves, or all of it."""

import asyncio

import pytest
from textual.app import App, ComposeResult

from pixeltui.ui.screens.bars import TitleBar

TITLE = "a-run-with-a-name-of-39-cells-all-of-it"


@pytest.mark.parametrize(
    ("title", "remark", "shown"),
    [
        (TITLE, "", TITLE),
        (TITLE, "over", f"{TITLE} over"),
        (TITLE, "trains elsewhere", "a-run-with-a-name-of-39-cells-… trains elsewhere"),
        (TITLE, "a remark that has no room beside any title", TITLE),
        ("short", "a remark that has no room elsewhere", "short a remark that has no room elsewhere"),
    ],
)
def test_title_and_remark(title: str, remark: str, shown: str) -> None:
    class Bench(App[None]):
        def compose(self) -> ComposeResult:
            yield TitleBar()

    async def run() -> None:
        app = Bench()
        async with app.run_test(size=(62, 5)):
            bar = app.query_one(TitleBar)
            bar.show(title, remark)
            line = bar.render_line(0)
            assert line.cell_length == 62
            assert " ".join(line.text.partition("pixeltui")[2].split()) == shown

    asyncio.run(run())
