"""Scripts of keys against the console, and what they wait for."""

import asyncio
import time
from collections.abc import Callable, Coroutine

from textual.pilot import Pilot

from pixeltui.events import Stop
from pixeltui.ui.app import Console
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.widgets.run_table import RunTable

ENDLESS = ("train.steps=1000000", "train.eval_every=0", "train.checkpoint_every=0")


async def until(pilot: Pilot, met: Callable[[], object], seconds: float = 90.0) -> None:  # type: ignore[type-arg]
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "it never came"
        await pilot.pause(0.05)


def drive(app: Console, script: Callable[[Pilot], Coroutine[None, None, None]], size=(120, 40)) -> None:  # type: ignore[no-untyped-def,type-arg]
    """Runs the script against the app; training in this process has ended when this returns."""

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await script(pilot)

    try:
        asyncio.run(go())
    finally:
        session = app.training_session
        if session is not None and session.alive:
            session.send(Stop())
            session.join(30)


def screen_of(app: Console) -> TrainingScreen:
    assert isinstance(app.screen, TrainingScreen)
    return app.screen


def names(app: Console) -> list[str]:
    """Of the runs that the browser lists, in its order."""
    assert isinstance(app.screen, BrowserScreen)
    return [run.name for run in app.screen.query_one(RunTable).rows]
