"""The fast list of runs: always what the logs say."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pixeltui import events
from pixeltui.store import summary as module
from pixeltui.store.files import Lock
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import CACHE_NAME, list_runs, summarize

STARTED = dict(steps_per_epoch=10, parameters=7, device="cpu", precision="fp32")


def line(event: events.AnyEvent) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def started(step: int = 0, total: int = 50) -> bytes:
    return line(events.Started(t=1.0, step=step, total_steps=total, **STARTED))


def step(number: int, speed: float = 1.0) -> bytes:
    return line(events.Step(
        t=2.0, step=number, epoch=1.0, loss=1.0, bits_per_dim=1.0, lr=1.0, grad_norm=1.0, images_per_second=speed
    ))  # fmt: skip


def scored(number: int, bits: float, split: str = "val") -> bytes:
    return line(events.Evaluated(
        t=2.0, step=number, epoch=1.0, split=split, weights="ema", images=1, bits_per_dim=bits, nats_per_dim=bits,
        perplexity=1.0,
    ))  # fmt: skip


def state(name: str, number: int) -> bytes:
    return line(events.StateChanged(t=3.0, state=name, step=number))


def make(runs: Path, name: str, *lines: bytes) -> RunDir:
    run = RunDir.create(runs, name, "", {"preset": "quick", "data": {"name": "digits"}})
    run.events_path.write_bytes(b"".join(lines))
    return run


@pytest.fixture
def never_read(monkeypatch: pytest.MonkeyPatch):
    def forbid() -> None:
        def refuse(path: Path) -> None:
            raise AssertionError(f"{path} was read again")

        monkeypatch.setattr(module, "summarize", refuse)

    return forbid


def test_a_run_that_did_not_change_is_not_read_again(tmp_path: Path, never_read) -> None:
    make(tmp_path, "a", started(), step(3), state("finished", 3))
    make(tmp_path, "b", started(), step(4))
    first = list_runs(tmp_path)
    assert {run.name: run.state for run in first} == {"a": "finished", "b": "crashed"}
    never_read()
    assert list_runs(tmp_path) == first


def test_every_change_shows(tmp_path: Path) -> None:
    run = make(tmp_path, "a", started(), step(3), state("stopped", 3))
    assert list_runs(tmp_path)[0].state == "stopped"
    with run.events_path.open("ab") as log:
        log.write(started(3) + step(5))
    with Lock.acquire(run.path):
        assert (list_runs(tmp_path)[0].state, list_runs(tmp_path)[0].step) == ("training", 5)
    assert list_runs(tmp_path)[0].state == "crashed"
    with Lock.acquire(run.path):
        assert list_runs(tmp_path)[0].state == "training", "the log is the same, its writer is not"
    run.update_meta(tags=["new"])
    assert list_runs(tmp_path)[0].tags == ("new",)
    run.rename("b")
    assert [(found.name, found.path) for found in list_runs(tmp_path)] == [("b", str(tmp_path / "b"))]
    RunDir(tmp_path / "b").delete()
    make(tmp_path, "b", started(), step(1))
    assert list_runs(tmp_path)[0].step == 1, "another run under an old name"


@pytest.mark.parametrize("listed_before", [False, True])
def test_a_run_without_its_config_is_damaged(tmp_path: Path, listed_before: bool) -> None:
    run = make(tmp_path, "a", started(), state("finished", 0))
    if listed_before:
        assert [found.state for found in list_runs(tmp_path)] == ["finished"]
    config = run.config_path.read_bytes()
    run.config_path.unlink()
    assert [found.state for found in list_runs(tmp_path)] == ["damaged"]
    run.config_path.write_bytes(config)
    assert [found.state for found in list_runs(tmp_path)] == ["finished"]


def test_the_same_list_under_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "runs", "a", started(), state("finished", 0))
    list_runs(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert list_runs(Path("runs"))[0].path == "runs/a"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 99999, b'{"version": 1, "kept": {"a": 1}}', b"null"])
def test_whatever_is_kept_wrong_is_made_again(content: bytes, tmp_path: Path) -> None:
    make(tmp_path, "a", started(), step(3), state("finished", 3))
    (tmp_path / CACHE_NAME).write_bytes(content)
    assert [(run.name, run.step) for run in list_runs(tmp_path)] == [("a", 3)]
    assert list_runs(tmp_path) == [summarize(tmp_path / "a")]


def test_where_nothing_can_be_kept_the_list_is_the_same(tmp_path: Path) -> None:
    make(tmp_path, "a", started(), state("finished", 0))
    (tmp_path / CACHE_NAME).mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["a"]
    assert not list(tmp_path.glob(".tmp*"))


def test_a_long_log_tells_what_a_short_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [started(total=500), *(step(n) for n in range(1, 900)), scored(400, 3.0), started(300, total=9000)]
    lines += [step(n, speed=5.0) for n in range(301, 2500)] + [scored(2500, 3.5), state("paused", 2500)]
    whole = summarize(make(tmp_path, "a", *lines).path)
    assert (whole.step, whole.total_steps, whole.epoch, whole.images_per_second) == (2500, 9000, 250.0, 5.0)
    monkeypatch.setattr(module, "LONG", 1000)
    assert summarize(tmp_path / "a") == whole
    for piece in (64, 100, 1001):  # what is looked for lies in two of them, too
        monkeypatch.setattr(module, "SEARCHED", piece)
        assert summarize(tmp_path / "a") == whole


def test_garbage_at_the_end_of_a_long_log_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG", 1000)
    lines = [started(), *(step(n) for n in range(1, 900)), state("finished", 899), b"\0" * 300_000 + b"\n"]
    found = summarize(make(tmp_path, "a", *lines).path)
    assert (found.state, found.step) == ("finished", 899)


def test_a_long_log_that_shrinks_while_it_is_read_ends_nobody(tmp_path: Path) -> None:
    make(tmp_path, "a", started(), *(step(n) for n in range(1, 900)), state("finished", 899))
    done = subprocess.run([sys.executable, "-c", SHRINKS, str(tmp_path / "a")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


SHRINKS = """
import os, sys
from pathlib import Path
from pixeltui.store import summary
def shrinks(*arguments, read=summary._ends):
    os.truncate(f"{sys.argv[1]}/events.jsonl", 100)
    return read(*arguments)
summary._ends, summary.LONG = shrinks, 1000
summary.summarize(Path(sys.argv[1]))
"""


def test_a_process_that_died_before_its_first_event_leaves_a_run(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    assert summarize(run.path).state == "crashed"
    with Lock.acquire(run.path):
        assert summarize(run.path).state == "training"
