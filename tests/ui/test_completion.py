"""Which image is completed, and what of it is kept, as texts that keys change."""

from pathlib import Path

import pytest

from pixeltui.ui import completion
from pixeltui.ui.completion import Box

SIZES = {"test": 5, "val": 3}


def rows_of(mask: bytes | None, width: int) -> list[str]:
    assert mask is not None
    text = "".join("#" if kept else "." for kept in mask)
    return [text[i : i + width] for i in range(0, len(text), width)]


def test_masks_of_rows_and_boxes() -> None:
    assert rows_of(completion.mask_of("1", 3, 4), 4) == ["####", "....", "...."]
    assert rows_of(completion.mask_of("0", 2, 3), 3) == ["...", "..."]
    assert rows_of(completion.mask_of("2x1+1+1", 3, 4), 4) == ["####", "#..#", "####"]
    assert rows_of(completion.mask_of("4x3+0+0", 3, 4), 4) == ["....", "....", "...."]
    assert completion.mask_of("mask.png", 3, 4) is None


def test_the_outline_is_what_touches_kept_pixels() -> None:
    def outlined(text: str, height: int, width: int) -> list[str]:
        mask = completion.mask_of(text, height, width)
        assert mask is not None
        edge = completion.outline(mask, width)
        return rows_of(bytes(i not in edge for i in range(height * width)), width)

    assert outlined("1", 4, 3) == ["###", "...", "###", "###"]
    assert outlined("0", 2, 3) == ["...", "###"]
    assert outlined("3x3+1+1", 5, 5) == ["#####", "#...#", "#.#.#", "#...#", "#####"]
    assert outlined("3x3+0+0", 4, 4) == ["##.#", "##.#", "...#", "####"], "nothing is kept beyond the image's edge"


@pytest.mark.parametrize("columns", range(-9, 10, 3))
@pytest.mark.parametrize("rows", range(-9, 10, 3))
def test_what_is_moved_or_grown_stays_inside(columns: int, rows: int) -> None:
    height, width = 6, 5
    for start in ("2x3+1+2", "5x6+0+0", "1x1+4+5"):
        for text in (
            completion.moved(start, columns, rows, height, width),
            completion.grown(start, columns, height, width),
        ):
            assert not completion.wrong_kept(text, height, width)
        box, before = completion.box_of(completion.moved(start, columns, rows, height, width)), completion.box_of(start)
        assert box is not None
        assert before is not None
        assert box[:2] == before[:2], "moving changes no size"
    assert not completion.wrong_kept(completion.moved("3", columns, rows, height, width), height, width)
    assert completion.moved("2x3+1+1", 1, 2, 9, 9) == "2x3+2+3"
    assert completion.moved("mask.png", columns, rows, height, width) == "mask.png"


def test_rows_become_a_box_and_a_box_rows() -> None:
    assert completion.next_kind("3", 8, 8) == "4x4+2+2"
    assert completion.next_kind("4x4+2+2", 8, 8) == "4"
    assert completion.next_kind("mask.png", 8, 8) == "4"
    for side in range(1, 65):
        assert not completion.wrong_kept(completion.next_kind("0", side, side), side, side)


def test_images_go_round_the_end_of_a_split_and_splits_round_theirs() -> None:
    assert completion.next_source("test:4", 1, SIZES) == "test:0"
    assert completion.next_source("test:0", -1, SIZES) == "test:4"
    assert completion.next_source("val:1", 10, SIZES) == "val:2"
    assert completion.next_source("train:7", 1, SIZES) == "train:8", "its size is not known yet"
    assert completion.next_source("cat.png", 1, SIZES) == "test:0"
    assert [completion.next_split(f"{split}:9") for split in completion.SPLITS] == ["val:0", "test:0", "train:0"]
    assert completion.next_split("cat.png") == "test:0"


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for good in ("test:4", "train:900", str(tmp_path / "a.png")):
        assert completion.wrong_source(good, SIZES) == ""
    for wrong, what in {
        "test:5": "images 0 to 4",
        "tests:1": "'test'",
        "test": "SPLIT:NUMBER",
        "": "SPLIT:NUMBER",
        "a.png": "image file",
    }.items():
        assert what in completion.wrong_source(wrong, SIZES)
    for good in ("0", "5", "2x2+3+4", str(tmp_path / "a.png")):
        assert completion.wrong_kept(good, 6, 5) == ""
    for wrong, what in {
        "6": "0 to 5 rows",
        "2x2+4+0": "not inside",
        "0x1+0+0": "not inside",
        "": "expected rows",
    }.items():
        assert what in completion.wrong_kept(wrong, 6, 5)


def test_what_is_written_beside_the_images() -> None:
    assert completion.settings_of("4") == {"keep_rows": 4}
    assert completion.settings_of(str(Box(2, 3, 1, 0))) == {"filled_in": "2x3+1+0"}
    assert completion.settings_of("m.png") == {"mask": "m.png"}
    assert completion.described("4", 8) == "keeps 4 of 8 rows"
