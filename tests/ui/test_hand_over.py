"""What a thread has found, shown while its widget is there."""

import asyncio
import threading

import pytest
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from pixeltui.ui.hand_over import hand_over


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
