"""`pixeltui bench ui`: a real console on a real pseudo-terminal, with less of everything."""

import json
import os
import sys

import pytest

from pixeltui.cli import main
from pixeltui.commands import console_speed, console_speed_text
from pixeltui.commands.pseudo_terminal import PseudoTerminal
from pixeltui.errors import UserError


def python(code: str) -> PseudoTerminal:
    return PseudoTerminal([sys.executable, "-c", code], os.environ, size=(90, 20))


def test_what_is_written_is_read_without_its_sequences() -> None:
    code = (
        "import os, tty; tty.setraw(0); print(os.get_terminal_size(), flush=True)\n"
        "while True: print(f'\\x1b[1;31mgot\\x1b[0m \\x1b]0;title\\x07{os.read(0, 1).decode()}!', flush=True)"
    )
    with python(code) as terminal:
        assert terminal.until("columns=90, lines=20") > 0
        terminal.press("x")
        assert 0 < terminal.until("got x!") < console_speed.PATIENCE
        assert "columns" not in terminal.text(), "what came before the key does not count"
        terminal.settled(0.2)
        before = terminal.written
        terminal.press("y")
        terminal.until("got y!\n")
        assert terminal.written - before == len("\x1b[1;31mgot\x1b[0m \x1b]0;title\x07y!\n")


def test_a_program_that_ends_or_never_gets_there_is_told() -> None:
    with python("print('no such thing')") as terminal, pytest.raises(UserError, match=r"ended.*no such thing"):
        terminal.until("curves")
    with python("import time; print('on', flush=True); time.sleep(60)") as terminal:
        terminal.until("on")
        with pytest.raises(UserError, match="did not show 'curves'"):
            terminal.until("curves", seconds=0.1)


def test_every_figure_of_the_console(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("SECONDS", 2.0),  # several of the moments at which a live console draws
        ("PRESSES", 6),
        ("RUNS", 8),
        ("EVENTS", 2000),
        ("QUIET", 0.3),
        ("SLOW_SECONDS", 1.0),
    ):
        monkeypatch.setattr(console_speed, name, value)
    monkeypatch.setattr(console_speed, "SETTINGS", ("model.channels=8", "model.blocks=1", "sample.every=0"))
    assert main(["bench", "ui", "--repeats", "1", "--device", "cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    training = result["training"]
    assert training["ratio"] == pytest.approx(training["images_per_second"] / training["headless_images_per_second"])
    assert 0 < result["keys"]["median_ms"] <= result["keys"]["p99_ms"] <= result["keys"]["worst_ms"]
    assert result["keys"]["presses"] == 6
    assert result["bytes_per_second"]["live"] > result["bytes_per_second"]["paused"]
    assert result["bytes_per_second"]["low_bandwidth"] >= 0
    assert all(value > 0 for value in result["first_paint_ms"].values())
    many = result["thousand_runs"]
    assert many["listed_ms"] >= many["first_paint_ms"]
    assert many["scroll"]["presses"] > 0
    assert all(value > 0 for value in result["million_events"].values())
    text = console_speed_text.as_text(result)
    assert "console over headless" in text
    assert "120x40" in text
