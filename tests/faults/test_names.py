"""Runs and classes that somebody named with markup, escape codes or no text at all: nothing reaches a terminal raw."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixeltui.cli import main
from pixeltui.store.rundir import RunDir

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


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_classes_whose_names_are_no_text_are_trained_on(
    kind: str, tiny_train: Callable[..., int], tmp_path: Path
) -> None:
    data = tmp_path / f"set.{kind}"
    images = np.random.default_rng(0).integers(0, 4, (40, 6, 5)).astype(np.uint8)
    if kind == "npz":
        np.savez(data, images=images, labels=np.arange(40) % 2, class_names=["caf\udce9", "tea\x1b[31m"])
    for number, image in enumerate(images if kind == "folder" else ()):
        path = data / ("caf\udce9", "tea\x1b[31m")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    options = ["train.steps=4", "sample.every=2", f"data.name={data}", f"data.root={tmp_path / 'root'}"]
    words = [word for option in options for word in ("--set", option)]
    assert tiny_train(*words, "--name", "run") == 0
    run = RunDir.open(tmp_path / "runs" / "run")
    assert run.meta()["data"]["classes"] == ["caf?", "tea?[31m"]
    assert len(list(run.samples_dir.glob("*.png"))) == 2
