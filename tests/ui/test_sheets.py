"""Sheets of samples cut into their tiles again."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pixeltui.data.grid import write_samples
from pixeltui.store.rundir import RunDir
from pixeltui.ui.sheets import ImageShape, image_levels, sheet_pictures


@pytest.mark.parametrize(
    ("height", "width", "count", "columns", "names"),
    [
        (8, 8, 10, None, [*"0123456789"]),
        (8, 8, 5, None, []),
        # 19 rows without names are as high as 5 with them
        (1, 64, 38, 2, []),
        (1, 64, 10, 2, [*"0123456789"]),
    ],
)
def test_the_tiles_of_a_sheet_are_the_images(
    height: int, width: int, count: int, columns: int | None, names: list[str], tmp_path: Path
) -> None:
    images = torch.randint(256, (count, 1, height, width), dtype=torch.uint8)
    path = tmp_path / "step-00000001.png"
    settings = {"count": count, "names": names}
    write_samples(path, images, levels=256, names=names, settings=settings, columns=columns)
    shape = ImageShape(height, width, channels=1)
    found = sheet_pictures(path, shape)
    assert [image_levels(one.rgb, shape) for one in found] == [image.numpy().tobytes() for image in images]
    assert [one.label for one in found] == (names or [""] * count)


def test_what_is_no_sheet_of_such_images_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.png"
    write_samples(path, torch.zeros(4, 1, 8, 8, dtype=torch.uint8), levels=2, names=[], settings={"count": 4})
    assert len(sheet_pictures(path, ImageShape(8, 8))) == 4
    assert sheet_pictures(path, ImageShape(8, 7)) == []


@pytest.mark.parametrize(
    "data",
    [{}, {"levels": 1}, {"levels": 257}, {"levels": "2"}, {"image_shape": [1, 8]}, {"image_shape": [1, 8, 10**9]}],
)
def test_a_meta_json_that_does_not_say_what_the_images_are(data: dict[str, Any], tmp_path: Path) -> None:
    whole = {"levels": 17, "image_shape": [1, 8, 8], "classes": ["a"]}
    run = RunDir.create(tmp_path, "whole", "", {"data": whole})
    assert ImageShape.of(run) == ImageShape(8, 8, ("a",), 1, 17)
    assert ImageShape.of(RunDir.create(tmp_path, "odd", "", {"data": whole | data if data else {}})) is None
