"""Which run is that of processes that torchrun starts again."""

from pathlib import Path

import pytest

from pixeltui.config import dump_config, load_config
from pixeltui.session.resuming import run_of_this_start
from pixeltui.store.rundir import RunDir


def test_a_run_of_another_start_is_left_alone_unless_it_is_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As it is where an --rdzv-id is used again; and no other job's, however alike."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "large")
    before, now = load_config(preset="quick"), load_config(preset="quick", overrides=["train.lr=0.01"])

    def make(name: str, config, created: int, **meta: object) -> None:
        RunDir.create(tmp_path, name, dump_config(config), {"created": created, "job": "large", **meta})

    def found(config, start: str, name: str | None = None) -> str | None:
        run = run_of_this_start(tmp_path, name, config, start)
        return run and run.name

    make("old", before, 1, start="a")
    make("foreign", now, 9, start="b", job="other")
    assert found(now, "b") is None
    assert found(now, "") == "old", "a process alone"
    assert found(before, "b") == "old"
    make("own", before, 2, start="b")
    make("newest", now, 3, start="b")
    assert found(now, "b") == "newest"
    assert found(now, "b", "own") == "own", "the config file may have been changed since"
    assert found(now, "b", "old") is None
