"""A remark in a pane's border costs its line, not the pane."""

import asyncio

from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Static

from pixeltui.ui.widgets.bordered import Bordered


class Pane(Bordered, Vertical):
    DEFAULT_CSS = "Pane { border: round red; height: 10; }"


class Bench(App[None]):
    def compose(self) -> ComposeResult:
        with Pane():
            yield Static("inside")


def test_only_the_line_of_the_remark_is_drawn_again() -> None:
    async def go() -> None:
        app = Bench()
        async with app.run_test(size=(40, 12)) as pilot:
            pane = app.query_one(Pane)
            seen: list[tuple[Region, ...]] = []
            plain = Widget.refresh

            def refresh(self: Widget, *regions: Region, **how: bool) -> Widget:
                seen.append(regions)
                return plain(self, *regions, **how)

            await pilot.pause()
            Widget.refresh = refresh  # type: ignore[method-assign,assignment]
            try:
                pane.set_remark("row 3 of [8]")
                pane.set_remark("row 3 of [8]")
            finally:
                Widget.refresh = plain  # type: ignore[method-assign]
            assert seen == [(Region(-1, 8, 40, 1),)], "once, the lowest line"
            await pilot.pause()
            lines = ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]
            assert "row 3 of [8]" in lines[9]
            assert "inside" in lines[1]

    asyncio.run(go())
