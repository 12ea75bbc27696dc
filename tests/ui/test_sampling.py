"""The sampling screen on a real tiny run, steered by keys; the images come from a process of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from driving import ENDLESS, drive, until
from easels import drawn, on_screen, pixels, stopped_drawing
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import Input, Static
from tiny import TINY

from pixeltui.session.worker import TrainRequest
from pixeltui.store.files import Lock
from pixeltui.ui.app import Console
from pixeltui.ui.screens.sampling import SamplingScreen
from pixeltui.ui.screens.training import TrainingScreen


def test_images_appear_and_are_kept_with_what_produced_them(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        assert len(screen.gallery.pictures) == 4, "places, before torch is there"
        await until(pilot, lambda: drawn(screen))
        assert len(screen.gallery.pictures) == 4
        assert [picture.label for picture in screen.gallery.pictures] == ["0", "1", "2", "0"]
        first = pixels(screen)
        await pilot.press("n")
        await until(pilot, lambda: drawn(screen))
        assert pixels(screen) == first, "the same seed"
        await pilot.press("N")
        await until(pilot, lambda: drawn(screen))
        assert pixels(screen) != first
        assert screen.query_one("#seed", Input).value == "1"
        await pilot.press("w")
        await until(pilot, lambda: screen.kept)
        path = Path(screen.kept)
        assert f"samples/{path.name}" in [one.message for one in screen.app._notifications]
        settings = json.loads(path.with_suffix(".json").read_text())
        assert path.parent == runs_copy.resolve() / "done" / "samples"
        assert (settings["run"], settings["seed"], settings["count"]) == ("done", 1, 4)
        assert settings["labels"] == [0, 1, 2, 0]
        with Image.open(path) as sheet:
            assert sheet.width > 4 * 5
        await pilot.press("3")
        await until(pilot, lambda: len(screen.gallery.pictures) == 4)
        assert screen.earlier.path == path, "the newest"
        shown = b"".join(picture.rgb[::3] for picture in screen.gallery.pictures)
        assert shown == bytes(value * 85 for value in pixels(screen))
        await pilot.press("h")
        await until(pilot, lambda: screen.earlier.path != path)
        assert screen.gallery.pictures, "a sheet that was drawn while training"
        await pilot.press("v")
        await until(pilot, lambda: drawn(screen) and screen.easels["draw"].columns)
        rows = screen.easels["draw"].rows
        assert rows is not None
        assert rows.shape[0] == 12, "four temperatures, three classes"
        assert screen.gallery.row_names == ["T0.7", "T0.8", "T0.9", "T1"]
        assert [picture.label for picture in screen.gallery.pictures][3:5] == ["T0.8 0", "T0.8 1"]
        await pilot.press("w")
        await until(pilot, lambda: screen.kept and Path(screen.kept) != path)
        await pilot.press("3")
        await until(pilot, lambda: screen.mode == "earlier" and len(screen.gallery.pictures) == 12)
        assert screen.gallery.row_names == ["T0.7", "T0.8", "T0.9", "T1"], "of what was kept too"

    on_screen(runs_copy, script)


def test_from_the_bits_of_an_image_one_comes_back_to_it(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        screen.gallery.move_to(2)
        await pilot.press("enter")
        await until(pilot, lambda: screen.heat is not None and "bits/dim" in screen.gallery.pictures[1].label)
        assert screen.gallery.index == 0, "the frame is around the image, not its bits"
        await pilot.press("right")
        await until(pilot, lambda: screen.heat is not None and screen.heat.index == 3)
        await pilot.press("escape")
        await until(pilot, lambda: len(screen.gallery.pictures) == 4)
        assert screen.gallery.index == 3

    on_screen(runs_copy, script)


def test_where_nothing_was_kept_it_says_so(runs_copy: Path) -> None:
    shutil.rmtree(runs_copy / "done" / "samples")

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        await pilot.press("2", "3")
        assert [line.parts for line in screen.gallery.children if hasattr(line, "parts")] == [("nothing kept yet",)]

    on_screen(runs_copy, script)


def test_a_drawing_is_that_of_the_command(runs_copy: Path, tmp_path: Path) -> None:
    from pixeltui.cli import main

    out = tmp_path / "a.npz"
    options = ["--seed", "7", "-n", "3", "--label", "2", "--temperature", "0.6", "--checkpoint", "last"]
    assert main(["--runs-dir", str(runs_copy), "sample", "done", *options, "--out", str(out)]) == 0

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await pilot.press("slash")
        fields = {"seed": "7", "count": "3", "classes": "2", "temperature": "0.6", "checkpoint": "last"}
        for name, text in fields.items():
            screen.query_one(f"#{name}", Input).value = text
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: drawn(screen) and screen.easels["draw"].rows.shape[0] == 3)  # type: ignore[union-attr]
        with np.load(out) as arrays:
            assert pixels(screen) == arrays["images"].tobytes()

    on_screen(runs_copy, script)


def test_fields_are_checked_as_one_types(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        newest = dict(screen.newest)
        wrong = {
            "run": "don",
            "checkpoint": "bets",
            "weights": "emma",
            "classes": "1,7",
            "temperature": "0",
            "top_p": "1.5",
            "guidance": "-1",
            "seed": "x",
            "count": "0",
        }
        for name, text in wrong.items():
            line = screen.query_one(f"#{name}", Input)
            good, line.value = line.value, text
            await until(pilot, lambda line=line: line.has_class("wrong"))
            assert screen.draft.first_problem
            line.focus()
            await pilot.press("enter")
            line.value = good
            await until(pilot, lambda line=line: not line.has_class("wrong"))
        assert screen.newest == newest, "nothing was drawn"
        line = screen.query_one("#checkpoint", Input)
        line.focus()
        await pilot.press("pagedown")
        await until(pilot, lambda: screen.draft.values["checkpoint"] == "last")
        await pilot.press("down", "down")
        assert screen.focused is screen.query_one("#classes", Input)
        await pilot.press("escape")
        assert screen.focused is screen.gallery

    on_screen(runs_copy, script)


def test_of_two_wrong_fields_the_one_that_is_typed_into_is_named_and_once(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        def told() -> str:
            return " ".join(str(screen.query_one(f"#{name}", Static).render()) for name in ("problem", "about"))

        for name in ("checkpoint", "temperature"):
            screen.query_one(f"#{name}", Input).value = "xyz"
        await until(pilot, lambda: told().count("checkpoint: no checkpoint 'xyz'") == 1)
        screen.query_one("#temperature", Input).focus()
        await until(pilot, lambda: "temperature: expected a number" in told())
        screen.query_one("#checkpoint", Input).focus()
        await until(pilot, lambda: "checkpoint: no checkpoint 'xyz'" in told())
        await pilot.press("enter")
        await pilot.pause()
        assert told().count("checkpoint: no checkpoint 'xyz'") == 1

    on_screen(runs_copy, script)


def test_the_process_may_die_and_is_started_again(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        before, pid = pixels(screen), screen.app.studio.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(pilot, lambda: "signal 9" in screen._said)
        await pilot.press("n")
        await until(pilot, lambda: drawn(screen))
        assert screen.app.studio.pid not in (None, pid)
        assert pixels(screen) == before

    on_screen(runs_copy, script)


def test_a_run_that_trains_elsewhere_comes_first(runs_copy: Path) -> None:
    with Lock.acquire(runs_copy / "done"):

        async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
            await until(pilot, lambda: drawn(screen), 120)
            pid = screen.app.studio.pid
            assert pid is not None
            await until(pilot, lambda: os.getpriority(os.PRIO_PROCESS, pid) >= 10)
            await pilot.press("n")
            await until(pilot, lambda: drawn(screen), 120)

        on_screen(runs_copy, script)


def test_stopping_leaves_the_rows_that_are_there(runs_copy: Path) -> None:

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        rows = await stopped_drawing(pilot, screen)
        assert rows.rows < rows.shape[2]
        assert "stopped" in screen._said
        await pilot.press("w")
        await until(pilot, lambda: screen.kept)
        assert json.loads(Path(screen.kept).with_suffix(".json").read_text())["rows"] == rows.rows

    on_screen(runs_copy, script)


def test_a_run_without_a_checkpoint_says_what_to_do(runs_copy: Path) -> None:
    for path in (runs_copy / "done" / "checkpoints").iterdir():
        path.unlink()

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: "no checkpoint yet" in screen._said)

    on_screen(runs_copy, script)


def test_a_run_without_a_config_is_drawn_as_its_checkpoints_say(runs_copy: Path) -> None:
    (runs_copy / "done" / "config.toml").unlink()

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        assert screen.query_one("#count", Input).value == "4"

    on_screen(runs_copy, script)


def test_why_a_run_cannot_be_used_stays_to_be_read(runs_copy: Path) -> None:
    """And no key fails for want of its settings; another run can be chosen."""
    shutil.copytree(runs_copy / "done", runs_copy / "fine")
    (runs_copy / "done" / "config.toml").write_text("[train\n")
    for path in (runs_copy / "done" / "checkpoints").iterdir():
        path.write_bytes(b"none")

    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: "run done is damaged" in screen._said)
        await pilot.pause(0.3)
        assert "config.toml" in screen._said
        assert not screen.newest, "nothing was asked for"
        await pilot.press("N", "left_square_bracket", "2", "s", "b", "right", "down", "3", "1", "enter", "v")
        screen.query_one("#run", Input).value = "fine"
        await until(pilot, lambda: screen.query_one("#count", Input).value == "4")
        await pilot.press("n")
        await until(pilot, lambda: drawn(screen))

    # the browser's cursor is on "done": both are as old, and the names decide
    on_screen(runs_copy, script)


def test_it_fits_small_and_large_windows(runs_copy: Path) -> None:
    async def script(pilot: Pilot, screen: SamplingScreen) -> None:  # type: ignore[type-arg]
        await until(pilot, lambda: drawn(screen))
        for size in ((80, 24), (250, 70)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            assert screen.query_one("#count").region.bottom < size[1]
            assert screen.gallery.pages == 1
            await pilot.press("z")
            await until(pilot, lambda size=size: screen.gallery.size.width == size[0] - 2)
            await pilot.press("escape")

    on_screen(runs_copy, script, size=(80, 24))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_the_process_ends_when_its_console_is_killed(runs_copy: Path, tmp_path: Path) -> None:
    """No wish ends it then, only the end of its pipe."""
    code = (
        "import time\nfrom pixeltui.session.studio import Studio\nfrom pixeltui.session.wishes import Draw, Model\n"
        f"s = Studio(); s.ask(Draw(id=0, model=Model(run={str(runs_copy / 'done')!r}), count=2))\n"
        "while not s.warm: s.poll(); time.sleep(0.01)\nprint(s.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_drawing_beside_a_training_in_this_process(tiny_npz: Path, tmp_path: Path) -> None:
    """From the training screen, on the run's last checkpoint, behind training."""
    settings = (f"data.name={tiny_npz}", *TINY, *ENDLESS)
    app = Console(
        tmp_path,
        request=TrainRequest(runs_dir=tmp_path, preset="quick", overrides=settings, name="one", command="pixeltui"),
    )

    async def script(pilot: Pilot) -> None:  # type: ignore[type-arg]
        training = app.screen
        assert isinstance(training, TrainingScreen)
        await until(pilot, lambda: training.watched.view.step > 1)
        await pilot.press("w")
        await until(pilot, lambda: training.watched.view.checkpoints)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, SamplingScreen))
        screen = app.screen
        assert isinstance(screen, SamplingScreen)
        await until(pilot, lambda: drawn(screen), 60)
        pid = app.studio.pid
        assert pid is not None
        await until(pilot, lambda: os.getpriority(os.PRIO_PROCESS, pid) >= 10)
        before = training.watched.view.step
        await pilot.press("escape")
        assert app.screen is training
        await until(pilot, lambda: training.watched.view.step > before)

    drive(app, script)
