"""What may not be imported where, seen in fresh interpreters: no static graph proves that an import is deferred."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"torch", "torchvision", "numpy", "textual", "PIL", "rich", "safetensors", "tensorboard", "matplotlib"}


def imported(code: str, cwd: Path | None = None) -> set[str]:
    """Top-level packages in sys.modules after running the code."""
    program = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=cwd)
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "module",
    [
        "pixeltui",
        "pixeltui.cli",
        "pixeltui.config",
        "pixeltui.events",
        "pixeltui.store.rundir",
        "pixeltui.store.view",
        "pixeltui.store.header",
        "pixeltui.store.control",
        "pixeltui.session.inbox",
        "pixeltui.session.local",
        "pixeltui.session.attach",
        "pixeltui.commands.attach",
        "pixeltui.commands.console",
        "pixeltui.ui.guard",
        "pixeltui.ui.colors",
        "pixeltui.commands.train",
        "pixeltui.commands.sample",
        "pixeltui.commands.sweep",
        "pixeltui.commands.complete",
        "pixeltui.commands.evaluate",
        "pixeltui.commands.inspect",
        "pixeltui.inspection.colors",
        "pixeltui.commands.runs",
        "pixeltui.commands.data",
        "pixeltui.report",
        "pixeltui.commands.doctor",
    ],
)
def test_starts_without_slow_packages(module: str) -> None:
    assert imported(f"import {module}") & SLOW == set()


@pytest.mark.parametrize("arguments", ["['--help']", "['--version']", "['train', '--help']", "['sample', '--help']"])
def test_help_needs_no_slow_package(arguments: str) -> None:
    code = f"import contextlib\nfrom pixeltui.cli import main\nwith contextlib.suppress(SystemExit): main({arguments})"
    assert imported(code) & SLOW == set()


def test_the_console_is_there_before_torch() -> None:
    assert imported("import pixeltui.ui.app") & {"torch", "torchvision", "numpy", "PIL", "safetensors"} == set()


def test_runs_list_needs_no_torch(tmp_path: Path) -> None:
    loaded = imported("from pixeltui.cli import main\nmain(['runs', 'list', '--json'])", cwd=tmp_path)
    assert loaded & {"torch", "numpy", "textual"} == set()


def test_a_report_needs_no_torch(finished_runs: Path, tmp_path: Path) -> None:
    words = ["--runs-dir", str(finished_runs), "report", "done"]
    loaded = imported(f"from pixeltui.cli import main\nassert main({words!r}) == 0", cwd=tmp_path)
    assert loaded & SLOW == set()


def test_headless_training_never_imports_textual(tiny_npz: Path, tmp_path: Path) -> None:
    from tiny import tiny_arguments

    words = ["--no-ui", "train", *tiny_arguments(tiny_npz), "--set", "train.steps=2"]
    assert "textual" not in imported(f"from pixeltui.cli import main\nassert main({words!r}) == 0", cwd=tmp_path)


def test_core_knows_no_terminal() -> None:
    assert (
        imported("import pixeltui.core") & {"rich", "textual", "PIL", "argparse_", "torchvision", "safetensors"}
        == set()
    )
