"""The whole console where people have it: in tmux, in few colours, in none, over a line where bytes count."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pixeltui.commands.pseudo_terminal import PseudoTerminal

SECONDS = 60.0


def start(runs: Path, environ: dict[str, str], *words: str, size: tuple[int, int] = (100, 30)) -> PseudoTerminal:
    program = [sys.executable, "-m", "pixeltui", "--runs-dir", str(runs), *words]
    kept = {name: value for name, value in os.environ.items() if name not in ("COLORTERM", "NO_COLOR")}
    return PseudoTerminal(program, {**kept, "TEXTUAL_ANIMATIONS": "none"} | environ, size=size)


@pytest.mark.parametrize(
    ("flag", "there", "never"),
    [
        ("truecolor", rb"\x1b\[[0-9;]*38;2;", rb"38;5;"),
        ("256", rb"\x1b\[[0-9;]*38;5;", rb"[34]8;2;"),
        ("none", rb"\x1b\[\?1049h", rb"\x1b\[[0-9;]*[34]8;|\x1b\[[0-9;]*3[1-7][;m]"),
    ],
)
def test_colours_are_those_the_terminal_has(flag: str, there: bytes, never: bytes, finished_runs: Path) -> None:
    with start(finished_runs, {}, "--color", flag, size=(100, 20)) as terminal:  # with more rows pixels are whole cells
        terminal.until("1 run")
        terminal.until("done")
        terminal.settled(1.0)
        said = terminal.fresh
    assert re.search(there, said)
    assert not re.search(never, said)
    assert ("▀" in said.decode()) == (flag != "none"), "half blocks are nothing without colours"


def test_a_screen_on_which_nothing_happens_sends_nothing(finished_runs: Path) -> None:
    with start(finished_runs, {}) as terminal:
        terminal.until("1 run")
        terminal.settled(2.0)
        assert terminal.read_for(2.5) == 0, "over a look at the folder"
        terminal.press("\r")
        terminal.until("finished")
        terminal.settled(2.0)
        assert terminal.read_for(2.0) == 0
        terminal.press(":")
        terminal.until("Search for")
        terminal.settled(2.0)
        assert terminal.read_for(2.0) == 0, "no cursor blinks"


def test_another_focus_draws_what_has_it_and_what_had_it(finished_runs: Path) -> None:
    with start(finished_runs, {}) as terminal:
        terminal.until("1 run")
        terminal.settled(1.0)
        terminal.press("N")
        terminal.until("enter trains it")
        terminal.settled(1.0)
        terminal.press("\t")
        terminal.settled(1.0)
        assert 0 < len(terminal.fresh) < 4000, "two fields of a form"
        terminal.press("\x1b")
        terminal.settled(1.0)
        terminal.press("t")
        terminal.until("images/s")
        terminal.settled(1.0)
        terminal.press("/")
        terminal.settled(1.0)
        terminal.press("\x1b[B")
        terminal.settled(1.0)
        assert 0 < len(terminal.fresh) < 4000, "two fields beside images"


def test_a_dialog_sends_itself_and_not_what_is_behind_it(finished_runs: Path) -> None:
    with start(finished_runs, {}) as terminal:
        terminal.until("1 run")
        terminal.settled(1.0)
        terminal.press("\x0c")
        terminal.settled(1.0)
        screen = len(terminal.fresh)
        for opens, there in (("D", "Delete this run"), ("r", "Rename done")):
            terminal.press(opens)
            terminal.until(there)
            terminal.settled(1.0)
            assert len(terminal.fresh) < screen / 2
            terminal.press("\x1b")
            terminal.settled(1.0)
            assert 0 < len(terminal.fresh) < screen / 2
        terminal.press("\x0c")  # ^l
        terminal.until("1 run")
        terminal.settled(1.0)
        assert len(terminal.fresh) > 0.9 * screen, "all of it, where it is asked for"


def test_text_is_at_its_end_at_once(finished_runs: Path) -> None:
    with start(finished_runs, {"TEXTUAL_ANIMATIONS": "full"}) as terminal:
        terminal.until("1 run")
        terminal.settled(1.0)
        terminal.press("\r")
        terminal.until("finished")
        terminal.settled(1.0)
        terminal.press("4")
        terminal.settled(1.0)
        terminal.press("j")
        terminal.settled(1.0)
        line = len(terminal.fresh)
        terminal.press("G")
        terminal.settled(1.0)
        assert 0 < len(terminal.fresh) < 3 * line, "one page, as a line more does, not dozens on the way"


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """tmux on a server of its own, which is ended."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    socket = str(tmp_path / "socket")
    environ = {name: value for name, value in os.environ.items() if name not in ("TMUX", "COLORTERM", "NO_COLOR")}

    def call(*words: str) -> str:
        command = ["tmux", "-u", "-S", socket, "-f", os.devnull, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environ, timeout=30).stdout

    yield call
    subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, check=False)


def test_in_tmux(tmux: Callable[..., str], finished_runs: Path) -> None:
    def until(met: Callable[[str], object], *flags: str) -> str:
        deadline = time.monotonic() + SECONDS
        while not met(seen := tmux("capture-pane", "-p", "-t", "one", *flags)):
            assert time.monotonic() < deadline, seen
            time.sleep(0.1)
        return seen

    tmux("new-session", "-d", "-s", "one", "-x", "100", "-y", "40", "sh")
    until(str.strip)  # the prompt stands before what is typed
    program = f"{sys.executable} -m pixeltui --runs-dir {finished_runs}; echo back in the shell"
    tmux("send-keys", "-t", "one", program, "Enter")
    until(lambda seen: "1 run" in seen and "finished" in seen)
    assert "[38;5;" in until(lambda seen: "▀" in seen, "-e"), "tmux says 256 colours"
    tmux("send-keys", "-t", "one", "Enter")
    until(lambda seen: "gradient norm" in seen)
    tmux("resize-window", "-t", "one", "-x", "80", "-y", "24")
    seen = until(lambda seen: len(seen.rstrip("\n").split("\n")) == 24 and "leave" in seen.rstrip("\n").split("\n")[-1])
    assert "bits/dim" in seen
    tmux("send-keys", "-t", "one", "q")
    assert "pause" not in until(lambda seen: "\nback in the shell" in seen)
