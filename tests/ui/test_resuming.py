"""R: going on with a run that is over, from the browser and from its own screen."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import drive, screen_of, until
from textual.pilot import Pilot

from pixeltui.session.attach import AttachedSession
from pixeltui.store.rundir import RunDir, find_run
from pixeltui.ui.app import Console
from pixeltui.ui.keys import BY_ID
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.widgets.run_table import RunTable


@pytest.fixture
def half(tiny_train: Callable[..., int], tmp_path: Path) -> Path:
    """A run that was stopped after two of four steps."""
    assert tiny_train("--name", "half", "--set", "train.steps=4", "--set", "train.checkpoint_every=2") == 0
    run = tmp_path / "runs" / "half"
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line).get("step", 0) <= 2]
    (run / "events.jsonl").write_text("".join(kept))
    for path in (run / "checkpoints").glob("*.safetensors"):
        if "00000002" not in path.name:
            path.unlink()
    return run


def listed(app: Console) -> list[str]:
    """States of the runs in the browser, where that is what is seen."""
    return [run.state for run in app.screen.query_one(RunTable).rows] if isinstance(app.screen, BrowserScreen) else []


def told(app: Console, words: str) -> bool:
    return any(words in notification.message for notification in app._notifications)


def test_a_stopped_run_is_resumed_to_its_end(half: Path) -> None:
    app = Console(half.parent)

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: listed(app))
        await pilot.press("R")
        await until(pilot, lambda: app.training is not None and app.training.state == "finished")
        await until(pilot, lambda: not app.trains)
        assert app.training is not None
        assert [step.step for step in app.training.view.steps] == [1, 2, 3, 4]
        app.show_runs()
        await until(pilot, lambda: listed(app) == ["finished"])
        await pilot.press("R")
        await until(pilot, lambda: told(app, f"train longer: pixeltui train --resume {half} --set"))
        assert told(app, "--set train.steps=MORE")

    drive(app, script)


def test_from_its_own_screen_which_makes_way_for_that_of_the_training(half: Path) -> None:
    app = Console(half.parent, session=AttachedSession(find_run(half.parent, "half")))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        before = screen_of(app)
        assert before.watched.state in ("stopped", "crashed")
        assert before.offers(BY_ID["resume-here"])
        await pilot.press("R")
        await until(pilot, lambda: app.training is not None and app.training.state == "finished")
        await until(pilot, lambda: not app.trains)
        assert [step.step for step in screen_of(app).watched.view.steps] == [1, 2, 3, 4]
        assert [screen for screen in app.screen_stack if isinstance(screen, TrainingScreen)] == [app.screen]
        await pilot.press("R")
        await until(pilot, lambda: told(app, "train longer: pixeltui train --resume"))

    drive(app, script)


def test_who_only_looks_on_resumes_nothing(half: Path) -> None:
    app = Console(half.parent, session=AttachedSession(find_run(half.parent, "half"), read_only=True))

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        assert not screen_of(app).offers(BY_ID["resume-here"])
        await pilot.press("R")
        await pilot.pause(0.3)
        assert app.training is None

    drive(app, script)


def test_a_finished_run_of_epochs_is_trained_longer_by_epochs(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    """Unless it was resumed with steps, which come first."""
    assert tiny_train("--name", "one", "--set", "train.epochs=1") == 0

    app = Console(tmp_path / "runs")

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: listed(app))
        await pilot.press("R")
        await until(pilot, lambda: told(app, "--set train.epochs=MORE"))
        RunDir(tmp_path / "runs" / "one").update_meta(overrides=["train.steps=4"])
        await pilot.press("R")
        await until(pilot, lambda: told(app, "--set train.steps=MORE"))

    drive(app, script)
