"""`pixeltui eval` beyond the likelihood of a split: raw weights, channels, classes by Bayes' rule, samples."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

from pixeltui.cli import main


def evaluated(runs: Path, capsys: pytest.CaptureFixture[str], run: str, *words: str) -> dict:
    capsys.readouterr()
    assert main(["--runs-dir", str(runs), "eval", run, "--json", *words]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def colour_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unconditional run "plain" on colour images without labels, whose blue is nearly always 0."""
    folder = tmp_path_factory.mktemp("colour")
    images = np.random.default_rng(0).integers(0, 8, (60, 5, 6, 3)).astype(np.uint8)
    images[..., 2] //= 7
    np.savez(folder / "colour.npz", images=images)
    words = ["--preset", "quick", "--name", "plain"]
    for one in (f"data.name={folder / 'colour.npz'}", *TINY, "train.steps=40", "train.lr=0.03"):
        words += ["--set", one]
    assert main(["--no-ui", "--runs-dir", str(folder), "train", *words]) == 0
    return folder


def test_channels_add_up_and_differ(colour_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluated(colour_runs, capsys, "plain")
    channels = report["per_channel"]
    assert list(channels) == ["red", "green", "blue"]
    assert sum(channels.values()) / 3 == pytest.approx(report["bits_per_dim"])
    assert channels["blue"] < 1.5 < channels["red"]
    assert all(0 < se < 0.5 for se in report["per_channel_se"].values())
    assert report["per_class"] == report["per_class_se"] == {}
    assert main(["--runs-dir", str(colour_runs), "eval", "plain"]) == 0
    assert "bits/dim of each channel" in capsys.readouterr().out


def test_grey_images_have_one_channel(finished_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluated(finished_runs, capsys, "done")
    assert report["per_channel"] == {"grey": pytest.approx(report["bits_per_dim"])}
    assert report["per_channel_se"]["grey"] == pytest.approx(report["bits_per_dim_se"])
    assert report["per_class_se"].keys() == report["per_class"].keys()


def test_raw_weights_beside_averaged_ones(finished_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = evaluated(finished_runs, capsys, "done", "--weights", "both")
    ema, raw = (evaluated(finished_runs, capsys, "done", "--weights", name) for name in ("ema", "raw"))
    assert both["weights"] == "ema"
    assert ema.items() <= both.items()
    assert both["raw"]["bits_per_dim"] == raw["bits_per_dim"]
    assert both["raw_minus_ema"] == pytest.approx(raw["bits_per_dim"] - ema["bits_per_dim"])
    assert 0 < both["raw_minus_ema_se"] < both["bits_per_dim_se"], "on the same images"
    assert main(["--runs-dir", str(finished_runs), "eval", "done", "--weights", "both"]) == 0
    assert "against the averaged ones" in capsys.readouterr().out


def test_classes_by_bayes_rule(
    tiny_train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny_train("--name", "learnt", "--set", "train.steps=60", "--set", "train.lr=0.03") == 0
    report = evaluated(tmp_path / "runs", capsys, "learnt", "--classify", "--split", "train")
    found = report["classification"]
    assert found["images"] == report["images"]
    assert found["accuracy"] > found["chance"] + 3 * found["accuracy_se"], "gradients that differ between classes"
    assert found["accuracy_se"] == pytest.approx(
        math.sqrt(found["accuracy"] * (1 - found["accuracy"]) / found["images"])
    )
    assert 0 < found["label_bits"] < math.log2(3)
    dims = 30
    assert abs(found["bits_per_dim"] - report["bits_per_dim"]) * dims < math.log2(3) + 0.1
    assert main(["--runs-dir", str(tmp_path / "runs"), "eval", "learnt", "--classify"]) == 0
    assert "by Bayes' rule" in capsys.readouterr().out


def test_samples_beside_held_out_images(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "near.png"
    words = ["--samples", "100", "--nearest", str(picture), "--split", "val", "--seed", "3"]
    report = evaluated(finished_runs, capsys, "done", *words)
    found = report["samples"]
    assert found["images"] == 10, "as many as there are"
    assert (found["temperature"], found["top_p"], found["guidance"], found["seed"]) == (1, 1, 1, 3)
    assert found["wasserstein"]["samples"].keys() == {"5x6", "mean"}
    assert found["wasserstein"]["train"]["5x6"] > 0
    assert 0 <= found["nearest"]["samples_least"] <= found["nearest"]["samples_median"] < 1
    assert found["nearest_png"] == str(picture)
    with Image.open(picture) as image:
        assert image.width > image.height > 96
    same = evaluated(finished_runs, capsys, "done", *words)
    assert same == report
    cold = evaluated(finished_runs, capsys, "done", *words, "--temperature", "0.01")
    assert cold["samples"]["wasserstein"]["samples"] != found["wasserstein"]["samples"]
    assert cold["bits_per_dim"] == report["bits_per_dim"]
    assert main(["--runs-dir", str(finished_runs), "eval", "done", "--samples", "5"]) == 0
    text = capsys.readouterr().out
    assert "sliced Wasserstein distance" in text
    assert "nearest training image" in text


def test_samples_of_a_run_without_labels(colour_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated(colour_runs, capsys, "plain", "--samples", "4")["samples"]["images"] == 4


@pytest.mark.parametrize(
    ("run", "words", "status", "message"),
    [
        ("done", ["--nearest", "a.png"], 2, "--nearest is about samples"),
        ("done", ["--fid"], 2, "--fid is about samples"),
        ("done", ["--top-p", "0.5"], 2, "--top-p is about samples"),
        ("done", ["--samples", "5", "--split", "train"], 2, "--samples compares with held-out images"),
        ("done", ["--samples", "5", "--nearest", "a.jpg"], 2, "ends in .png"),
        ("done", ["--samples", "5", "--nearest", "/no/folder/a.png"], 1, "could not be written"),
        ("done", ["--samples", "5", "--fid"], 1, "pip install 'pixeltui[fid]'"),
        ("plain", ["--classify"], 2, "the model is unconditional"),
        ("plain", ["--classify"], 2, "the run's data has no labels"),
    ],
)
def test_mistakes_are_one_line(
    run: str,
    words: list[str],
    status: int,
    message: str,
    finished_runs: Path,
    colour_runs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.registry", None)
    runs = colour_runs if run == "plain" else finished_runs
    capsys.readouterr()
    assert main(["--runs-dir", str(runs), "eval", run, *words]) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
