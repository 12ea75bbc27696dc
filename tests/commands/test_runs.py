"""`pixeltui runs` on real and on broken runs."""

import io
import json
from pathlib import Path

import pytest

from pixeltui.cli import main
from pixeltui.events import Evaluated
from pixeltui.store.files import Lock
from pixeltui.store.rundir import RunDir

FIELDS = [
    "name",
    "path",
    "state",
    "data",
    "preset",
    "epoch",
    "step",
    "total_steps",
    "best_val_bits_per_dim",
    "test_bits_per_dim",
    "images_per_second",
    "parameters",
    "created",
    "updated",
    "tags",
]


def run(runs: Path, *arguments: str) -> int:
    return main(["--runs-dir", str(runs), "runs", *arguments])


def document(capsys, runs: Path, *arguments: str):
    capsys.readouterr()
    assert run(runs, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_list_json_has_the_promised_fields(finished_runs: Path, capsys) -> None:
    (found,) = document(capsys, finished_runs, "list")
    assert list(found) == FIELDS
    assert found["state"] == "finished"
    assert (found["data"], found["preset"], found["step"], found["total_steps"]) == ("tiny.npz", "quick", 10, 10)
    assert 0 < found["best_val_bits_per_dim"] < 3
    assert 0 < found["test_bits_per_dim"] < 3
    assert found["parameters"] > 100
    assert document(capsys, finished_runs) == [found], "the list is the default"


def test_show_json_adds_config_checkpoints_and_events(finished_runs: Path, capsys) -> None:
    found = document(capsys, finished_runs, "show", "do")
    assert set(FIELDS) <= found.keys()
    assert found["config"]["model"]["channels"] == 8
    assert "last.safetensors" in found["checkpoints"]
    assert found["events"] == len((finished_runs / "done" / "events.jsonl").read_text().splitlines())


def test_json_paths_lead_to_the_run_from_anywhere(finished_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(finished_runs.parent)
    here = Path(finished_runs.name)
    (listed,) = document(capsys, here, "list")
    (compared, _) = document(capsys, here, "compare", "done", "done")["runs"]
    paths = [listed["path"], document(capsys, here, "show", "done")["path"], compared["path"]]
    assert paths == [str(finished_runs / "done")] * 3


def test_list_and_show_in_words(finished_runs: Path, capsys) -> None:
    assert main(["--runs-dir", str(finished_runs), "runs"]) == 0
    out = capsys.readouterr().out
    assert "done" in out
    assert "finished" in out
    assert run(finished_runs, "show", "done") == 0
    out = capsys.readouterr().out
    assert "train.steps = 10" in out
    assert "perplexity" in out


def test_no_runs_yet_says_how_to_begin(tmp_path: Path, capsys) -> None:
    assert run(tmp_path / "none", "list") == 0
    assert "--preset quick" in capsys.readouterr().out


def test_tags_note_and_rename(runs_copy: Path, capsys) -> None:
    assert run(runs_copy, "tag", "done", "good", "wide") == 0
    assert run(runs_copy, "tag", "done", "good", "--remove") == 0
    assert run(runs_copy, "note", "done", "the one from Tuesday") == 0
    assert run(runs_copy, "rename", "done", "best-of-all") == 0
    found = document(capsys, runs_copy, "show", "best-of-all")
    assert found["tags"] == ["wide"]
    assert found["note"] == "the one from Tuesday"
    assert found["state"] == "finished"
    assert run(runs_copy, "tag", "best-of-all", "two words") == 2
    assert run(runs_copy, "rename", "best-of-all", "../up") == 2


def test_delete_asks_and_moves_to_the_trash(runs_copy: Path, capsys) -> None:
    assert run(runs_copy, "delete", "done") == 2, "no terminal to ask on"
    said = capsys.readouterr().err
    assert said.endswith(f"pixeltui --runs-dir {runs_copy} runs delete done --yes\n"), "as it can be pasted"
    with Lock.acquire(runs_copy / "done"):
        assert run(runs_copy, "delete", "done", "--yes") == 1
    assert run(runs_copy, "delete", "done", "--yes") == 0
    assert document(capsys, runs_copy, "list") == []
    assert (runs_copy / ".trash" / "done" / "config.toml").is_file()


def test_an_end_of_the_input_is_no_yes(runs_copy: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D at the question."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert run(runs_copy, "delete", "done") == 0
    assert capsys.readouterr().out == "delete run done? [y/N] \nkept\n"
    assert (runs_copy / "done" / "config.toml").is_file()


def test_compare_shows_what_differs(runs_copy: Path, capsys) -> None:
    config = runs_copy / "done" / "config.toml"
    other = ["--set", "train.lr=0.5", "--set", "model.channels=4", "--name", "other"]
    assert main(["--runs-dir", str(runs_copy), "train", "--config", str(config), *other]) == 0
    found = document(capsys, runs_copy, "compare", "done", "other")
    assert found["config"] == {"model.channels": [8, 4], "train.lr": [0.03, 0.5]}
    assert [one["name"] for one in found["runs"]] == ["done", "other"]
    assert run(runs_copy, "compare", "done", "other") == 0
    said = capsys.readouterr()
    rows = {line.split("  ")[0]: line for line in said.out.splitlines()}
    best = [e for e in RunDir(runs_copy / "done").read_events()[0] if isinstance(e, Evaluated) and e.split == "val"]
    assert f"{best[-1].bits_per_dim:.4f} ± {best[-1].bits_per_dim_se:.4f}" in rows["val, best"]
    assert rows["model.channels"].split()[1:] == ["8", "4"]
    assert "different data" not in said.err
    RunDir(runs_copy / "other").update_meta(overrides=["train.lr=0.25"], data={"checksum": "0"})
    assert document(capsys, runs_copy, "compare", "done", "other")["config"]["train.lr"] == [0.03, 0.25]
    assert run(runs_copy, "compare", "done", "other") == 0
    assert "different data" in capsys.readouterr().err
    assert run(runs_copy, "compare", "done") == 2


def test_without_a_terminal_the_console_names_the_commands_that_need_none(runs_copy: Path, capsys) -> None:
    for words in (["attach", "done"], ["--no-ui", "attach", "done"]):
        assert main(["--runs-dir", str(runs_copy), *words]) == 2
        assert "pixeltui runs show RUN" in capsys.readouterr().err


def test_hostile_names_and_notes_reach_no_terminal(runs_copy: Path, capsys) -> None:
    evil = "evil\x1b[31m[bold]\u202e"
    (runs_copy / "done").rename(runs_copy / evil)
    assert run(runs_copy, "note", "evil", "\x1b]0;title\x07[red]note") == 0
    for words in (["list"], ["show", "evil"], ["compare", "evil", "evil"]):
        assert run(runs_copy, *words) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "[bold]" in out


def test_broken_runs_are_listed_as_damaged(runs_copy: Path, capsys) -> None:
    (runs_copy / "half").mkdir()
    (runs_copy / "half" / "meta.json").write_text("{")
    states = {one["name"]: one["state"] for one in document(capsys, runs_copy, "list")}
    assert states == {"done": "finished", "half": "damaged"}
    assert run(runs_copy, "show", "half") == 1
    (runs_copy / "done" / "config.toml").write_text("[[[")
    assert run(runs_copy, "show", "done") == 1


def test_a_file_is_no_folder_of_runs(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("no run")
    assert run(tmp_path / "file", "list") == 1
    assert "is a file" in capsys.readouterr().err


def test_list_on_a_terminal_is_cut_to_its_width(finished_runs: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert run(finished_runs, "list") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert max(len(header), len(row)) <= 80
    assert row.startswith("done")
    assert {"name", "state", "val", "age"} <= set(header.split())
