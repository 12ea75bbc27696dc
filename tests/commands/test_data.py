"""`pixeltui data`: what it prints, as text, JSON and on a terminal."""

import argparse
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from pixeltui import registry
from pixeltui.commands import data
from pixeltui.config import Data
from pixeltui.data import load
from pixeltui.errors import UsageError, UserError


def command(*words):
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args(words))


def test_the_list(capsys, tmp_path):
    assert command("--root", str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(registry.DATASETS)]] == list(registry.DATASETS)
    assert lines[0].split(maxsplit=1)[1] == "built in"
    assert lines[1].split(maxsplit=1)[1] == "to download"
    assert any(line.startswith("FILE.npz") for line in lines)
    for file in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / file).write_bytes(b"")
    assert command("--root", str(tmp_path), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"name": "svhn", "state": "on disk"} in found["data_sets"]
    assert {"name": "mnist", "state": "to download"} in found["data_sets"]


def test_the_root_in_json_is_found_from_anywhere(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("--root", "here", "--json") == 0
    assert json.loads(capsys.readouterr().out)["root"] == str(tmp_path / "here")


def test_one_set_as_json(capsys):
    assert command("digits", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == [1, 8, 8]
    assert facts["levels"] == 17
    assert facts["images"] == {"train": 1437, "val": 180, "test": 180}
    assert sum(facts["class_counts"]["train"].values()) == 1437
    assert facts["class_counts"]["val"].keys() == set("0123456789")
    assert len(facts["checksum"]) == 64


def test_one_set_as_text_has_a_preview_and_no_escapes(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "89")
    assert command("digits") == 0
    out = capsys.readouterr().out
    assert "shape     8x8, grey (1 x 8 x 8)" in out
    assert "1,437 train, 180 val, 180 test" in out
    assert "\x1b" not in out
    preview = out.split("\n\n", 2)[2].removesuffix("\n").split("\n")
    assert len(preview) == 3 * 5 - 1  # ten digits abreast, three rows of four lines, two empty lines
    assert set("".join(preview)) == set("▀▄█ ")


def test_names_from_files_cannot_steer_the_terminal_and_notices_go_to_stderr(capsys, tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((9, 2, 2), np.uint8), labels=np.zeros(9, int), class_names=["\x1b[31mred"], extra=1)
    assert command(str(path)) == 0
    captured = capsys.readouterr()
    assert "?[31mred" in captured.out
    assert "\x1b" not in captured.out + captured.err
    assert "not used: extra" in captured.err


def test_unlabelled(capsys, tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((9, 2, 2, 3), np.uint8))
    assert command(str(tmp_path / "set.npz")) == 0
    assert "unlabelled" in capsys.readouterr().out


def test_no_name_is_not_the_current_folder(monkeypatch, tmp_path):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no data are named: expected digits, cifar10"):
        command("")


@pytest.mark.parametrize("name", ["a" * 300, "~no-such-user/x", "a\0b"])
def test_what_can_be_no_path_is_refused(name):
    with pytest.raises(UserError, match="no data set and no path"):
        command(name)


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="did you mean 'digits'"):
        command("digit")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"COLORTERM": "truecolor"}, "\x1b[38;2;"), ({}, "\x1b[38;5;"), ({"NO_COLOR": "1"}, "█")],
)
def test_on_a_terminal_there_is_a_preview_with_one_of_each_class_first(monkeypatch, capsys, environment, expected):
    for name in ("COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "89", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert command("digits") == 0
    out = capsys.readouterr().out
    assert expected in out
    assert ("\x1b" in out) == ("NO_COLOR" not in environment)
    preview = out.split("\n\n", 2)[2]
    assert preview.count("\n") == 3 * 5 - 1  # ten digits abreast, three rows of four lines, two empty lines
    digits = load(Data(name="digits"))
    indices = data._round_robin(digits, 20)
    assert digits.train.labels[indices].tolist() == [*range(10), *range(10)]


@pytest.mark.parametrize(("color", "foreground"), [("truecolor", "38;2;"), ("256", "38;5;"), ("none", "")])
def test_colours_are_those_asked_for(color, foreground):
    code = (
        "import sys; from pixeltui.cli import main; sys.stdout.isatty = lambda: True; "
        f"main(['data', 'digits', '--color', {color!r}])"
    )
    environment = {**os.environ, "TERM": "xterm", "COLORTERM": "24bit" if color == "256" else ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert set(re.findall(r"38;\d;", done.stdout)) == ({foreground} if foreground else set())


def test_arguments_need_nothing_slow():
    code = (
        "import argparse, sys; from pixeltui.commands import data, doctor\n"
        "for m in (data, doctor): m.add_arguments(argparse.ArgumentParser())\n"
        "print([m for m in ('torch', 'numpy', 'rich', 'PIL', 'torchvision') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
