"""The sampling screen opened on a real tiny run, and what it has drawn there."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

from driving import until
from textual.pilot import Pilot

from pixeltui.session.wishes import Rows
from pixeltui.ui.app import Console
from pixeltui.ui.screens.browser import BrowserScreen, RunTable
from pixeltui.ui.screens.sampling import SamplingScreen

Script = Callable[[Pilot, SamplingScreen], Coroutine[None, None, None]]  # type: ignore[type-arg]


def on_screen(runs: Path, script: Script, size: tuple[int, int] = (110, 36)) -> Console:
    """Opens the screen on the run "done" from the browser."""
    app = Console(runs)

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and app.screen.query_one(RunTable).rows)
            await pilot.press("t")
            await until(pilot, lambda: isinstance(app.screen, SamplingScreen))
            assert isinstance(app.screen, SamplingScreen)
            await script(pilot, app.screen)

    asyncio.run(go())
    assert app.studio.pid is None, "the process has ended with the console"
    return app


def drawn(screen: SamplingScreen, mode: str = "draw") -> bool:
    """Whether a drawing is there, and whole."""
    easel = screen.easels[mode]  # type: ignore[index]
    return easel.rows is not None and easel.rows.done and easel.rows.id == screen.newest.get(mode)


def pixels(screen: SamplingScreen, mode: str = "draw") -> bytes:
    rows = screen.easels[mode].rows  # type: ignore[index]
    assert rows is not None
    return rows.pixels


async def stopped_drawing(pilot: Pilot, screen: SamplingScreen) -> Rows:  # type: ignore[type-arg]
    """Rows of images that were stopped: the process is halted while it draws, so that the stop comes in time."""
    await until(pilot, lambda: drawn(screen))
    pid = screen.app.studio.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await pilot.press("n", "full_stop")
    await pilot.pause(0.2)
    os.kill(pid, signal.SIGCONT)
    await until(pilot, lambda: drawn(screen))
    rows = screen.easels["draw"].rows
    assert rows is not None
    return rows
