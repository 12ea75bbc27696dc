"""The command line: usage, exit status, where options may stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pixeltui import __version__
from pixeltui.cli import COMMANDS, main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"pixeltui {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command} ", out, re.M), command


def spins(**environment: str) -> str:
    """What the OpenMP that torch came with says of it when it is loaded."""
    words = [sys.executable, "-m", "pixeltui", "data", "digits"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    shown = plain | environment | {"OMP_DISPLAY_ENV": "VERBOSE"}
    done = subprocess.run(words, env=shown, capture_output=True, text=True, check=True)
    return "".join(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr))


def test_threads_that_wait_sleep_soon_unless_the_user_says_how_they_wait() -> None:
    if not spins():
        pytest.skip("another OpenMP than GNU's")
    assert spins() == "1000"
    assert spins(GOMP_SPINCOUNT="7") == "7"
    assert int(spins(OMP_WAIT_POLICY="ACTIVE")) > 1000


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"usage: pixeltui {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train", "--nonsense"],
        ["train", "--set", "train.lrr=1"],
        ["train", "--preset", "quik"],
        ["train", "--resume", "x", "--preset", "quick"],
        ["sample"],
        ["sample", "x", "--temperature", "0"],
        ["sample", "x", "--top-p", "1.5"],
        ["sample", "x", "-n", "0"],
        ["sample", "x", "--out", "picture.gif"],
        ["eval", "x", "--split", "training"],
    ],
)
def test_wrong_usage_is_exit_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == [], "nothing is created"


@pytest.mark.parametrize("order", ["before", "behind"])
def test_common_options_stand_before_or_behind_the_command(order: str, tmp_path, capsys) -> None:
    options = ["--runs-dir", str(tmp_path / "train")]
    words = ["runs", "list", "--json"]
    assert main([*options, *words] if order == "before" else [*words, *options]) == 0
    assert capsys.readouterr().out.strip() == "[]"


def test_an_unexpected_error_is_one_line_and_debug_shows_where(monkeypatch, capsys) -> None:
    def broken(args) -> int:
        raise RuntimeError("the roof fell in")

    monkeypatch.setattr("pixeltui.commands.doctor.run", broken)
    assert main(["doctor"]) == 1
    captured = capsys.readouterr().err
    assert "the roof fell in" in captured
    assert "Traceback" not in captured
    assert len(captured.splitlines()) == 1
    assert main(["--debug", "doctor"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_unknown_run_names_the_nearest(tmp_path, capsys) -> None:
    (tmp_path / "quick-digits").mkdir()
    assert main(["--runs-dir", str(tmp_path), "sample", "quick-digts"]) == 1
    assert "quick-digits" in capsys.readouterr().err


@pytest.mark.parametrize(("encoding", "mark"), [("ascii", b"?"), ("latin-1", b"\xb1"), ("utf-8", "±".encode())])
def test_what_an_encoding_lacks_is_a_question_mark(encoding: str, mark: bytes, runs_copy: Path) -> None:
    words = [sys.executable, "-m", "pixeltui", "--runs-dir", str(runs_copy), "eval", "done"]
    done = subprocess.run(words, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=True)
    assert re.search(rb"bits/dim +[\d.]+ " + re.escape(mark), done.stdout)
