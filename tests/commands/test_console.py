"""Whose [ui] the console is opened with."""

from pathlib import Path

import pytest

from pixeltui.commands.console import ui_of
from pixeltui.config import Ui
from pixeltui.session.worker import TrainRequest


@pytest.fixture(autouse=True)
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home" / "pixeltui" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[ui]\ntheme = "light"\nlow_bandwidth = true\n[ui.keys]\npause = "P"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path.parents[1]))
    return path


def test_the_users_holds_for_training_too(tmp_path: Path, users: Path) -> None:
    expected = Ui(theme="light", low_bandwidth=True, keys={"pause": "P"})
    assert ui_of(None) == expected
    assert ui_of(TrainRequest(runs_dir=tmp_path, preset="quick")) == expected
    users.unlink()
    assert ui_of(None) == ui_of(TrainRequest(runs_dir=tmp_path, preset="quick")) == Ui()


def test_what_the_run_says_goes_before_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[ui]\ngraph_symbol = "block"\n[ui.keys]\nquit = "Q"\n')
    request = TrainRequest(runs_dir=tmp_path, config=file, overrides=["ui.theme=dark"])
    keys = {"pause": "P", "quit": "Q"}
    assert ui_of(request) == Ui(theme="dark", low_bandwidth=True, graph_symbol="block", keys=keys)
