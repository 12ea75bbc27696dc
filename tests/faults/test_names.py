"""A run that somebody named with markup and escape codes: nothing of it reaches a terminal raw."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pixeltui.cli import main

ODD = "[bold red]x[blink] \x1b[31mred\x1b]0;mine\x07\u202eevil"


def test_no_command_prints_a_name_raw(
    tiny_train: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny_train("--set", "train.steps=4", "--set", "sample.every=2", "--name", "run") == 0
    runs = tmp_path / "runs"
    (runs / "run").rename(runs / ODD)
    monkeypatch.chdir(tmp_path)
    begin = ODD[:8]
    for words in (
        ["runs", "list"],
        ["runs", "show", begin],
        ["runs", "compare", begin, begin],
        ["runs", "tag", begin, "a"],
        ["report", begin, "--out", "a.html"],
        ["eval", begin, "--samples", "2"],
        ["bench", "codec"],
        ["sample", begin, "-n", "1"],
        ["complete", begin, "test:0"],
        ["runs", "export", begin],
        ["inspect", begin, "--out", "inspected"],
        ["--no-ui", "train", "--resume", begin, "--set", "train.steps=6"],
        ["--no-ui", "train", "--resume", begin, "--set", "train.steps=0"],
        ["--no-ui", "train", "--resume", begin, "--set", "data.name=" + ODD],
        ["--no-ui", "train", "--set", "data.name=" + ODD],
        ["runs", "rename", begin, "run"],
        ["eval", ODD],
        ["runs", "rename", "run", "a/" + ODD],
        ["runs", "delete", "run", "--yes"],
    ):
        main(["--runs-dir", str(runs), *words])
        output = "".join(capfd.readouterr())
        assert output, words
        assert all(line.isprintable() for line in output.split("\n")), (words, output)
    assert b"\x1b" not in Path("a.html").read_bytes()
