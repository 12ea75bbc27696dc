"""What a thread has found, shown while its widget is there."""

import asyncio
import threading
from pathlib import Path

import pytest
from driving import names, until
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from pixeltui.store.summary import RunSummary
from pixeltui.ui.app import Console
from pixeltui.ui.hand_over import hand_over
from pixeltui.ui.run_list import RunList
from pixeltui.ui.screens import browser
from pixeltui.ui.screens.browser import BrowserScreen


class Child(Static):
    async def on_unmount(self) -> None:
        await asyncio.sleep(0.3)  # its parent's workers are cancelled behind that


class Reader(Vertical):
    def __init__(self) -> None:
        super().__init__(Child("nothing yet"))
        self.go_on = threading.Event()
        self.shown: list[str] = []

    def read(self) -> None:
        self.run_worker(self._read, thread=True)

    def _read(self) -> None:
        self.go_on.wait(10)
        hand_over(self, self.shown.append, "found")


class Readers(App[None]):
    def compose(self) -> ComposeResult:
        yield Reader()


@pytest.mark.parametrize("goes", [False, True])
def test_what_was_found_is_shown_by_a_widget_that_stays(goes: bool) -> None:
    async def go() -> list[str]:
        app = Readers()
        async with app.run_test() as pilot:
            reader = app.query_one(Reader)
            reader.read()
            await pilot.pause()
            if goes:
                reader.remove()  # begun: that takes turns of the loop
            reader.go_on.set()
            while any(not worker.is_finished for worker in app.workers):
                await asyncio.sleep(0.01)
            return reader.shown

    assert asyncio.run(go()) == ([] if goes else ["found"])


def test_a_reading_that_takes_longer_than_the_time_between_two_is_shown(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "one").mkdir()
    looks: list[BrowserScreen] = []
    over = threading.Event()
    look, reload = BrowserScreen._reload_if_seen, RunList.reload

    def slow(self: RunList) -> list[RunSummary]:
        before = len(looks)
        while len(looks) < before + 2 and not over.wait(0.005):
            pass
        return reload(self)

    def count(self: BrowserScreen) -> None:
        looks.append(self)
        look(self)

    monkeypatch.setattr(browser, "RELOAD_SECONDS", 0.05)
    monkeypatch.setattr(RunList, "reload", slow)
    monkeypatch.setattr(BrowserScreen, "_reload_if_seen", count)

    async def go() -> None:
        app = Console(tmp_path)
        async with app.run_test() as pilot:
            try:
                await until(pilot, lambda: isinstance(app.screen, BrowserScreen) and names(app) == ["one"], seconds=10)
                (tmp_path / "two").mkdir()
                await until(pilot, lambda: len(names(app)) == 2, seconds=10)
            finally:
                over.set()  # the app waits for its threads

    asyncio.run(go())
