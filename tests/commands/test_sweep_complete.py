"""`pixeltui sweep` and `pixeltui complete` on a real checkpoint: 6x5 images of one channel with 4 levels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixeltui.cli import main
from pixeltui.config_checks import MOST
from pixeltui.core import sampler
from pixeltui.data import load
from pixeltui.store.rundir import RunDir

GREYS = (0, 85, 170, 255)  # of the levels 0 to 3


def run(runs: Path, *arguments: str) -> int:
    return main(["--runs-dir", str(runs), *arguments])


def arrays(runs: Path, command: str, out: Path, *arguments: str) -> dict[str, np.ndarray]:
    assert run(runs, command, "done", *arguments, "--out", str(out)) == 0
    with np.load(out) as found:
        return dict(found)


def picture(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


@pytest.fixture
def original() -> np.ndarray:
    """Levels uint8 [6, 5]"""
    return np.random.default_rng(1).integers(0, 4, (6, 5)).astype(np.uint8)


def test_rows_of_a_sweep_are_samples_of_one_noise(finished_runs: Path, tmp_path: Path) -> None:
    both = arrays(finished_runs, "sweep", tmp_path / "a.npz", "--temperatures", "0.5,1.5", "-n", "4", "--seed", "3")
    assert both["temperatures"].tolist() == [0.5] * 4 + [1.5] * 4
    assert both["labels"].tolist() == [0, 1, 2, 0] * 2
    for row, temperature in enumerate(("0.5", "1.5")):
        options = ("-n", "4", "--seed", "3", "--temperature", temperature)
        alone = arrays(finished_runs, "sample", tmp_path / "b.npz", *options)["images"]
        assert np.array_equal(both["images"][4 * row : 4 * row + 4], alone)
    assert not np.array_equal(both["images"][:4], both["images"][4:])


def test_bf16_is_asked_for_recorded_and_told(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    asked: list[torch.dtype | None] = []
    stream = sampler.sample_stream
    monkeypatch.setattr(sampler, "sample_stream", lambda model, s: (asked.append(s.dtype), stream(model, s))[1])
    for command, more in (("sample", ()), ("sweep", ("--temperatures", "1")), ("complete", ("test:0",))):
        options = (*more, "-n", "2", "--seed", "3")
        exact = arrays(finished_runs, command, tmp_path / "a.npz", *options)
        assert "precision" not in exact
        assert "not exact" not in capsys.readouterr().err
        rounded = arrays(finished_runs, command, tmp_path / "b.npz", *options, "--precision", "bf16")
        assert rounded["precision"] == "bf16"
        assert "bf16: not exact" in capsys.readouterr().err
        assert rounded["images"].shape == exact["images"].shape
        if command == "complete":
            assert np.array_equal(rounded["images"][:, rounded["known"]], exact["images"][:, exact["known"]])
    assert asked == [None, torch.bfloat16] * 3
    with pytest.raises(SystemExit) as wrong:
        run(finished_runs, "sample", "done", "--precision", "fp16")
    assert wrong.value.code == 2
    assert "invalid choice: 'fp16'" in capsys.readouterr().err


def test_grid_of_a_sweep_has_a_row_a_temperature(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert run(finished_runs, "sweep", "done", "--temperatures", "0.7,0.8,0.9") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "done-sweep.png" in said.err
    with Image.open("done-sweep.png") as grid:
        scale = 96 // 6
        assert grid.height == 3 * (6 * scale + 4 + 14) + 4
        assert grid.width > 3 * (5 * scale + 4), "three classes, and the temperatures beside them"


@pytest.mark.parametrize("values", ["levels", "greys"])
def test_kept_rows_are_returned_bit_for_bit(
    values: str, original: np.ndarray, finished_runs: Path, tmp_path: Path
) -> None:
    pixels = original if values == "levels" else np.array(GREYS)[original]
    image = picture(tmp_path / "in.png", pixels)
    found = arrays(finished_runs, "complete", tmp_path / "a.npz", image, "--keep-rows", "4", "-n", "3", "--seed", "5")
    images = found["images"][..., 0]
    assert images.shape == (3, 6, 5)
    assert (images[:, :4] == original[:4]).all()
    assert any((one[4:] != original[4:]).any() for one in images)
    assert (found["originals"][0, ..., 0] == original).all()
    assert found["known"].sum(axis=1).tolist() == [5, 5, 5, 5, 0, 0]


@pytest.mark.parametrize("how", [np.floor, np.ceil])
def test_greys_may_be_cut_or_rounded(how, original: np.ndarray, tmp_path: Path) -> None:
    from pixeltui.train.given import _to_levels

    for levels in (15, 17, 29, 57, 83, 113, 127):
        every = np.arange(levels).reshape(1, -1, 1)
        pixels = how(every * 255 / (levels - 1)).astype(np.uint8)
        assert (_to_levels(pixels, levels, tmp_path) == every).all()
    dim = np.array([[[0], [8]]], np.uint8)
    assert _to_levels(dim, 33, tmp_path).ravel().tolist() == [0, 1]
    assert _to_levels(np.array([[[1], [17]]], np.uint8), 17, tmp_path).ravel().tolist() == [0, 1]
    black_and_white = np.array([[[0], [16]]], np.uint8)
    assert _to_levels(black_and_white, 17, tmp_path).ravel().tolist() == [0, 16], "as levels, and more likely"
    assert _to_levels(np.array([[[0], [15], [16]]], np.uint8), 17, tmp_path).ravel().tolist() == [0, 15, 16]


def test_white_of_a_mask_is_kept(original: np.ndarray, finished_runs: Path, tmp_path: Path) -> None:
    known = np.random.default_rng(2).random((6, 5)) < 0.5
    image, mask = picture(tmp_path / "in.png", original), picture(tmp_path / "mask.png", known * 255)
    images = arrays(finished_runs, "complete", tmp_path / "a.npz", image, "--mask", mask, "-n", "6")["images"][..., 0]
    assert (images[:, known] == original[known]).all()
    assert (images[:, ~known] != original[~known]).any()


def test_a_mask_that_keeps_everything_is_told(
    original: np.ndarray, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, mask = picture(tmp_path / "in.png", original), picture(tmp_path / "mask.png", np.full((6, 5), 255))
    found = arrays(finished_runs, "complete", tmp_path / "a.npz", image, "--mask", mask, "-n", "2")
    assert (found["images"][..., 0] == original).all()
    assert "is white everywhere: every pixel is kept" in capsys.readouterr().err


def test_grid_shows_original_mask_and_completions(original: np.ndarray, finished_runs: Path, tmp_path: Path) -> None:
    image, out = picture(tmp_path / "in.png", original), tmp_path / "a.png"
    assert run(finished_runs, "complete", "done", image, image, "--keep-rows", "2", "-n", "3", "--out", str(out)) == 0
    scale = 96 // 6
    cell = (5 * scale + 4, 6 * scale + 4 + 14)
    with Image.open(out) as grid:
        assert grid.size == (5 * cell[0] + 4, 2 * cell[1] + 4)
        pixels = np.asarray(grid.convert("L"))
    tiles = [pixels[4 : 4 + 6 * scale : scale, 4 + i * cell[0] : 4 + i * cell[0] + 5 * scale : scale] for i in range(5)]
    greys = np.array(GREYS)[original]
    assert (tiles[0] == greys).all()
    assert all((tile[:2] == greys[:2]).all() for tile in tiles[1:])
    assert (tiles[1][2:] != greys[2:]).any(), "hidden"


def test_images_of_the_data_have_their_own_class(finished_runs: Path, tmp_path: Path) -> None:
    found = arrays(finished_runs, "complete", tmp_path / "a.npz", "test:1", "val:0", "-n", "2", "--keep-rows", "6")
    data = load(RunDir.open(finished_runs / "done").config().data)
    assert data.test.labels is not None
    assert data.val.labels is not None
    assert found["labels"].tolist() == [int(data.test.labels[1])] * 2 + [int(data.val.labels[0])] * 2
    expected = np.stack([data.test.images[1].numpy(), data.val.images[0].numpy()]).transpose(0, 2, 3, 1)
    assert np.array_equal(found["images"], expected.repeat(2, axis=0)), "all rows are kept"
    chosen = arrays(finished_runs, "complete", tmp_path / "b.npz", "test:1", "-n", "3", "--label", "2,0")
    assert chosen["labels"].tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere.png"], 1, "no image nowhere.png"),
        (["tset:0"], 1, "did you mean 'test'"),
        (["test:10"], 1, "images 0 to 9"),
        (["test:0", "--keep-rows", "7"], 2, "the model's images have 6 rows"),
        (["test:0", "--mask", "nowhere.png"], 1, "no mask nowhere.png"),
        (["test:0", "--label", "9"], 1, "no class '9'"),
        (["test:0", "--out", "a.jpg"], 2, "ends in .png or .npz"),
        (["large.png"], 1, "is 9x8, the model draws 5x6"),
        (["huge.png"], 1, "is 300x200, the model draws 5x6"),
        (["colour.png"], 1, "is in colour, the model draws grey"),
        (["between.png"], 1, "between the 4 levels"),
        (["test:0", "--mask", "large.png"], 1, "is 9x8, the images are 5x6"),
        (["test:0", "--mask", "ones.png"], 1, "no white pixel, its brightest value is 1: expected 255"),
        (["text.png"], 1, "not an image that can be read"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    status: int,
    message: str,
    finished_runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "large.png", np.zeros((8, 9)))
    picture(tmp_path / "huge.png", np.zeros((200, 300)))
    picture(tmp_path / "ones.png", np.eye(6, 5))
    picture(tmp_path / "between.png", np.full((6, 5), 100))
    picture(tmp_path / "colour.png", np.arange(90).reshape(6, 5, 3))
    (tmp_path / "text.png").write_text("hello")
    capsys.readouterr()
    assert run(finished_runs, "complete", "done", *arguments) == status
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("words", [("sample",), ("sweep", "--temperatures", "1"), ("complete", "test:0")])
def test_more_images_than_memory_holds_are_refused_at_once(words: tuple[str, ...], finished_runs: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(finished_runs, words[0], "done", *words[1:], "-n", str(10**12))
    assert stopped.value.code == 2
    assert "expected a whole number of at most 1048576, got 1000000000000" in capsys.readouterr().err


def test_as_many_images_as_a_config_may_ask_for(monkeypatch: pytest.MonkeyPatch, finished_runs: Path, capsys) -> None:
    monkeypatch.setitem(MOST, "sample.count", 3)
    with pytest.raises(SystemExit):
        run(finished_runs, "sample", "done", "-n", "4")
    assert "at most 3, got 4" in capsys.readouterr().err


@pytest.mark.parametrize("temperatures", ["0.7,x", "0", "1,,2", ""])
def test_temperatures_are_positive_numbers(temperatures: str, finished_runs: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(finished_runs, "sweep", "done", "--temperatures", temperatures)
    assert stopped.value.code == 2
    assert "expected a number" in capsys.readouterr().err


def test_more_images_than_are_drawn_at_once(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arrays(finished_runs, "sample", tmp_path / "a.npz", "-n", "7", "--seed", "2")["images"]
    monkeypatch.setattr("pixeltui.train.draw.CHUNK", 3)
    assert np.array_equal(
        arrays(finished_runs, "sample", tmp_path / "b.npz", "-n", "7", "--seed", "2")["images"], whole
    )


@pytest.mark.parametrize(
    ("words", "lines"),
    [(["sweep", "done", "--temperatures", "0.5,1"], 7), (["complete", "done", "test:0", "test:1", "-n", "2"], 7)],
)
def test_shown_as_half_blocks(words: list[str], lines: int, finished_runs: Path, tmp_path: Path, capsys) -> None:
    """Two rows of images of 6 pixels, and a line between them."""
    capsys.readouterr()
    assert run(finished_runs, *words, "--show") == 0
    out = capsys.readouterr().out
    assert len(out.removesuffix("\n").split("\n")) == lines
    assert set(out) <= set("▀▄█ \n")
