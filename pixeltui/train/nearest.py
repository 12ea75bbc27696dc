"""The training images nearest to others, so that copying is seen. Shapes: images uint8 [N, C, H, W], M of `among`."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

CHUNK: Final = 4096
"""images of `among` compared at once"""
SPARE: Final = 4
"""candidates found by rounded distances beyond those wanted, of which the exact ones decide"""


class Neighbours(NamedTuple):
    """Of each image the k nearest others, the nearest first."""

    distances: Tensor
    """float64 [N, k], ascending: root of the mean squared difference of sub-pixels, 1 being black against white"""
    indices: Tensor
    """int64 [N, k] into `among`"""


@torch.no_grad()
def nearest(
    images: Tensor,
    among: Tensor,
    *,
    levels: int,
    k: int = 1,
    mirrored: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """The k images of `among` (all, where they are fewer) nearest to each image, on the device of `among`.

    mirrored: each is compared as it is and mirrored left to right, as training with horizontal flips shows them. A
    copy has a distance of exactly 0. After each part of `among` `progress(done, total)` is called.
    """
    k, own = min(k, len(among)), min(k + SPARE, len(among))
    queries = images.to(among.device)
    squares = torch.full((len(images), 0), math.inf, device=among.device)
    indices = torch.empty((len(images), 0), dtype=torch.int64, device=among.device)
    for first in range(0, len(among), CHUNK):
        part = among[first : first + CHUNK]
        found = _rounded(queries, part, levels)
        if mirrored:
            found = torch.minimum(found, _rounded(queries.flip(-1), part, levels))
        near = found.topk(min(own, len(part)), dim=1, largest=False)
        squares = torch.cat([squares, near.values], dim=1)
        indices = torch.cat([indices, near.indices + first], dim=1)
        best = squares.topk(min(own, squares.shape[1]), dim=1, largest=False).indices
        squares, indices = squares.gather(1, best), indices.gather(1, best)
        if progress is not None:
            progress(min(first + CHUNK, len(among)), len(among))
    distances = torch.stack([_exact(queries, among[index]) for index in indices.unbind(1)], dim=1)
    if mirrored:
        other = torch.stack([_exact(queries.flip(-1), among[index]) for index in indices.unbind(1)], dim=1)
        distances = torch.minimum(distances, other)
    distances, order = distances.sort(dim=1, stable=True)
    return Neighbours(distances[:, :k] / (levels - 1), indices.gather(1, order)[:, :k])


def _rounded(images: Tensor, among: Tensor, levels: int) -> Tensor:
    """Squared distances fp32 [N, M] by one matrix product, off by some units in the last place of the squares."""
    a, b = (x.flatten(1).float() - (levels - 1) / 2 for x in (images, among))
    return torch.addmm((a * a).sum(1, keepdim=True) + (b * b).sum(1), a, b.t(), alpha=-2)


def _exact(images: Tensor, others: Tensor) -> Tensor:
    """float64 [N] in levels, of images and as many others."""
    difference = images.flatten(1).int() - others.flatten(1).int()
    return (difference * difference).double().mean(1).sqrt()
