"""What README.md and docs/ tell users to type does what they say."""

import math
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixeltui.cli import COMMANDS, main, make_parser
from pixeltui.ui.keys import keys_page
from pixeltui.ui.readme_keys import with_block

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TINY = "--set train.steps=2 --set model.channels=4 --set model.blocks=1 --set sample.count=2"
WITHOUT_A_TERMINAL = 2  # the exit status of what can only open the console
CODE = re.compile(r"```python\n(.*?)```", re.S)


def shell_lines(page: Path) -> list[str]:
    """The indented lines of a page that are commands, without prompts and comments."""
    blocks = re.findall(r"(?:^ {4}.*\n)+", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines for part in re.sub(r"\s+# .*", "", line).split("&&")]


def pixeltui_lines(page: Path) -> list[str]:
    return list(dict.fromkeys(line for line in shell_lines(page) if line.split()[0] == "pixeltui"))


def test_the_commands_of_the_quick_start_are_there() -> None:
    assert "pip install . && pixeltui --no-ui train --preset quick" in README
    assert "pip install '.[test]' && pytest" in README


def test_every_command_is_in_the_readme() -> None:
    missing = [name for name in COMMANDS if f"| `pixeltui {name}" not in README]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_is_one(page: Path) -> None:
    """By the parser that users meet; options and flags that a line of prose names count too."""
    for line in pixeltui_lines(page):
        make_parser().parse_args(shlex.split(line)[1:])
    for line in shell_lines(page):
        if line.startswith("torchrun "):
            make_parser().parse_args(shlex.split(line.split(" -m pixeltui ")[1]))
    for command in re.findall(r"`(pixeltui [^`]*)`", page.read_text()):
        words = shlex.split(command)[1:]
        assert words[0] in COMMANDS or words[0].startswith("--"), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_the_readme_has_no_command_that_nobody_runs() -> None:
    """pixeltui: here. pip and pytest: .ci/run. torchrun: tests/distributed, in two processes. Files: a run's."""
    kinds = {line.split()[0] for line in shell_lines(ROOT / "README.md")}
    files = {
        "runs/NAME/config.toml",
        "meta.json",
        "events.jsonl",
        "checkpoints/",
        "samples/",
        "log.txt",
        "frame.msgpack",
    }
    assert kinds - files == {"pixeltui", "pip", "pytest", "torchrun"}


@pytest.fixture(scope="module")
def told_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has what the README speaks of: photos/, mine.toml, the runs "quick-one" and "photos"."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "mine.toml").write_text("[train]\nbatch_size = 8\n")
    make_photos(folder / "photos")
    runs = ["--no-ui", "--runs-dir", str(folder / "runs"), "train", "--preset", "quick", *shlex.split(TINY)]
    for name in ("quick-one", "photos"):
        assert main([*runs, "--name", name]) == 0
    return folder


@pytest.mark.parametrize("command", pixeltui_lines(ROOT / "README.md"))
def test_every_command_of_the_readme_runs(
    command: str, told_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Training at a tiny size, and the console up to where it asks for a terminal."""
    folder = shutil.copytree(told_folder, tmp_path / "here")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PIXELTUI_RUNS_DIR", "runs")
    words = shlex.split(command)[1:]
    if "train" in words and "--resume" not in words:
        if "--name" in words:
            shutil.rmtree(folder / "runs" / words[words.index("--name") + 1], ignore_errors=True)
        words += shlex.split(TINY)
        if "photos" not in command:
            words += ["--set", "data.name=photos/"]
    expected = WITHOUT_A_TERMINAL if "attach" in words else 0
    assert main(words) == expected, capsys.readouterr().err


def test_python_block_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = CODE.findall(README)
    space: dict = {}
    exec(code.replace("range(500)", "range(12)"), space)
    assert space["samples"].shape == (16, 1, 8, 8)
    bits = float(capsys.readouterr().out.split("(")[1].split(")")[0])
    assert 1 < bits < math.log2(17)


def test_python_block_of_inspecting_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = CODE.findall((ROOT / "docs" / "INSPECT.md").read_text())
    exec(code, {})
    assert capsys.readouterr().out.startswith("None\nTrue\nExtent(above=5")


def test_conversion_of_images_gives_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "originals", size=(70, 90), suffix="JPG")
    (tmp_path / "originals" / "cats" / "0.JPG").rename(tmp_path / "originals" / "cats" / "first.jpeg")
    (tmp_path / "originals" / "cats" / "notes.txt").write_text("no image")
    (code,) = CODE.findall((ROOT / "docs" / "TROUBLESHOOTING.md").read_text())
    exec(code, {})
    assert main(["data", "photos", "--json"]) == 0
    assert '"cats"' in capsys.readouterr().out


def test_keys_page_is_the_table_of_the_console() -> None:
    assert (ROOT / "docs" / "KEYS.md").read_text() == keys_page(), "run: python -m pixeltui.ui.keys > docs/KEYS.md"


def test_keys_of_the_readme_are_those_of_the_console() -> None:
    assert with_block(README) == README, "run: python -m pixeltui.ui.readme_keys README.md"
    assert "`p` pause" in README


def make_photos(folder: Path, *, size: tuple[int, int] = (6, 6), suffix: str = "png") -> None:
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.{suffix}")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    ours = [
        path for folder in ("pixeltui", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
    ]
    names = {path.name for path in ours}
    text = "" if page.name == "LOG.md" else page.read_text()  # of what there once was, too
    assert [name for name in re.findall(r"\b[a-z_]+\.py\b", text) if name not in names] == []


@pytest.mark.parametrize("package", ["core", "core/gpu", "train"])
def test_the_tree_names_every_room(package: str) -> None:
    tree = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    rooms = [path.name for path in (ROOT / "pixeltui" / package).glob("*.py") if path.name != "__init__.py"]
    assert [name for name in rooms if name not in tree] == []
