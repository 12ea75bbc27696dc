"""`pixeltui eval --data`: the classes of other data are the model's by their names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

from pixeltui.cli import main

NAMES = ("low", "mid", "high")
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def arrays(tiny_npz: Path) -> Arrays:
    with np.load(tiny_npz) as found:
        return dict(found)


@pytest.fixture(scope="module")
def runs(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run "named", which has learnt the tiny images by the names of their classes."""
    folder = tmp_path_factory.mktemp("named")
    np.savez(folder / "named.npz", **arrays, class_names=NAMES)
    words = ["--preset", "quick", "--name", "named"]
    for one in (f"data.name={folder / 'named.npz'}", *TINY, "train.steps=60", "train.lr=0.03"):
        words += ["--set", one]
    assert main(["--no-ui", "--runs-dir", str(folder), "train", *words]) == 0
    return folder


@pytest.fixture
def scored(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """What `eval` says of other data, all of which are its test split."""

    def score(images: np.ndarray, labels: np.ndarray, **more: object) -> dict:
        few = {"train_images": images[:1], "val_images": images[:1], "test_images": images}
        few |= {"train_labels": labels[:1], "val_labels": labels[:1], "test_labels": labels}
        np.savez(tmp_path / "other.npz", **few, **more)
        capsys.readouterr()
        assert main(["--runs-dir", str(runs), "eval", "named", "--data", str(tmp_path / "other.npz"), "--json"]) == 0
        found: dict = json.loads(capsys.readouterr().out)
        return found

    return score


def test_another_order_of_the_names_changes_nothing(arrays: Arrays, scored: Callable[..., dict]) -> None:
    same = scored(arrays["images"], arrays["labels"], class_names=NAMES)
    turned = scored(arrays["images"], 2 - arrays["labels"], class_names=NAMES[::-1])
    assert turned["per_class"] == same["per_class"]
    assert turned["bits_per_dim"] == same["bits_per_dim"]
    wrong = scored(arrays["images"], 2 - arrays["labels"], class_names=NAMES)
    assert wrong["bits_per_dim"] > same["bits_per_dim"] + 0.01, "the model heeds its labels"


def test_some_of_the_classes_with_and_without_names(arrays: Arrays, scored: Callable[..., dict]) -> None:
    whole = scored(arrays["images"], arrays["labels"], class_names=NAMES)["per_class"]
    some = arrays["labels"] > 0
    images, labels = arrays["images"][some], arrays["labels"][some]
    expected = pytest.approx({name: whole[name] for name in ("mid", "high")}, abs=1e-6)
    assert scored(images, labels - 1, class_names=NAMES[1:])["per_class"] == expected
    assert scored(images, labels)["per_class"] == expected


def test_folders_are_matched_by_name_too(
    runs: Path, arrays: Arrays, scored: Callable[..., dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val", "test"):
        for number, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
            path = tmp_path / "set" / split / NAMES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    expected = scored(arrays["images"], arrays["labels"], class_names=NAMES)["per_class"]
    words = ["eval", "named", "--data", str(tmp_path / "set"), "--json"]
    assert main(["--runs-dir", str(runs), *words]) == 0
    assert json.loads(capsys.readouterr().out)["per_class"] == pytest.approx(expected, abs=1e-6)


def test_other_names_are_refused_or_scored_without_labels(
    runs: Path, arrays: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.npz"
    words = ["--runs-dir", str(runs), "eval", "named", "--data", str(other), "--json"]
    np.savez(other, **arrays, class_names=("low", "mid", "hihg"))
    assert main(words) == 1
    assert "has the classes low, mid, hihg, the model knows low, mid, high: name them" in capsys.readouterr().err
    np.savez(other, **arrays, class_names=("cat", "dog", "emu"))
    assert main(words) == 0
    said = capsys.readouterr()
    assert "scored without labels" in said.err
    assert json.loads(said.out)["per_class"] == {}
    np.savez(other, images=arrays["images"], labels=arrays["labels"] + 1)
    assert main(words) == 1
    assert "label 3, but the model knows 3 classes" in capsys.readouterr().err


def test_what_there_is_is_scored_though_it_could_not_be_trained_on(
    runs: Path, arrays: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
        path = tmp_path / "set" / "test" / NAMES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    np.savez(tmp_path / "one.npz", images=arrays["images"][:1], labels=arrays["labels"][:1])
    for name, count in (("set", 96), ("one.npz", 1)):
        capsys.readouterr()
        words = ["--runs-dir", str(runs), "eval", "named", "--data", str(tmp_path / name), "--json", "--classify"]
        assert main(words) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["images"] == report["classification"]["images"] == count
        assert report["classification"]["bits_per_dim"] > 0
    assert main(["--runs-dir", str(runs), "eval", "named", "--data", str(tmp_path / "set"), "--split", "val"]) == 1
    assert "set has no images in val: --split test" in capsys.readouterr().err
