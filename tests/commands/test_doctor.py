"""`pixeltui doctor`: what it finds here, and what it says where something is missing."""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pixeltui.commands import doctor
from pixeltui.core.gpu import mixture_loss, use
from pixeltui.core.native import library


def command(tmp_path, *words):
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    args = parser.parse_args(["--root", str(tmp_path / "root"), *words])
    args.runs_dir = tmp_path / "runs"
    return doctor.run(args)


def checks(tmp_path):
    return {check.name: check for check in doctor.examine(tmp_path / "runs", tmp_path / "root")}


def test_a_working_machine(tmp_path, capsys):
    assert command(tmp_path) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert {line.split()[0] for line in out.splitlines()} <= {"ok", "warn"}
    for name in ("python", "torch", "torchvision", "device", "precision", "memory", "data", "runs", "tensorboard"):
        assert any(line.split()[1] == name for line in out.splitlines()), name
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_json(tmp_path, capsys):
    assert command(tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["can_train"] is True
    assert all(set(check) == {"name", "status", "found", "remedy"} for check in found["checks"])
    assert all(check["remedy"] for check in found["checks"] if check["status"] != "ok")


def test_how_sampling_is_computed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "load", lambda: "not built")
    missing = checks(tmp_path)["sampling"]
    assert (missing.status, "not built" in missing.found, "compiler" in missing.remedy) == ("warn", True, True)
    assert missing.remedy.endswith("pip install --force-reinstall --no-deps .")  # it is in no index
    monkeypatch.setattr(library, "load", lambda: library.TURNED_OFF)
    assert checks(tmp_path)["sampling"].remedy == "unset PIXELTUI_COMPILED"
    monkeypatch.setattr(library, "load", lambda: SimpleNamespace(lanes=8))
    assert checks(tmp_path)["sampling"] == doctor.Check("sampling", "ok", "compiled steps, vectors of 8 floats")


def test_kernels_are_tried_on_a_gpu_and_elsewhere_not_missed(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(use, "given_up", {})
    monkeypatch.setattr(use, "ON", True)
    monkeypatch.setattr(use, "THERE", True)
    monkeypatch.setattr(use, "compiles_for", lambda _: False)
    monkeypatch.setattr(mixture_loss, "kernels", lambda: tried.append(None))  # and None has no kernels
    assert (checks(tmp_path)["kernels"].status, tried) == ("ok", [])
    monkeypatch.setattr(use, "compiles_for", lambda _: True)
    missing = checks(tmp_path)["kernels"]
    assert (missing.status, len(tried), "C compiler" in missing.remedy) == ("warn", 1, True)
    assert "cannot be used (AttributeError: 'NoneType'" in missing.found
    monkeypatch.setattr(use, "THERE", False)
    assert checks(tmp_path)["kernels"].remedy == "pip install triton"
    monkeypatch.setattr(use, "ON", False)
    assert checks(tmp_path)["kernels"].remedy == "unset PIXELTUI_TRITON"


def test_kernels_that_run_are_fine(tmp_path, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(use, "given_up", {})
    monkeypatch.setattr(use, "ON", True)
    monkeypatch.setattr(use, "compiles_for", lambda _: True)
    assert checks(tmp_path)["kernels"].status == "ok"
    assert not use.given_up


def test_runs_that_cannot_be_written_make_training_impossible(tmp_path, capsys):
    (tmp_path / "runs").write_text("in the way")
    (tmp_path / "root").write_text("in the way")
    assert command(tmp_path, "--json") == 1
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert found["runs"]["status"] == "fail"
    assert "--runs-dir DIR" in found["runs"]["remedy"]
    assert found["data.root"]["status"] == "warn"


def test_torch_that_cannot_be_imported_is_said_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert command(tmp_path) == 1
    out = capsys.readouterr().out
    assert "fail  torch" in out
    assert "pip install" in out
    assert any(line.startswith("ok    runs") for line in out.splitlines())


def test_missing_parts_have_remedies(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor.metadata, "version", raises(doctor.metadata.PackageNotFoundError))
    found = checks(tmp_path)
    assert found["compiler"].status == "warn"
    assert "train.compile = false" in found["compiler"].remedy
    assert found["torchvision"].status == "warn"
    assert "pip install" in found["torchvision"].remedy
    assert found["tensorboard"].remedy == "pip install 'pixeltui[tensorboard]'"


def test_little_space_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: argparse.Namespace(free=1 << 20))
    assert checks(tmp_path)["runs"].status == "warn"
    assert "make room" in checks(tmp_path)["runs"].remedy


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_folder_that_takes_no_files_is_not_writable(tmp_path):
    found = {check.name: check for check in doctor.examine(Path("/proc/x"), tmp_path)}
    assert found["runs"].status == "fail"
    assert found["runs"].found == "cannot write to /proc/x"
    assert list(tmp_path.iterdir()) == []


def test_data_on_disk(tmp_path):
    (tmp_path / "root").mkdir()
    for file in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / "root" / file).write_bytes(b"")
    found = checks(tmp_path)["data"]
    assert found.found == "digits, svhn on disk"
    assert "cifar10" in found.remedy


@pytest.mark.parametrize(
    ("environment", "name", "status"),
    [
        ({"COLORTERM": "truecolor"}, "colours", "ok"),
        ({}, "colours", "warn"),
        ({"TERM": "xterm-kitty"}, "colours", "ok"),
        ({"TERM": "screen", "STY": "1.pts", "COLORTERM": "truecolor"}, "colours", "warn"),
        ({"NO_COLOR": "1"}, "colours", "warn"),
        ({"COLUMNS": "79"}, "size", "warn"),
        ({"COLUMNS": "80"}, "size", "ok"),
    ],
)
def test_terminals(tmp_path, monkeypatch, environment, name, status):
    for variable in ("COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {"TERM": "xterm", "COLUMNS": "120", "LINES": "30", **environment}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    check = checks(tmp_path)[name]
    assert check.status == status
    assert bool(check.remedy) == (status == "warn")


def test_without_a_terminal_it_says_so_of_colours_and_size(tmp_path):
    assert "without colours and size" in checks(tmp_path)["terminal"].found


def test_on_a_terminal_it_is_a_table_with_remedies_below(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").write_text("in the way")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert command(tmp_path) == 1
    out = capsys.readouterr().out
    assert "\x1b[1;31mfail" in out
    assert "Training is not possible" in out
    lines = out.splitlines()
    row = next(i for i, line in enumerate(lines) if "fail" in line)
    assert f"cannot write to {Path(tmp_path / 'runs')}" in lines[row]
    assert "--runs-dir DIR" in lines[row + 1]


def test_a_check_that_breaks_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", raises(RuntimeError))
    found = checks(tmp_path)
    assert found["compiler"].status == "warn"
    assert "could not be examined" in found["compiler"].found
    assert "runs" in found


def raises(error):
    def function(*_):
        raise error("broken")

    return function
