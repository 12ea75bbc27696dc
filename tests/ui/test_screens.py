"""A few whole screens, cell by cell. After a change that is meant:

    PIXELTUI_GOLDEN=write pytest tests/ui/test_screens.py

Then look at what changed (git diff tests/ui/golden): rows of text, rows of style letters, the styles.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import textual
from driving import until
from screens import FOLDER, NOW, make_run, screen_text
from textual.pilot import Pilot

from pixeltui.config import Ui
from pixeltui.store import summary
from pixeltui.ui.app import Console
from pixeltui.ui.screens.compare import CompareScreen
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.training import TrainingScreen


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three runs, in a folder whose name is short, at a time that stands still."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(summary.time, "time", lambda: NOW)
    runs = Path("runs")
    runs.mkdir()
    make_run(runs, "first", steps=160, rate=0.02, ago=90_000, state="stopped", tags=["old"])
    make_run(runs, "slower", steps=400, rate=0.01, ago=7_200, state="finished", note="half the rate: [no] better")
    make_run(runs, "best-so-far", steps=400, rate=0.03, ago=60, state="finished", tags=["keep", "paper"])
    yield runs
    monkeypatch.undo()
    time.tzset()


def pictures(app: Console) -> bool:
    return all(pane.gallery.pictures for pane in app.screen.query(SamplesPane))


def curves(app: Console) -> bool:
    return any(len(series) for series in app.screen.query_one(CurvesPane).main.series)


def ready(app: Console) -> bool:
    return pictures(app) and curves(app)


SCREENS: dict[str, tuple[tuple[int, int], str, list[str], Callable[[Console], bool]]] = {
    "runs-dark": ((80, 24), "dark", ["j"], lambda app: bool(app.screen.query_one("#note").display)),
    "runs-light": ((160, 40), "light", ["space"], lambda app: True),
    "training": ((80, 24), "dark", ["enter"], lambda app: isinstance(app.screen, TrainingScreen)),
    "compare": ((100, 32), "dark", ["a", "v"], lambda app: isinstance(app.screen, CompareScreen)),
}


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs a time zone of its own")
def test_the_screen_is_as_it_was(name: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    size, theme, keys, there = SCREENS[name]
    found = ""

    async def go() -> None:
        nonlocal found
        app = Console(runs, ui=Ui(theme=theme))  # type: ignore[arg-type]
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: bool(app.screen.query("#runs")) and ready(app))
            await pilot.press(*keys)
            await until(pilot, lambda: there(app) and ready(app))
            found = await settled(pilot)

    asyncio.run(go())
    path = FOLDER / f"{name}.txt"
    if os.environ.get("PIXELTUI_GOLDEN") == "write":
        path.write_text(found)
    expected = path.read_text()
    if expected.split("\n")[0] != f"textual {textual.__version__}":
        pytest.skip(f"recorded with {expected.split(chr(10))[0]}")
    rows = [(old, new) for old, new in zip(expected.split("\n"), found.split("\n"), strict=False) if old != new]
    assert found == expected, "\n".join(f"- {old}\n+ {new}" for old, new in rows[:8])


async def settled(pilot: Pilot) -> str:  # type: ignore[type-arg]
    """The screen once nothing of it has changed for a while."""
    texts = [screen_text(pilot.app)]
    for _ in range(200):
        await pilot.pause(0.1)
        texts.append(screen_text(pilot.app))
        if len(set(texts[-6:])) == 1 and len(texts) > 6:
            break
    return texts[-1]
