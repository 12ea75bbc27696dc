"""What several tests need: tiny data, tiny configs, a finished tiny run."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY, tiny_arguments

from pixeltui.cli import main
from pixeltui.config import Config, load_config

# Tiny products are slower on two threads than on one; processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product on a GPU, in whatever test
for name in ("COLORTERM", "NO_COLOR", "STY", "TERM_PROGRAM", "TMUX", "VTE_VERSION", "WT_SESSION", "KONSOLE_VERSION"):
    os.environ.pop(name, None)  # what the terminal in which the tests run says of itself
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported, which some tests' imports bring along


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """torch's, which training sets for the whole process, are set back after each test."""
    deterministic, cudnn = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn
    benchmark, tf32, precision = cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()
    yield
    torch.use_deterministic_algorithms(deterministic)
    cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
    torch.set_float32_matmul_precision(precision)


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 labelled images of 6x5 pixels with 4 levels, which can be learnt: each class has its own gradient."""
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    rows = np.linspace(0, 3, 6)[None, :, None] * (labels[:, None, None] == 1)
    columns = np.linspace(0, 3, 5)[None, None, :] * (labels[:, None, None] == 2)
    images = np.clip(rows + columns + generator.integers(0, 2, (96, 6, 5)), 0, 3).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, images=images, labels=labels.astype(np.int64))
    return path


@pytest.fixture
def tiny_config(tiny_npz: Path) -> Callable[..., Config]:
    """A config for the tiny data, with overrides on top."""

    def build(*overrides: str) -> Config:
        return load_config(preset="quick", overrides=(f"data.name={tiny_npz}", *TINY, *overrides))

    return build


@pytest.fixture
def tiny_train(tiny_npz: Path, tmp_path: Path) -> Callable[..., int]:
    """`pixeltui --no-ui train` on the tiny data in tmp_path/runs; returns the exit status."""

    def train(*arguments: str) -> int:
        return main(["--no-ui", "--runs-dir", str(tmp_path / "runs"), "train", *tiny_arguments(tiny_npz), *arguments])

    return train


@pytest.fixture(scope="session")
def finished_runs(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run "done", trained for a few steps on the tiny data. Do not change it."""
    runs = tmp_path_factory.mktemp("finished")
    overrides = ("train.steps=10", "train.eval_every=5", "sample.every=5", "train.lr=0.03")
    steps = [word for override in overrides for word in ("--set", override)]
    assert main(["--no-ui", "--runs-dir", str(runs), "train", *tiny_arguments(tiny_npz), *steps, "--name", "done"]) == 0
    return runs


@pytest.fixture
def runs_copy(finished_runs: Path, tmp_path: Path) -> Path:
    """A copy of `finished_runs` to change."""
    return Path(shutil.copytree(finished_runs, tmp_path / "runs"))
