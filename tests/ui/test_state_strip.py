"""What the strip leaves out, and that its values stand still."""

import asyncio

import pytest
from textual.app import App, ComposeResult

from pixeltui.ui.widgets.state_strip import Item, StateStrip, arrange, item_width

ITEMS = [
    Item("state", "", "training", 0, 10, "good"),
    Item("epoch", "epoch", "12.4", 3),
    Item("step", "step", "9,999", 1),
    Item("left", "left", "1h20", 2),
    Item("gpu", "gpu", "87 %", 9),
]


def keys(rows: list[list[Item]]) -> list[list[str]]:
    return [[item.key for item in row] for row in rows]


def test_the_least_important_go_first() -> None:
    assert keys(arrange(ITEMS, {}, 80, 1)) == [["state", "epoch", "step", "left", "gpu"]]
    assert keys(arrange(ITEMS, {}, 45, 1)) == [["state", "step", "left"]]
    assert keys(arrange(ITEMS, {}, 20, 1)) == [["state"]]
    assert keys(arrange(ITEMS, {}, 33, 2)) == [["state", "epoch"], ["step", "left", "gpu"]]
    assert arrange([], {}, 80, 1) == []


@pytest.mark.parametrize("width", range(10, 90, 7))
def test_lines_never_overflow(width: int) -> None:
    for lines in (1, 2):
        rows = arrange(ITEMS, {}, width, lines)
        assert len(rows) <= lines
        for row in rows:
            assert sum(item_width(item, {}) for item in row) + 3 * (len(row) - 1) <= width


def test_values_do_not_move_their_neighbours() -> None:
    class Bench(App[None]):
        def compose(self) -> ComposeResult:
            yield StateStrip(ITEMS)

    async def run() -> None:
        app = Bench()
        async with app.run_test(size=(80, 5)) as pilot:
            await pilot.pause()
            strip = app.query_one(StateStrip)
            lines = []
            for step in ("10,000", "10,001", "9"):
                strip.set_items([Item(i.key, i.label, step, i.priority) if i.key == "step" else i for i in ITEMS])
                lines.append(strip.render_line(0).text)
            assert {len(line) for line in lines} == {80}
            assert {line.index("left") for line in lines} == {lines[0].index("left")}
            assert "step      9" in lines[2]
            await pilot.resize_terminal(40, 5)
            await pilot.pause()
            assert "gpu" not in strip.render_line(0).text
            assert strip.render_line(0).cell_length == 40

    asyncio.run(run())
