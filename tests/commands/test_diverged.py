"""Commands on runs whose training has diverged: strict JSON, short figures, one line instead of a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_arguments

from pixeltui.cli import main

CODEC = ("bench", "codec", "--images", "2")


@pytest.fixture(scope="module")
def runs(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs "far", whose likelihoods are huge, and "lost", whose likelihoods are not finite."""
    folder = tmp_path_factory.mktemp("diverged")
    for name, lr in (("far", "3e3"), ("lost", "1e10")):
        words = [*tiny_arguments(tiny_npz), "--name", name]
        for one in ("train.steps=4", f"train.lr={lr}", f"train.muon_lr={lr}", "train.weight_decay=0"):
            words += ["--set", one]
        main(["--no-ui", "--runs-dir", str(folder), "train", *words])
    return folder


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_figures_that_are_not_finite_are_null(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["--runs-dir", str(runs), "eval", "lost", "--json", "--classify", "--weights", "both"]) == 0
    report = strict(capsys.readouterr().out)
    assert report["bits_per_dim"] is None
    assert report["classification"]["label_bits"] is None
    assert main(["--runs-dir", str(runs), "eval", "far", "--json"]) == 0
    report = strict(capsys.readouterr().out)
    assert report["bits_per_dim"] > 1e6
    assert report["perplexity_se"] is None


@pytest.mark.parametrize("words", [("inspect", "far", "--images", "2", "--json"), (*CODEC, "far", "--json")])
def test_other_documents_are_strict_too(words: tuple[str, ...], runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    main(["--runs-dir", str(runs), *words])
    strict(capsys.readouterr().out)


def test_huge_figures_are_short(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["eval", "far"], ["runs", "show", "far"]):
        capsys.readouterr()
        assert main(["--runs-dir", str(runs), *words]) == 0
        out = capsys.readouterr().out
        assert "1.014e+304" in out
        assert max(len(line) for line in out.splitlines() if "304" in line) < 120
    assert "perplexity 1.014e+304" in (runs / "far" / "log.txt").read_text()


@pytest.mark.parametrize("words", [("inspect",), ("sample",), ("sweep", "--temperatures", "0.9,1"), CODEC])
def test_without_finite_likelihoods_one_line_says_so(
    words: tuple[str, ...], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["--runs-dir", str(runs), *words, "lost"]) == 1
    message = capsys.readouterr().err
    assert "likelihoods are not finite, as its training diverged" in message
    assert len(message.splitlines()) == 1


def test_a_model_card_leaves_out_what_is_not_finite(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "lost.safetensors"
    assert main(["--runs-dir", str(runs), "runs", "export", "lost", "--out", str(out)]) == 0
    assert "not measured with these weights" in out.with_suffix(".md").read_text()
