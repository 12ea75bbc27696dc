"""`pixeltui sample` and `pixeltui eval` on a real checkpoint."""

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixeltui.cli import main
from pixeltui.core.gpu import use
from pixeltui.store.rundir import RunDir


def run(runs: Path, *arguments: str) -> int:
    return main(["--runs-dir", str(runs), *arguments])


def sampled(runs: Path, out: Path, *arguments: str) -> dict[str, np.ndarray]:
    assert run(runs, "sample", "done", "--out", str(out), *arguments) == 0
    with np.load(out) as arrays:
        return dict(arrays)


def test_npz_holds_images_and_labels(finished_runs: Path, tmp_path: Path) -> None:
    arrays = sampled(finished_runs, tmp_path / "a.npz", "-n", "5", "--label", "2,0")
    assert arrays["images"].shape == (5, 6, 5, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["images"].max() < 4
    assert arrays["labels"].tolist() == [2, 0, 2, 0, 2]


def test_same_seed_same_images_whatever_the_number(finished_runs: Path, tmp_path: Path) -> None:
    one = sampled(finished_runs, tmp_path / "a.npz", "-n", "3", "--label", "1", "--seed", "7")["images"]
    more = sampled(finished_runs, tmp_path / "b.npz", "-n", "6", "--label", "1", "--seed", "7")["images"]
    other = sampled(finished_runs, tmp_path / "c.npz", "-n", "3", "--label", "1", "--seed", "8")["images"]
    assert np.array_equal(one, more[:3])
    assert not np.array_equal(one, other)
    assert len(np.unique(more.reshape(6, -1), axis=0)) > 1


def test_png_is_a_labelled_grid(finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(finished_runs, "sample", "done", "-n", "4") == 0
    with Image.open(tmp_path / "done-sample.png") as picture:
        assert picture.width > 4 * 5
        assert len(picture.getcolors(10**6) or []) > 2


def test_guidance_by_what_was_never_trained_is_told_of(
    finished_runs: Path, tiny_train: Callable[..., int], tmp_path: Path, capsys
) -> None:
    assert tiny_train("--set", "train.steps=1", "--set", "model.label_dropout=0", "--name", "labelled") == 0
    out = ["-n", "1", "--out", str(tmp_path / "a.png")]
    for runs, name, guidance, told in (
        (tmp_path / "runs", "labelled", "2", True),
        (tmp_path / "runs", "labelled", "1", False),
        (finished_runs, "done", "2", False),
    ):
        capsys.readouterr()
        assert run(runs, "sample", name, "--guidance", guidance, *out) == 0
        assert ("model.label_dropout" in capsys.readouterr().err) is told


def test_kernels_that_were_given_up_are_told_of(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(use, "given_up", {"a pixel": "RuntimeError: no C compiler\n...", "a row": "another"})
    sampled(finished_runs, tmp_path / "a.npz", "-n", "1")
    told = [line for line in capsys.readouterr().err.splitlines() if "GPU kernels" in line]
    assert len(told) == 1
    assert told[0].startswith("pixeltui: warning: GPU kernels cannot be used here (RuntimeError: no C compiler): ")


def test_show_prints_half_blocks_and_writes_nothing(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(finished_runs, "sample", "done", "-n", "2", "--show") == 0
    out = capsys.readouterr().out
    assert len(out.removesuffix("\n").split("\n")) == 3
    assert set(out) <= set("▀▄█ \n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--checkpoint", "last"], ["--checkpoint", "10"], ["--weights", "raw"]])
def test_checkpoints_and_weights(options: list[str], finished_runs: Path, tmp_path: Path) -> None:
    default = sampled(finished_runs, tmp_path / "a.npz", "-n", "8", "--checkpoint", "5")["images"]
    chosen = sampled(finished_runs, tmp_path / "b.npz", "-n", "8", *options)["images"]
    assert chosen.shape == default.shape
    assert not np.array_equal(chosen, default)


def test_a_checkpoint_is_found_by_the_name_that_json_gives_it(finished_runs: Path, capsys) -> None:
    assert run(finished_runs, "runs", "show", "done", "--json") == 0
    names = json.loads(capsys.readouterr().out)["checkpoints"]
    assert {"best.safetensors", "last.safetensors", "step-00000005.safetensors"} <= set(names)
    for name in names:
        assert run(finished_runs, "eval", "done", "--json", "--checkpoint", name) == 0
        assert json.loads(capsys.readouterr().out)["checkpoint"] == name


def test_settings_change_the_images(finished_runs: Path, tmp_path: Path) -> None:
    plain = sampled(finished_runs, tmp_path / "a.npz", "-n", "8")["images"]
    for number, options in enumerate((["--temperature", "0.05"], ["--top-p", "0.2"], ["--guidance", "40"])):
        changed = sampled(finished_runs, tmp_path / f"{number}.npz", "-n", "8", *options)["images"]
        assert not np.array_equal(plain, changed), options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["done", "--label", "banana"], "no class 'banana'"),
        (["done", "--label", "3"], "no class '3'; there are 0 to 2"),
        (["done", "--label", ""], "no class ''; there are"),
        (["done", "--checkpoint", "77"], "no checkpoint '77'"),
        (["done", "--out", "/no/folder/a.png"], "could not be written: there is no folder /no/folder"),
        (["don7"], "did you mean 'done'"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, finished_runs: Path, capsys) -> None:
    assert run(finished_runs, "sample", *arguments, "-n", "1") == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_where_nothing_can_be_written_nothing_is_drawn(
    finished_runs: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixeltui.commands import drawing

    (tmp_path / "a.png").mkdir()
    monkeypatch.setattr(drawing, "drawn", lambda *_: pytest.fail("was drawn"))
    for out, why in ((tmp_path / "a.png", "it is a folder"), (tmp_path / "b" / "a.npz", "there is no folder")):
        assert run(finished_runs, "sample", "done", "--out", str(out)) == 1
        assert why in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(runs_copy: Path, tmp_path: Path, capsys) -> None:
    folder = runs_copy / "done" / "checkpoints"
    for name in ("last", "step-00000010"):
        with (folder / f"{name}.safetensors").open("r+b") as file:
            file.truncate(500)
    (folder / "best.safetensors").unlink()
    out = str(tmp_path / "a.png")
    assert run(runs_copy, "sample", "done", "-n", "1", "--checkpoint", "last", "--out", out) == 0
    message = capsys.readouterr().err
    assert "last.safetensors is damaged" in message
    assert "step-00000005.safetensors is used" in message
    assert run(runs_copy, "sample", "done", "-n", "1", "--checkpoint", "10", "--out", out) == 1, "asked for by its step"
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert run(runs_copy, "sample", "done", "-n", "1", "--out", out) == 1
    *each, last = capsys.readouterr().err.splitlines()
    assert "step-00000005.safetensors is damaged" in "".join(each)
    assert "every checkpoint of run done is damaged" in last
    for path in folder.iterdir():
        path.rename(f"{path}.damaged")
    assert run(runs_copy, "eval", "done") == 1, "set aside, as by a resume"
    assert "every checkpoint of run done is damaged" in capsys.readouterr().err


def evaluated(runs: Path, capsys, *arguments: str) -> dict:
    capsys.readouterr()
    assert run(runs, "eval", "done", "--json", *arguments) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def test_eval_agrees_with_training(finished_runs: Path, capsys) -> None:
    report = evaluated(finished_runs, capsys, "--checkpoint", "last")
    assert {
        "run",
        "checkpoint",
        "weights",
        "split",
        "images",
        "bits_per_dim",
        "bits_per_dim_se",
        "nats_per_dim",
        "perplexity",
        "per_class",
    } <= report.keys()
    lines = (finished_runs / "done" / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    (val,) = [e for e in events if e["type"] == "eval" and e["split"] == "val" and e["step"] == 10]
    report = evaluated(finished_runs, capsys, "--checkpoint", "last", "--split", "val")
    assert report["bits_per_dim"] == pytest.approx(val["bits_per_dim"], abs=1e-6)
    assert report["bits_per_dim_se"] == pytest.approx(val["bits_per_dim_se"], abs=1e-6)
    assert report["nats_per_dim"] == pytest.approx(report["bits_per_dim"] * math.log(2))
    assert report["perplexity"] == pytest.approx(math.exp(report["nats_per_dim"]))
    assert set(report["per_class"]) <= {"0", "1", "2"}
    raw = evaluated(finished_runs, capsys, "--checkpoint", "last", "--weights", "raw")
    assert raw["bits_per_dim"] != report["bits_per_dim"]


def test_eval_on_other_data_and_batch_size_does_not_matter(
    finished_runs: Path, tiny_npz: Path, tmp_path: Path, capsys
) -> None:
    other = tmp_path / "other.npz"
    shutil.copy(tiny_npz, other)
    one = evaluated(finished_runs, capsys, "--batch-size", "1")
    same = evaluated(finished_runs, capsys, "--data", str(other), "--batch-size", "7")
    assert same["bits_per_dim"] == pytest.approx(one["bits_per_dim"], abs=1e-6)
    assert same["data"] == "other.npz"


def test_eval_says_which_part_of_other_data_it_scores_and_takes_all(
    finished_runs: Path, tiny_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that have no splits, a test split alone, and too few images to cut any."""
    with np.load(tiny_npz) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    plain, held_out, few = (tmp_path / f"{name}.npz" for name in ("plain", "held-out", "few"))
    np.savez(plain, images=images, labels=labels)
    np.savez(held_out, test_images=images, test_labels=labels)
    np.savez(few, images=images[:2], labels=labels[:2])

    def scored(path: Path, split: str) -> dict:
        return evaluated(finished_runs, capsys, "--data", str(path), "--split", split)

    assert run(finished_runs, "eval", "done", "--data", str(plain)) == 0
    assert "cut as for training: train 76, val 10, test 10; --split all takes all" in capsys.readouterr().err
    whole = scored(plain, "all")
    assert (whole["split"], whole["images"]) == ("all", 96)
    parts = [scored(plain, split) for split in ("train", "val", "test")]
    mean = sum(part["bits_per_dim"] * part["images"] for part in parts) / 96
    assert whole["bits_per_dim"] == pytest.approx(mean, abs=1e-5)
    assert scored(held_out, "test")["bits_per_dim"] == pytest.approx(mean, abs=1e-5)
    assert scored(few, "all")["images"] == 2
    assert run(finished_runs, "eval", "done", "--data", str(plain), "--split", "all") == 0
    assert capsys.readouterr().err == ""
    np.savez(few, images=images[:1], labels=labels[:1])
    assert run(finished_runs, "eval", "done", "--data", str(few), "--split", "all") == 0
    told = capsys.readouterr()
    assert "few.npz, all of it, 1 image\n" in told.out
    assert "--split all" not in told.err
    assert run(finished_runs, "eval", "done", "--data", str(held_out)) == 0
    assert capsys.readouterr().err == ""
    assert run(finished_runs, "eval", "done", "--data", str(held_out), "--split", "train") == 1
    assert "no images in train: --split test" in capsys.readouterr().err


def test_eval_refuses_data_of_another_shape(finished_runs: Path, tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "big.npz", images=np.zeros((30, 9, 9), np.uint8))
    assert run(finished_runs, "eval", "done", "--data", str(tmp_path / "big.npz")) == 1
    assert "expects images of 1x6x5" in capsys.readouterr().err


def test_eval_in_words(finished_runs: Path, capsys) -> None:
    assert run(finished_runs, "eval", "done") == 0
    out = capsys.readouterr().out
    for word in ("bits/dim", "nats/dim", "perplexity", "±", "test split, 10 images"):
        assert word in out


def test_grid_colours_are_those_of_the_levels() -> None:
    import torch

    from pixeltui.data.grid import grid_png

    images = torch.tensor([[[[0, 3], [1, 2]]]], dtype=torch.uint8)
    with Image.open(io.BytesIO(grid_png(images, levels=4))) as picture:
        colours = {colour for _, colour in picture.getcolors() or []}
    assert {(0, 0, 0), (85, 85, 85), (170, 170, 170), (255, 255, 255)} <= colours


def test_data_of_another_shape_in_place_of_the_runs_own(runs_copy: Path, tmp_path: Path, capsys) -> None:
    """Whatever asks for images of the run's data says the same."""
    np.savez(tmp_path / "big.npz", images=np.zeros((30, 9, 9), np.uint8))
    RunDir(runs_copy / "done").update_meta(overrides=[f"data.name={tmp_path / 'big.npz'}"])
    for words in (["eval", "done"], ["complete", "done", "test:0", "--keep-rows", "2"], ["bench", "codec", "done"]):
        assert run(runs_copy, *words) == 1
        assert "is no longer what the run was trained on: the model expects images of 1x6x5" in capsys.readouterr().err
