"""Pixels of real image files of every format and mode."""

import numpy as np
import pytest
from PIL import Image

from pixeltui.data.images import decode
from pixeltui.errors import UserError


def saved(tmp_path, image, suffix=".png", **options):
    path = tmp_path / f"x{suffix}"
    image.save(path, **options)
    return decode([str(path)])[0]


def test_pixels_of_every_mode(tmp_path):
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    wide = grey.astype(np.uint16) * 256 + 7
    assert saved(tmp_path, Image.fromarray(grey))[..., 0].tolist() == grey.tolist()
    assert saved(tmp_path, Image.fromarray(wide))[..., 0].tolist() == grey.tolist()
    assert saved(tmp_path, Image.fromarray(wide), ".tif")[..., 0].tolist() == grey.tolist()
    assert saved(tmp_path, Image.fromarray(grey > 150))[..., 0].tolist() == [[0, 0], [255, 255]]
    red = Image.new("P", (2, 2), 1)
    red.putpalette([0, 0, 0, 255, 0, 0])
    assert saved(tmp_path, red).tolist() == [[[255, 0, 0]] * 2] * 2
    assert saved(tmp_path, red, ".gif").tolist() == [[[255, 0, 0]] * 2] * 2
    assert saved(tmp_path, Image.new("CMYK", (2, 2), (0, 255, 255, 0)), ".tif").tolist() == [[[255, 0, 0]] * 2] * 2


def test_alpha_is_laid_over_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    assert saved(tmp_path, Image.fromarray(rgba)).tolist() == [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]]
    la = np.array([[[9, 255], [9, 0]]], np.uint8)
    assert saved(tmp_path, Image.fromarray(la)).tolist() == [[[9], [255]]]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([1, 2, 3])
    assert saved(tmp_path, palette, transparency=0).tolist() == [[[255, 255, 255]]]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    assert saved(tmp_path, Image.new("RGB", (6, 4)), ".jpg", exif=exif).shape == (6, 4, 3)


def test_floating_point_images_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"x\.tif holds floating point numbers; save it with 8 bits"):
        saved(tmp_path, Image.new("F", (2, 2), 0.5), ".tif")
