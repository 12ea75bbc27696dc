"""Exported models: the card's own lines, in an interpreter that knows nothing else, give the run's model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pixeltui.cli import main
from pixeltui.errors import UserError
from pixeltui.store.rundir import RunDir
from pixeltui.train.export import load_exported
from pixeltui.train.load import load_model


@pytest.fixture
def exported(finished_runs: Path, tmp_path: Path) -> Path:
    out = tmp_path / "mine.safetensors"
    assert main(["--runs-dir", str(finished_runs), "runs", "export", "done", "--out", str(out)]) == 0
    return out


def test_the_lines_of_the_card_run_in_a_fresh_interpreter(exported: Path, finished_runs: Path) -> None:
    code = exported.with_suffix(".md").read_text().split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 5
    nats = "-model.log_prob(images, labels).mean()"
    assert nats in exported.with_suffix(".md").read_text()
    tell = f"import json; print(json.dumps([images.tolist(), float({nats}), about['classes']]))"
    done = subprocess.run(
        [sys.executable, "-c", code + tell], capture_output=True, text=True, cwd=exported.parent, check=True
    )
    images, nats, classes = json.loads(done.stdout)
    loaded = load_model(RunDir.open(finished_runs / "done"), device=torch.device("cpu"), warn=print)
    labels = torch.arange(16) % 3
    expected = loaded.model.sample(16, labels, temperature=0.9, seed=0)
    assert torch.equal(torch.tensor(images, dtype=torch.uint8), expected)
    assert nats == pytest.approx(-loaded.model.log_prob(expected, labels).mean().item(), rel=1e-5)
    assert classes == ["0", "1", "2"]


def test_the_card_says_what_was_measured(exported: Path, finished_runs: Path) -> None:
    card = exported.with_suffix(".md").read_text()
    lines = map(json.loads, (finished_runs / "done" / "events.jsonl").read_text().splitlines())
    test = next(e for e in lines if e["type"] == "eval" and e["split"] == "test")
    assert f"| test | {test['bits_per_dim']:.4f} ± {test['bits_per_dim_se']:.4f} |" in card
    meta = json.loads((finished_runs / "done" / "meta.json").read_text())
    assert meta["data"]["checksum"] in card
    assert meta["command"] in card


def test_the_card_has_the_test_figure_of_the_best_weights_after_later_steps(runs_copy: Path, tmp_path: Path) -> None:
    """Measured at the end of training, with the best checkpoint's weights."""
    log, checkpoints = runs_copy / "done" / "events.jsonl", runs_copy / "done" / "checkpoints"
    events = list(map(json.loads, log.read_text().splitlines()))
    for event in events:
        if event["type"] == "eval" and event["step"] == 10:
            event |= {"bits_per_dim": 9.0} if event["split"] == "val" else {"checkpoint": "best"}
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    (checkpoints / "best.safetensors").unlink()
    (checkpoints / "best.safetensors").hardlink_to(checkpoints / "step-00000005.safetensors")
    words = ["--runs-dir", str(runs_copy), "runs", "export", "done", "--out"]
    test = next(event["bits_per_dim"] for event in events if event["type"] == "eval" and event["split"] == "test")
    assert main([*words, str(tmp_path / "best.safetensors")]) == 0
    card = (tmp_path / "best.md").read_text()
    assert "EMA weights of step 5" in card
    assert f"| test | {test:.4f} ±" in card
    assert main([*words, str(tmp_path / "last.safetensors"), "--checkpoint", "last"]) == 0
    assert "| test |" not in (tmp_path / "last.md").read_text()


def test_no_tag_of_others_is_one_in_the_card(runs_copy: Path, tmp_path: Path) -> None:
    RunDir.open(runs_copy / "done").update_meta(note="</script><img src=x onerror=alert(1)>")
    (runs_copy / "done").rename(runs_copy / "a<b>c")
    out = tmp_path / "out.safetensors"
    assert main(["--runs-dir", str(runs_copy), "runs", "export", "a<b>c", "--out", str(out)]) == 0
    card = out.with_suffix(".md").read_text()
    assert "# a&lt;b&gt;c" in card
    assert "onerror" in card
    assert "<" not in card


def test_other_weights_are_not_given_figures_of_the_best(finished_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "raw.safetensors"
    words = ["runs", "export", "done", "--weights", "raw", "--checkpoint", "5", "--out", str(out)]
    assert main(["--runs-dir", str(finished_runs), *words]) == 0
    card = out.with_suffix(".md").read_text()
    assert "Raw weights of step 5" in card
    assert "not measured with these weights" in card


def test_the_file_is_plain_safetensors_with_the_config(exported: Path) -> None:
    model, about = load_exported(exported)
    assert {name: t.shape for name, t in load_file(exported).items()} == {
        name: t.shape for name, t in model.state_dict().items()
    }
    with safe_open(str(exported), "pt") as file:
        assert json.loads(file.metadata()["config"])["model"] == json.loads(file.metadata()["model"])
    assert about["config"]["model"]["channels"] == 8
    assert not model.training


@pytest.mark.parametrize("what", ["missing", "text", "foreign", "other weights", "other config"])
def test_what_is_no_exported_model_is_told_in_one_line(what: str, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with safe_open(str(exported), "pt") as file:
        about = file.metadata()
    tensors = load_file(exported)
    match what:
        case "text":
            path.write_text("no tensors")
        case "foreign":
            save_file(tensors, path)
        case "other weights":
            save_file({"a": torch.zeros(1)}, path, about)
        case "other config":
            save_file(tensors, path, {**about, "config": json.dumps({"model": {"channels": -1}})})
    with pytest.raises(UserError) as error:
        load_exported(path)
    assert "\n" not in str(error.value)
    assert "other.safetensors" in str(error.value)


@pytest.mark.parametrize(
    ("key", "claimed", "answer"),
    [
        ("config", {"model": {"channels": 6000, "blocks": 1}}, "cannot be: its model does not fit"),
        ("config", {"model": {"channels": 8192, "blocks": 10**9}}, "cannot be: 1000000000 blocks"),
        ("classes", [""] * 500_000, "cannot be: its model does not fit"),
        ("image_shape", [10**6, 8, 8], "<= 256"),
    ],
)
def test_no_memory_is_taken_for_what_the_tensors_do_not_vouch_for(
    key: str, claimed: Any, answer: str, exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    with safe_open(str(exported), "pt") as file:
        about = file.metadata()
    save_file(load_file(exported), path, {**about, key: json.dumps(claimed)})
    with pytest.raises(UserError, match=answer):
        load_exported(path)


def test_only_safetensors_is_written(finished_runs: Path, tmp_path: Path) -> None:
    words = ["runs", "export", "done", "--out", str(tmp_path / "mine.pt")]
    assert main(["--runs-dir", str(finished_runs), *words]) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_its_own_card_and_nothing_else(exported: Path, finished_runs: Path, capsys) -> None:
    again = ["--runs-dir", str(finished_runs), "runs", "export", "done", "--out"]
    assert main([*again, str(exported)]) == 0, "over an export of before"
    readme = exported.with_name("README.md")
    readme.write_text("# My project")
    capsys.readouterr()
    assert main([*again, str(exported.with_name("README.safetensors"))]) == 1
    assert "README.md is there, and no model card" in capsys.readouterr().err
    assert readme.read_text() == "# My project"
    assert not exported.with_name("README.safetensors").exists()
