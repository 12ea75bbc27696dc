"""Sliced Wasserstein distance between the patches of two sets of images: sample quality without another network.

As in Karras et al. 2018, section 5, after Rabin et al. 2011: a Laplacian pyramid, from each of its levels random 7x7
patches, and between two sets of patches the mean distance of their projections on random directions. Here both sets are
normalised by the mean and deviation of the second one's channels, so that a shift of colour or contrast counts.

Shapes: images uint8 [N, C, H, W]; P patches an image; points [M, D].
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE: Final = 7
PATCHES: Final = 64
"""of an image"""
DIRECTIONS: Final = 256
COARSEST: Final = 16
"""pixels of the shorter side that a level of the pyramid has at least; smaller images have one level"""
AT_ONCE: Final = 32
"""directions"""


@torch.no_grad()
def patch_distances(images: Tensor, others: Tensor, *, seed: int = 0) -> dict[str, float]:
    """Distances of the patches at each size of the pyramid, "32x32" and so on, in deviations of sub-pixels of `others`.

    As many images as others. The places of patches and the directions hang on the seed alone.
    """
    if images.shape != others.shape:
        raise ValueError(f"expected two sets of one shape, got {list(images.shape)} and {list(others.shape)}")
    found = {}
    for level, other in zip(laplacian_pyramid(images.float()), laplacian_pyramid(others.float()), strict=True):
        a, b = patches(level, seed=seed), patches(other, seed=seed)
        mean, deviation = b.mean(dim=(0, 1), keepdim=True), b.std(dim=(0, 1), keepdim=True)
        deviation = torch.where(deviation > 0, deviation, 1)
        a, b = (((x - mean) / deviation).flatten(1) for x in (a, b))
        height, width = level.shape[2:]
        found[f"{width}x{height}"] = sliced_wasserstein(a, b, seed=seed)
    return found


def sliced_wasserstein(a: Tensor, b: Tensor, *, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Mean over random directions of the Wasserstein-1 distance of the projections of as many points a, b [M, D].

    In one dimension that is the mean distance of the sorted values (Rabin et al. 2011).
    """
    generator = torch.Generator().manual_seed(seed)
    axes = F.normalize(torch.randn(a.shape[1], directions, generator=generator), dim=0).to(a.device)
    total = 0.0
    for part in axes.split(AT_ONCE, dim=1):  # type: ignore[no-untyped-call]
        difference = (a @ part).sort(dim=0).values - (b @ part).sort(dim=0).values
        total += float(difference.abs().mean(dim=0).double().sum())
    return total / directions


def patches(images: Tensor, *, seed: int) -> Tensor:
    """[N P, S S, C]: P patches of S x S pixels of each image, at random places."""
    count, _, height, width = images.shape
    side = min(SIDE, height, width)
    generator = torch.Generator().manual_seed(seed)
    tops = torch.randint(height - side + 1, (count, PATCHES, 1), generator=generator).to(images.device)
    lefts = torch.randint(width - side + 1, (count, PATCHES, 1), generator=generator).to(images.device)
    along = torch.arange(side, device=images.device)
    rows, columns = (tops + along)[..., :, None], (lefts + along)[..., None, :]
    number = torch.arange(count, device=images.device)[:, None, None, None]
    return images.movedim(1, -1)[number, rows, columns].flatten(2, 3).flatten(0, 1)


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """fp32 images [N, C, H, W] less what the next coarser ones say of them, then those (Burt & Adelson 1983)."""
    levels = []
    while min(images.shape[2:]) >= 2 * COARSEST:
        coarse = _smoothed(images)[:, :, ::2, ::2]
        between = torch.zeros_like(images)
        between[:, :, ::2, ::2] = 4 * coarse
        levels.append(images - _smoothed(between))
        images = coarse
    return [*levels, images]


def _smoothed(images: Tensor) -> Tensor:
    """By the binomial filter of 5x5 pixels, mirrored at the edges."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    kernel = (row[:, None] * row).expand(images.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])
