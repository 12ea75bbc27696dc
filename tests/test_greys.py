"""Levels to greys and back, of every number of levels, the same in files and on the terminal."""

import numpy as np
import pytest
import torch

from pixeltui.commands.halfblocks import render
from pixeltui.data.grid import to_rgb
from pixeltui.data.images import as_levels
from pixeltui.greys import greys


@pytest.mark.parametrize("levels", range(2, 257))
def test_what_is_written_is_read_back(levels: int) -> None:
    every = np.arange(levels, dtype=np.uint8)
    rgb = to_rgb(torch.from_numpy(every)[None, None, None], levels)[0, 0].numpy()
    assert (rgb[:, 0] == list(greys(levels)[:levels])).all()
    assert (rgb[0] == 0).all()
    assert (rgb[-1] == 255).all()
    exact = np.arange(levels) * 255 / (levels - 1)
    assert np.abs(rgb[:, 0] - exact).max() <= 0.5
    for scaled in (rgb[:, 0], exact.astype(np.uint8), exact.round().astype(np.uint8), np.ceil(exact).astype(np.uint8)):
        assert (as_levels(scaled, levels) == every).all() or levels > 128, "of more, greys lie next to each other"


def test_greys_between_those_of_levels_are_none() -> None:
    assert as_levels(np.array([0, 84, 86, 255], np.uint8), 4) is not None
    assert as_levels(np.array([0, 83, 255], np.uint8), 4) is None
    assert as_levels(np.array([0, 84, 255], np.uint8), 4, within=0) is None


def test_half_blocks_have_the_greys_of_files() -> None:
    levels = 15
    text = render(np.arange(levels, dtype=np.uint8).reshape(1, 1, 1, levels), levels, 80, "truecolor")
    assert all(f"38;2;{grey};{grey};{grey}m" in text for grey in greys(levels)[:levels])
