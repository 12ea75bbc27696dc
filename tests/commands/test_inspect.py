"""`pixeltui inspect` on a real checkpoint, whole and broken on purpose."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from pixeltui.cli import main

PICTURES = ["bits.png", "samples.png", "features.png", "activations.png", "receptive-field.png", "channels.png"]


def run(runs: Path, *arguments: str) -> int:
    return main(["--runs-dir", str(runs), "inspect", *arguments])


def test_pictures_figures_and_verdicts(runs_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(runs_copy, "done", "--images", "6") == 0
    out = capsys.readouterr().out
    for words in (
        "mask        right",
        "model       right",
        "sampler     right",
        "test split, 6 images",
        "no blind spot",
    ):
        assert words in out
    folder = runs_copy / "done" / "inspect"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*PICTURES, "inspect.json"])
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            assert len(picture.convert("RGB").getcolors(10**6) or []) > 8, name
    document = json.loads((folder / "inspect.json").read_text())
    assert document["files"] == PICTURES
    assert {verdict["right"] for verdict in document["verdicts"].values()} == {True}
    assert (document["images"], document["samples"], document["weights"]) == (6, 16, "ema")
    assert document["causality"]["cuts"] == document["causality"]["sub_pixels"] == 30
    assert (len(document["bits_map"][0]), len(document["bits_map"][0][0])) == (6, 5)
    mean = torch.tensor(document["bits_map"]).mean()
    assert document["bits_per_dim"]["mean"] == pytest.approx(float(mean), abs=1e-3)
    field = document["receptive_field"]
    assert (field["later_pixels"], field["blind_spot"]) == (0, 0)
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["blocks.0:1"]["units"] == 8
    assert sum(layers["norm"]["histogram"]) > 100


def test_bits_are_those_of_eval_and_json_is_alone_on_stdout(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--checkpoint", "last", "--weights", "raw"]
    assert main(["--runs-dir", str(finished_runs), "eval", "done", "--json", *options]) == 0
    scored = json.loads(capsys.readouterr().out)
    out = tmp_path / "new" / "folder"
    assert run(finished_runs, "done", *options, "--out", str(out), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "inspect.json").read_text())
    assert document["images"] == scored["images"]
    assert document["bits_per_dim"]["mean"] == pytest.approx(scored["bits_per_dim"], abs=1e-5)
    assert document["bits_per_dim"]["se"] == pytest.approx(scored["bits_per_dim_se"], abs=1e-5)
    assert (document["checkpoint"], document["weights"], document["step"]) == ("last.safetensors", "raw", 10)


def test_a_leak_is_named_and_the_exit_status_is_1(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The horizontal stack sees the pixel itself; the sampler does what the trained model does."""
    from pixeltui.core import two_stream

    monkeypatch.setattr(two_stream, "shift_right", lambda x: x)
    assert run(finished_runs, "done", "--out", str(tmp_path / "out"), "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert "hangs on its own level" in document["verdicts"]["mask"]["line"]
    assert document["verdicts"]["mask"]["right"] is False
    assert document["causality"]["causal"] is False


def test_a_wrong_sampler_is_told_from_a_wrong_mask(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pixeltui.core.native import compiled
    from pixeltui.core.two_stream import VerticalBlock

    monkeypatch.setattr(compiled, "load", lambda: "not built")
    monkeypatch.setattr(VerticalBlock, "step", lambda *_: None)
    assert run(finished_runs, "done", "--out", str(tmp_path / "out"), "--images", "4") == 1
    out = capsys.readouterr().out
    assert "mask        right" in out
    assert "sampler     wrong" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["don7"], 1, "did you mean 'done'"),
        (["done", "--checkpoint", "77"], 1, "no checkpoint '77'"),
        (["done", "--device", "cuda:9"], 1, "no device 'cuda:9'"),
        (["done", "--out", "/dev/null/here"], 1, "could not be written"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], status: int, message: str, finished_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished_runs, *arguments, "--images", "1") == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_one_image_without_labels_is_enough(tmp_path: Path) -> None:
    """A model without classes, on images of 3x4 in colour, in one stack."""
    import numpy as np
    from tiny import TINY

    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "small.npz", images=pixels)
    overrides = (f"data.name={tmp_path / 'small.npz'}", *TINY, "train.steps=2", "model.architecture=single_stack")
    words = [word for override in overrides for word in ("--set", override)]
    assert main(["--no-ui", "--runs-dir", str(tmp_path), "train", "--preset", "quick", *words, "--name", "a"]) == 0
    assert run(tmp_path, "a", "--images", "1", "--split", "train") == 0
    document = json.loads((tmp_path / "a" / "inspect" / "inspect.json").read_text())
    assert document["bits_per_dim"]["se"] is None
    assert list(document["bits_per_dim"]["channels"]) == ["R", "G", "B"]
