"""`pixeltui train`: what is made, said and refused."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import pixeltui
from pixeltui import events
from pixeltui.cli import main
from pixeltui.commands.train import conclude
from pixeltui.config import load_config
from pixeltui.session import worker
from pixeltui.store.rundir import RunDir, find_run
from pixeltui.store.summary import list_runs
from pixeltui.train.precision import pick_device
from pixeltui.train.trainer import Outcome
from pixeltui.train.update import Updater

Train = Callable[..., int]


def test_a_run_from_beginning_to_end(tiny_train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny_train("--set", "train.epochs=3", "--set", "sample.every=1 epoch", "--name", "first") == 0
    out = capsys.readouterr().out
    for expected in (
        "run first in",
        f"parameters on {pick_device('auto').type}",
        "step 1/",
        "val ",
        "test ",
        "best epoch",
        "generalisation gap",
    ):
        assert expected in out, expected
    assert "sample first --show" in out
    run = RunDir.open(tmp_path / "runs" / "first")
    assert {"config.toml", "meta.json", "events.jsonl", "log.txt", "lock", "checkpoints", "samples", "control"} == {
        path.name for path in run.path.iterdir()
    }
    meta = run.meta()
    assert meta["data"]["images"] == {"train": 76, "val": 10, "test": 10}
    assert len(meta["data"]["checksum"]) == 64
    assert meta["versions"]["torch"]
    lines = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    steps = [line for line in lines if line["type"] == "step"]
    assert {"t", "step", "loss", "bits_per_dim", "lr"} <= steps[0].keys()
    evaluations = [line for line in lines if line["type"] == "eval"]
    assert {line["split"] for line in evaluations} == {"train", "val", "test"}
    assert "best so far" in run.log_path.read_text()


def test_the_commit_is_that_of_the_folder_or_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=one", "-c", "user.email=one@example.org"]
        return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()

    for folder in ("checkout", "plain", "package"):
        (tmp_path / folder).mkdir()
    found = []
    for folder in ("checkout", "package"):
        monkeypatch.chdir(tmp_path / folder)
        git("init", "-q")
        git("commit", "-q", "--allow-empty", "-m", folder)
        found.append(git("rev-parse", "HEAD"))
    (tmp_path / "package" / "new.py").touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(pixeltui, "__file__", str(tmp_path / "package" / "__init__.py"))
    monkeypatch.chdir(tmp_path / "checkout")
    assert worker._git_commit() == {"commit": found[0], "changes": False}
    monkeypatch.chdir(tmp_path / "plain")
    assert worker._git_commit() == {"commit": found[1], "changes": True}


def test_the_saved_config_runs_again_from_another_folder(
    tiny_train: Train, tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_npz.parent)
    assert tiny_train("--set", "train.steps=4", "--set", f"data.name=./{tiny_npz.name}", "--name", "a") == 0
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "runs" / "a" / "config.toml"
    assert load_config(config).data.name == str(tiny_npz)
    assert main(["--no-ui", "--runs-dir", "runs", "train", "--config", str(config), "--name", "b"]) == 0
    losses = [
        [e.loss for e in RunDir(tmp_path / "runs" / name).read_events()[0] if isinstance(e, events.Step)]
        for name in "ab"
    ]
    assert losses[0] == losses[1]


def test_resume_with_more_steps_and_another_learning_rate(tiny_train: Train, tmp_path: Path, capsys) -> None:
    assert tiny_train("--set", "train.steps=4", "--name", "a") == 0
    runs = ["--no-ui", "--runs-dir", str(tmp_path / "runs")]
    again = ["train", "--resume", "a", "--set", "train.steps=8", "--set", "train.lr=1e-5"]
    assert main([*runs, *again]) == 0
    run = RunDir(tmp_path / "runs" / "a")
    found = [e for e in run.read_events()[0] if isinstance(e, events.Step)]
    assert [e.step for e in found] == list(range(1, 9))
    assert found[4].lr <= 1e-5 < found[2].lr
    assert run.meta()["overrides"] == ["train.steps=8", "train.lr=1e-5"]
    capsys.readouterr()
    assert main([*runs, "train", "--resume", "a"]) == 0, "finished: nothing is left to do, and it says the figures"
    assert "step 9/" not in capsys.readouterr().out


@pytest.mark.parametrize(("override", "asks"), [("train.steps=9", "9"), ("train.epochs=1", "4")])
def test_fewer_steps_than_are_done_are_refused(override: str, asks: str, runs_copy: Path, capsys) -> None:
    runs = ["--runs-dir", str(runs_copy)]
    more = ["--set", "train.steps=0"] if "epochs" in override else []
    resume = ["--no-ui", *runs, "train", "--resume", "done"]
    assert main([*resume, *more, "--set", override]) == 2
    key = override.partition("=")[0]
    assert f"has done 10 steps, more than the {asks} that {key} asks for: set it higher" in capsys.readouterr().err
    assert list_runs(runs_copy)[0].total_steps == 10
    assert main([*resume, "--set", "train.steps=10"]) == 0
    assert main([*resume, "--set", "train.steps=12"]) == 0
    capsys.readouterr()
    assert main([*runs, "runs", "show", "done", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["train"]["steps"] == 12, "what the run has now"


def test_epochs_of_a_run_that_counts_steps_are_not_passed_over(runs_copy: Path, capsys) -> None:
    resume = ["--no-ui", "--runs-dir", str(runs_copy), "train", "--resume", "done", "--set", "train.epochs=4"]
    assert main(resume) == 2
    assert "the run is over at train.steps = 10, whatever its epochs" in capsys.readouterr().err
    assert list_runs(runs_copy)[0].step == 10
    assert main([*resume, "--set", "train.steps=0"]) == 0
    assert list_runs(runs_copy)[0].step == 16


@pytest.mark.parametrize("override", ["model.channels=16", "data.name=digits"])
def test_a_run_keeps_its_model_and_data(override: str, runs_copy: Path, capsys) -> None:
    status = main(["--no-ui", "--runs-dir", str(runs_copy), "train", "--resume", "done", "--set", override])
    assert status == 2
    assert "keeps its data and model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--set", "data.name=/no/such.npz"], 1, "/no/such.npz"),
        (["--set", "train.device=cuda:99"], 1, "no device 'cuda:99'"),
        (["--set", "train.device=gpu"], 2, "there is no 'gpu'"),
        (["--set", "data.name="], 2, "no data set and no path ''"),
        (["--name", "../evil"], 2, "cannot be a run's name"),
        (["--name", ""], 2, "cannot be a run's name"),
        (["--config", "/no/such.toml"], 2, "/no/such.toml"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run_is_made(
    arguments: list[str], status: int, message: str, tiny_train: Train, tmp_path: Path, capsys
) -> None:
    assert tiny_train("--set", "train.steps=2", *arguments) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list_runs(tmp_path / "runs") == []


def test_warm_up_longer_than_training_is_told(tiny_train: Train, capsys) -> None:
    assert tiny_train("--set", "train.steps=2", "--set", "train.warmup_epochs=9", "--name", "a") == 0
    assert "lower train.warmup_epochs" in capsys.readouterr().out


def test_a_training_whose_figures_are_not_finite_is_finished_and_says_so(
    tiny_train: Train, tmp_path: Path, capsys
) -> None:
    words = ["train.steps=5", "train.lr=1e15", "train.muon_lr=1e15", "train.grad_clip=0", "train.ema_decay=0"]
    assert tiny_train(*(word for override in words for word in ("--set", override)), "--name", "a") == 0
    captured = capsys.readouterr()
    assert "test        not finite bits/dim  not finite nats/dim  perplexity not finite" in captured.out
    assert captured.err == ""
    runs = ["--runs-dir", str(tmp_path / "runs")]
    for command in (["runs", "list"], ["runs", "show", "a"], ["report", "a", "--out", str(tmp_path / "a.html")]):
        assert main([*runs, *command]) == 0
    assert main([*runs, "runs", "export", "a", "--out", str(tmp_path / "a.safetensors")]) == 0


def test_where_an_error_was_that_nobody_expected_is_in_the_log(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may come after many hours, and not come again with --debug."""

    def breaks(*arguments: object) -> None:
        raise RuntimeError("something odd")

    monkeypatch.setattr(Updater, "update", breaks)
    assert tiny_train("--name", "run") == 1
    assert "unexpected RuntimeError: something odd" in capsys.readouterr().err
    log = (tmp_path / "runs" / "run" / "log.txt").read_text()
    assert "error: unexpected RuntimeError: something odd" in log
    assert "in breaks" in log


def test_how_to_go_on_is_said_for_runs_anywhere(runs_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    stopped = Outcome("stopped", 5, "SIGTERM")
    monkeypatch.chdir(runs_copy.parent)
    (runs_copy / "done").rename(runs_copy / "so far")
    for reference, runs_dir, words in (
        ("so far", "runs", "pixeltui --no-ui train --resume 'so far'"),
        ("so far", str(runs_copy), f"pixeltui --runs-dir {runs_copy} --no-ui train --resume 'so far'"),
        ("runs/so far", "else", f"pixeltui --no-ui train --resume '{runs_copy}/so far'"),
    ):
        run = find_run(Path(runs_dir), reference)
        assert conclude(stopped, run, Path(runs_dir)) == 143
        assert capsys.readouterr().out.endswith(f"to go on: {words}\n")
        assert conclude(Outcome("finished", 5), run, Path(runs_dir)) == 0
        sample = words.replace("--no-ui train --resume", "sample")
        assert capsys.readouterr().out.endswith(f"more of them: {sample} --show\n")
