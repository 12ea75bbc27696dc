"""How many CPU threads a command takes: one for small products, where threads wait for one another at each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pixeltui.cli import main
from pixeltui.train import precision

COMMANDS = [
    ["eval"],
    ["inspect", "--images", "2"],
    ["sample", "--show"],
    ["sweep", "--temperatures", "1,0.5", "--show"],
]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch has two, and the environment says nothing."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("pixeltui.core.native.library.load", lambda: "not built")
    monkeypatch.setattr("pixeltui.core.native.compiled.load", lambda: "not built")
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_small_models_take_one_thread(command: list[str], runs_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *words = command
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert main(["--runs-dir", str(runs_copy), name, "done", *words]) == 0
    assert torch.get_num_threads() == 2, "what the environment says holds"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert main(["--runs-dir", str(runs_copy), name, "done", *words]) == 0
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("threads")
def test_large_products_take_all() -> None:
    precision.pick_threads(64, (3, 32, 32), 128)
    assert torch.get_num_threads() == 2
    precision.pick_threads(64, (1, 8, 8), 32)
    assert torch.get_num_threads() == 1
