"""A screen's first layout is that of the terminal's size: nothing is shown that is taken away a moment later."""

from pathlib import Path

import pytest
from driving import drive, until
from textual import events
from textual.pilot import Pilot

from pixeltui.session.attach import AttachedSession
from pixeltui.store.rundir import find_run
from pixeltui.ui.app import Console
from pixeltui.ui.screens.browser import BrowserScreen, RunTable
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.widgets.chart import Chart


@pytest.mark.parametrize("from_browser", [False, True])
@pytest.mark.parametrize(("size", "charts"), [((80, 24), {"main"}), ((120, 40), {"main", "lr", "grad", "speed"})])
def test_small_charts_are_shown_where_there_is_room_and_nowhere_else(
    runs_copy: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], charts: set[str], from_browser: bool
) -> None:
    shown: set[str] = set()

    def on_show(chart: Chart, event: events.Show) -> None:
        if isinstance(chart.screen, TrainingScreen):
            shown.add(str(chart.id))

    monkeypatch.setattr(Chart, "on_show", on_show, raising=False)
    session = None if from_browser else AttachedSession(find_run(runs_copy, "done"))
    app = Console(runs_copy, session=session)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        if from_browser:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            await pilot.press("enter")
        await until(pilot, lambda: shown >= charts)
        await pilot.pause(0.2)

    drive(app, script, size)
    assert shown == charts
