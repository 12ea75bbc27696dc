"""The scripts in examples/ run, at a small size, and do what they say."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pixeltui.cli import main
from pixeltui.store.summary import list_runs

EXAMPLES = Path(__file__).parent.parent / "examples"


def script(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run as `python examples/NAME`, in this process."""
    path = str(EXAMPLES / name)
    monkeypatch.setattr("sys.argv", [path, *arguments])
    runpy.run_path(path, run_name="__main__")


def png_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_every_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.suffix == ".py") == [
        "own_head.py",
        "sample_and_complete.py",
        "train_from_python.py",
        "watch_a_run.py",
    ]


def test_train_from_python(tmp_path: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = tmp_path / "samples.png"
    small = ("--steps", "60", "--channels", "8", "--blocks", "1")
    script("train_from_python.py", monkeypatch, "--data", str(tiny_npz), *small, "--out", str(out))
    said = capsys.readouterr().out
    test = float(said.split("test ")[1].split(" ")[0])
    assert test < 1.9, "of 2 bits/dim for a model that knows nothing"
    assert png_size(out)[0] > 100


def test_sample_and_complete(
    tmp_path: Path, finished_runs: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    weights, out = tmp_path / "a.safetensors", tmp_path / "completed.png"
    assert main(["--runs-dir", str(finished_runs), "runs", "export", "done", "--out", str(weights)]) == 0
    words = (str(weights), "--data", str(tiny_npz), "--keep-rows", "3", "--count", "4", "--out", str(out))
    script("sample_and_complete.py", monkeypatch, *words)
    assert capsys.readouterr().out.count("bits/dim") == 3
    assert png_size(out)[1] > 300


def test_own_head(tmp_path: Path, tiny_npz: Path) -> None:
    """In a process of its own: `__main__` holds the head."""
    words = ["--set", f"data.name={tiny_npz}", "--set", "train.steps=3", "--set", "model.blocks=1", "--name", "own"]
    paths = os.pathsep.join(filter(None, [str(EXAMPLES.parent), os.environ.get("PYTHONPATH")]))
    where = {**os.environ, "PIXELTUI_RUNS_DIR": str(tmp_path), "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_head.py"), *words], capture_output=True, text=True, env=where, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (run,) = list_runs(tmp_path)
    assert run.state == "finished"
    assert run.test_bits_per_dim is not None


def test_watch_a_run(finished_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    script("watch_a_run.py", monkeypatch, str(finished_runs / "done"))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("step 10  ")
    assert said[1] == "done: finished"
    assert said[2].startswith("test ")
