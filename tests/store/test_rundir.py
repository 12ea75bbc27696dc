"""Run directories: making, finding, moving, listing; and what is no run."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pixeltui import events
from pixeltui.errors import UsageError, UserError
from pixeltui.session.recorder import Recorder
from pixeltui.store.files import Lock
from pixeltui.store.rundir import RunDir, find_run, new_run_name
from pixeltui.store.summary import LONG, age, list_runs, summarize
from pixeltui.store.view import read_view


def make(runs: Path, name: str = "a-run", **meta: object) -> RunDir:
    return RunDir.create(runs, name, "", {"preset": "quick", "data": {"name": "digits"}, **meta})


def train_a_little(run: RunDir, *, last_state: str = "training") -> None:
    recorder = Recorder(run)
    recorder.emit(
        events.Started(t=1.0, step=0, total_steps=50, steps_per_epoch=10, parameters=12, device="cpu", precision="fp32")
    )
    for step in range(1, 21):
        recorder.emit(
            events.Step(
                t=1.0 + step,
                step=step,
                epoch=step / 10,
                loss=1.0,
                bits_per_dim=1.44,
                lr=0.1,
                grad_norm=1.0,
                images_per_second=100.0,
            )
        )
    recorder.emit(events.StateChanged(t=30.0, state=last_state, step=20))
    recorder.close()


def test_a_new_run_has_its_layout(tmp_path: Path) -> None:
    run = make(tmp_path / "runs", "first")
    assert {p.name for p in run.path.iterdir()} == {
        "config.toml",
        "meta.json",
        "events.jsonl",
        "checkpoints",
        "samples",
        "control",
    }
    assert run.meta()["schema"] == 1
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["first"], "no temporary folder is left"


def test_names(tmp_path: Path) -> None:
    make(tmp_path, "taken")
    with pytest.raises(UsageError, match="already"):
        make(tmp_path, "taken")
    for bad in ("", ".hidden", "-x", "a/b", "../up", "a b", "a\x1b[31m", "é", "x" * 101):
        with pytest.raises(UsageError, match="cannot be a run's name"):
            make(tmp_path, bad)
    assert new_run_name("quick", "/data/My Images/cats & dogs.npz").startswith("quick-cats-dogs-")
    assert new_run_name("quick", "d") != new_run_name("quick", "d")


def test_find_by_name_prefix_and_path(tmp_path: Path) -> None:
    for name in ("alpha", "alphabet", "beta"):
        make(tmp_path, name)
    assert find_run(tmp_path, "alpha").name == "alpha", "the whole name wins over being a prefix"
    assert find_run(tmp_path, "be").name == "beta"
    assert find_run(tmp_path, str(tmp_path / "beta")).name == "beta"
    with pytest.raises(UserError, match="begins the names of 2 runs: alpha, alphabet; give more of the name"):
        find_run(tmp_path, "alp")
    with pytest.raises(UserError, match="did you mean 'beta'"):
        find_run(tmp_path, "betta")
    with pytest.raises(UserError, match="no runs there"):
        find_run(tmp_path / "empty", "x")


def test_a_path_needs_no_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    make(runs, "alpha")
    for name in ("al", "beta"):
        make(elsewhere, name)
    (elsewhere / "alph").mkdir()
    monkeypatch.chdir(elsewhere)
    assert find_run(runs, "beta").path == elsewhere / "beta"
    assert find_run(runs, "al").path == elsewhere / "al", "a whole path wins over being a prefix"
    assert find_run(runs, "alph").path == runs / "alpha", "a folder that is no run is none"
    with pytest.raises(UserError, match="no run '~nobody'"):
        find_run(runs, "~nobody")


def test_a_damaged_run_is_deleted_by_its_path_as_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        make(tmp_path / "runs", name).meta_path.write_text("[")
    monkeypatch.chdir(tmp_path)
    find_run(Path("elsewhere"), "./runs/one", even_damaged=True).delete()
    find_run(Path("runs"), "two", even_damaged=True).delete()
    assert {path.name for path in (tmp_path / "runs" / ".trash").iterdir()} == {"one", "two"}


def test_what_is_no_lock_file_keeps_no_run_from_being_deleted(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two", "three")):
        run = make(tmp_path, name)
        lock = run.path / "lock"
        (lock.mkdir, lambda lock=lock: lock.symlink_to("nowhere"), lambda lock=lock: os.mkfifo(lock))[number]()
        run.delete()
    assert list_runs(tmp_path) == []


def test_a_run_that_is_a_link_keeps_its_name(tmp_path: Path) -> None:
    real = make(tmp_path / "else", "real")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "link").symlink_to("../else/real")
    for reference in ("link", str(runs / "link")):
        run = find_run(runs, reference)
        assert (run.name, run.path) == ("link", runs / "link")
        assert summarize(run.path).name == "link"
    find_run(runs, "link").rename("other")
    assert find_run(runs, "other").meta() == real.meta()
    assert find_run(runs, str(real.path)).name == "real", "what it leads to is left alone"


def test_what_finds_a_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIXELTUI_RUNS_DIR", raising=False)
    run, other = make(Path("runs"), "one"), make(tmp_path / "of others", "two")
    assert run.reference() == run.reference(Path("runs")) == "one"
    assert run.reference(tmp_path / "of others") == str(tmp_path / "runs" / "one")
    assert other.reference() == f"'{tmp_path}/of others/two'"
    assert other.reference(Path("of others")) == "two"
    monkeypatch.setenv("PIXELTUI_RUNS_DIR", "of others")
    assert other.reference() == "two"
    run.path.rename(run.path.with_name("a b"))
    assert RunDir(Path("runs/a b")).reference(Path("runs")) == "'a b'"


def test_older_schema_opens_and_a_newer_one_is_refused_with_the_reason(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.update_meta(schema=0)
    assert RunDir.open(run.path).name == "a-run"
    run.update_meta(schema=99)
    with pytest.raises(UserError, match=r"newer pixeltui \(schema 99"):
        RunDir.open(run.path)
    assert summarize(run.path).state == "damaged"


def test_rename_and_delete(tmp_path: Path) -> None:
    run = make(tmp_path)
    with Lock.acquire(run.path), pytest.raises(UserError, match="is training"):
        run.rename("other")
    renamed = run.rename("other")
    assert renamed.meta()["preset"] == "quick"
    with Lock.acquire(renamed.path), pytest.raises(UserError, match="is training"):
        renamed.delete()
    trashed = renamed.delete()
    assert (trashed / "meta.json").is_file()
    assert list_runs(tmp_path) == []
    make(tmp_path, "other").delete()
    assert len(list((tmp_path / ".trash").iterdir())) == 2, "a second run of that name does not replace the first"


def test_a_run_that_this_process_locked_is_told_from_another_of_its_name(tmp_path: Path) -> None:
    run = make(tmp_path)
    with run.lock():
        assert run.own(run.samples_dir) == run.samples_dir
        run.path.rename(tmp_path / "moved")
        assert not run.is_in_place()
        other = make(tmp_path)
        assert not run.is_in_place(), "another one as it is made"
        with other.lock():
            assert not run.is_in_place(), "another one as it trains"
            with pytest.raises(OSError, match="was moved or deleted"):
                run.own(run.samples_dir)
            assert other.is_in_place()
        other.path.rename(tmp_path / "other")
        (tmp_path / "moved").rename(run.path)
        assert run.is_in_place()
        (run.path / "lock").unlink()
        assert run.is_in_place(), "without its lock file it is the same run"


def test_summary_follows_the_log(tmp_path: Path) -> None:
    run = make(tmp_path, tags=["good"])
    train_a_little(run)
    with Lock.acquire(run.path):
        assert summarize(run.path).state == "training"
    summary = summarize(run.path)
    assert summary.state == "crashed", "its last word was training, and no process holds its lock"
    assert (summary.step, summary.total_steps, summary.epoch) == (20, 50, 2.0)
    assert (summary.preset, summary.data, summary.parameters, summary.tags) == ("quick", "digits", 12, ("good",))
    assert summary.images_per_second == 100.0
    assert summary.updated == "1970-01-01T00:00:30Z"
    train_a_little(run, last_state="finished")
    assert summarize(run.path).state == "finished"


def test_summary_of_a_long_log_reads_its_ends(tmp_path: Path) -> None:
    run = make(tmp_path)
    train_a_little(run)
    line = run.events_path.read_bytes().splitlines(keepends=True)[5]
    with run.events_path.open("ab") as file:
        file.write(line * 20_000)
    with run.events_path.open("ab") as file:
        file.write(line.replace(b'"step":5', b'"step":77'))
    summary = summarize(run.path)
    assert (summary.step, summary.total_steps, summary.parameters) == (77, 50, 12)


def test_the_test_score_of_a_long_log_is_found_wherever_it_is(tmp_path: Path) -> None:
    run = make(tmp_path)
    train_a_little(run)
    line = run.events_path.read_bytes().splitlines(keepends=True)[5]
    recorder = Recorder(run)
    score = {"split": "test", "weights": "ema", "images": 9, "epoch": 2.0, "nats_per_dim": 1.0, "perplexity": 2.7}
    for bits in (3.5, 3.25):
        recorder.emit(events.Evaluated(t=40.0, step=20, bits_per_dim=bits, **score))
        with run.events_path.open("ab") as file:
            file.write(line * 25_000)
    recorder.close()
    assert run.events_path.stat().st_size > LONG
    assert summarize(run.path).test_bits_per_dim == 3.25
    assert read_view(run.events_path)[0].test.bits_per_dim == 3.25


@pytest.mark.parametrize("name", ["events.jsonl", "config.toml"])
def test_a_run_without_its_log_or_its_config_is_damaged(tmp_path: Path, name: str) -> None:
    run = make(tmp_path)
    train_a_little(run)
    view, _ = read_view(run.events_path)
    (run.path / name).unlink()
    assert summarize(run.path).state == summarize(run.path, view).state == "damaged"
    (run.path / name).mkdir()
    assert summarize(run.path).state == summarize(run.path, view).state == "damaged"


@pytest.mark.parametrize("made_by", ["this version", "one before checksums"])
def test_a_config_that_is_no_toml_damages_a_run(tmp_path: Path, made_by: str) -> None:
    run = make(tmp_path)
    train_a_little(run)
    if made_by != "this version":
        meta = json.loads(run.meta_path.read_text())
        del meta["config_crc32"]
        run.meta_path.write_text(json.dumps(meta))
    whole, state = run.config_path.read_text(), summarize(run.path).state
    run.config_path.write_text(whole + "# of the user\n")
    assert summarize(run.path).state == state != "damaged"
    run.config_path.write_text(whole + "no = [ toml")
    assert summarize(run.path).state == "damaged"


def test_list_survives_everything_that_is_no_run(tmp_path: Path) -> None:
    make(tmp_path, "whole")
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"x")
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "meta.json").write_text('{"schema": 1, "da')
    (tmp_path / "evil\x1b[31m[bold]").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name, content in (
        ("nulls", b"\0" * 99),
        ("list", b"[]"),
        ("deep", b"[" * 100_000),
        ("latin", b'{"a": "\xe9"}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_bytes(content)
    odd = make(tmp_path, "odd")
    odd.update_meta(data=3, tags=7, created="yesterday", preset=[1])
    states = {run.name: run.state for run in list_runs(tmp_path)}
    assert "a-file" not in states
    assert "dangling" not in states
    assert "loop" not in states
    assert {name for name, state in states.items() if state != "damaged"} <= {"whole"}
    assert len(states) == 10


def test_a_crash_while_a_run_is_made_leaves_none(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pixeltui.store import rundir\n"
        "rundir.fsync = lambda path: os._exit(9)\n"
        "original = Path.rename\n"
        "Path.rename = lambda self, target: os._exit(9)\n"
        f"rundir.RunDir.create(Path({str(tmp_path)!r}), 'x', '', {{}})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert list_runs(tmp_path) == []
    assert make(tmp_path, "x").name == "x"


def test_read_only_folder_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UserError, match="try another --runs-dir"):
        make(blocked / "runs")


def test_a_run_that_cannot_be_locked_is_one_line(tmp_path: Path) -> None:
    run = make(tmp_path)
    (run.path / "lock").mkdir()
    with pytest.raises(UserError, match=r"run a-run cannot be locked: .*Is a directory"):
        Lock.acquire(run.path)


def test_meta_is_replaced_whole(tmp_path: Path) -> None:
    run = make(tmp_path)
    inode = run.meta_path.stat().st_ino
    run.update_meta(note="ä\x1b")
    assert run.meta_path.stat().st_ino != inode, "a new file took its place"
    assert json.loads(run.meta_path.read_text())["note"] == "ä\x1b"
    assert not list(run.path.glob(".tmp*"))


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "just now"), (120, "2 min ago"), (3 * 3600, "3 h ago"), (49 * 3600, "2 d ago")]
)
def test_age(seconds: int, words: str) -> None:
    assert age("1970-01-01T00:00:00Z", now=seconds) == words


def test_changes_of_what_is_known_of_a_run_wait_for_one_another(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "one", "", {"tags": []})

    def add(number: int) -> None:
        run.change_meta(lambda meta: {"tags": [*meta["tags"], str(number)]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert sorted(run.meta()["tags"], key=int) == [str(number) for number in range(24)]
