"""What the README tells users to type does what it says."""

import re
import shlex
from pathlib import Path

import pytest

from pixeltui.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^ {4}(pixeltui [^#\n]*|pixeltui$)", README, re.M)))
TINY = "--set train.steps=2 --set model.channels=4 --set model.blocks=1 --set sample.count=2"


def test_the_two_commands_of_the_quick_start_are_there() -> None:
    assert "pip install . && pixeltui --no-ui train --preset quick" in README
    assert "pip install '.[test]' && pytest" in README


def test_python_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(code, {})
    assert "torch.Size([4, 1, 8, 8])" in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in COMMANDS if "|" not in c])
def test_every_command_of_the_readme_is_understood(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Run for real, at a tiny size, in a folder that has what the README speaks of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIXELTUI_RUNS_DIR", "runs")
    (tmp_path / "mine.toml").write_text("[train]\nbatch_size = 8\n")
    make_photos(tmp_path / "photos")
    if re.search(r"train.*(--resume)|pixeltui (sample|eval|runs|attach)", command):
        assert main(["--no-ui", "train", "--preset", "quick", *shlex.split(TINY), "--name", "quick-one"]) == 0
        (tmp_path / "runs" / "photos").symlink_to(tmp_path / "runs" / "quick-one")
    words = shlex.split(command)[1:]
    if "train" in words and "--resume" not in words:
        words += shlex.split(TINY)
        if "photos" not in command:
            words += ["--set", "data.name=photos/"]
    expected = 2 if "attach" in words else 0  # 2: the test has no terminal, which the message says
    assert main(words) == expected, capsys.readouterr().err


def test_keys_page_is_the_table_of_the_console() -> None:
    from pixeltui.ui.keys import markdown_table

    page = (Path(__file__).parent.parent / "docs" / "KEYS.md").read_text()
    assert markdown_table().strip() in page


def make_photos(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
