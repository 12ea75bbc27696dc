"""Sliced Wasserstein distances that are known, and a pyramid that adds up again."""

import math

import pytest
import torch
from torch import Tensor

from pixeltui.train.wasserstein import PATCHES, laplacian_pyramid, patch_distances, patches, sliced_wasserstein


def points(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def images(count: int = 32, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(60, 190, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def test_no_distance_to_the_same_points_in_another_order() -> None:
    a = points(500, 6)
    assert sliced_wasserstein(a, a[torch.randperm(500)]) == pytest.approx(0, abs=1e-6)


def test_a_shift_is_as_far_as_it_goes_along_each_direction() -> None:
    """In one dimension exactly the shift; in two, 2 / pi of it, the mean of |cos|."""
    assert sliced_wasserstein(points(300, 1), points(300, 1) + 1.7) == pytest.approx(1.7, rel=1e-5)
    a = points(300, 2)
    shifted = sliced_wasserstein(a, a + torch.tensor([3.0, 0.0]), directions=20_000)
    assert shifted == pytest.approx(3 * 2 / math.pi, rel=0.02)


def test_a_scaled_gaussian_is_at_its_known_distance() -> None:
    """W1 of N(0, 1) and N(0, s²) is |s - 1| E|z|, in any direction."""
    a, b = points(40_000, 4), 2.5 * points(40_000, 4, seed=1)
    assert sliced_wasserstein(a, b, directions=64) == pytest.approx(1.5 * math.sqrt(2 / math.pi), rel=0.03)


def test_the_pyramid_adds_up_to_the_images() -> None:
    level, coarse = laplacian_pyramid(images(4).float())
    assert (level.shape[2:], coarse.shape[2:]) == ((32, 32), (16, 16))
    even = torch.full((1, 1, 64, 64), 9.0)
    fine, middle, last = laplacian_pyramid(even)
    torch.testing.assert_close(last, torch.full((1, 1, 16, 16), 9.0))
    torch.testing.assert_close(fine[:, :, 8:-8, 8:-8], torch.zeros(1, 1, 48, 48), atol=1e-5, rtol=0)
    assert len(laplacian_pyramid(images(2, 8).float())) == 1, "too small to be halved"


def test_patches_are_pieces_of_their_images() -> None:
    places = torch.arange(2 * 3 * 9 * 8).view(2, 3, 9, 8)
    found = patches(places, seed=0)
    assert found.shape == (2 * PATCHES, 49, 3)
    first = found[-1].view(7, 7, 3)
    assert (first[1] - first[0] == 8).all()
    assert (first[:, 1] - first[:, 0] == 1).all()
    assert (first[..., 1] - first[..., 0] == 72).all()
    assert (found[:PATCHES] < 3 * 72).all()
    assert (found[PATCHES:] >= 3 * 72).all()
    assert len(found[:, 0, 0].unique()) == 2 * 3 * 2, "every place of a patch that fits"


def test_images_are_as_far_as_they_differ() -> None:
    real = images(seed=1)
    assert set(patch_distances(real, real).values()) == {0.0}
    floor = patch_distances(images(seed=2), real)
    assert floor.keys() == {"32x32", "16x16"}
    brighter = patch_distances(real + 40, real)
    assert brighter["16x16"] > 20 * floor["16x16"], "a shift of all colours, which the coarse level has"
    assert brighter["32x32"] < 2 * floor["32x32"]
    smooth = torch.nn.functional.avg_pool2d(real.float(), 3, 1, 1).to(torch.uint8)
    assert patch_distances(smooth, real)["32x32"] > 10 * floor["32x32"]


def test_images_without_contrast_have_a_distance() -> None:
    flat = torch.full((8, 1, 8, 8), 3, dtype=torch.uint8)
    assert patch_distances(flat, flat) == {"8x8": 0.0}
    assert 0 < patch_distances(flat + 1, flat)["8x8"] < 10


def test_sets_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="two sets of one shape"):
        patch_distances(images(3), images(4))
