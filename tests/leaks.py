"""Which log-probabilities move when one sub-pixel changes: the test that a model must pass to be a PixelCNN.

Order: raster, then channel. Sub-pixels are numbered in it: n = (row * W + column) * C + channel.
"""

import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN


def flat(x: Tensor) -> Tensor:
    """[N, C, H, W] to [N, H * W * C] in the order of the model."""
    return x.permute(0, 2, 3, 1).flatten(1)


def unflat(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    c, h, w = shape
    return x.view(-1, h, w, c).permute(0, 3, 1, 2)


def image(model: ConditionalPixelCNN, count: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.levels, (count, *model.image_shape), generator=generator, dtype=torch.uint8)


@torch.no_grad()
def moves(model: ConditionalPixelCNN, labels: bool = True) -> Tensor:
    """[n, m]: how far log-probability m moves when sub-pixel n, and nothing else, changes."""
    x = flat(image(model))
    size = x.shape[1]
    changed = x.repeat(size + 1, 1)
    changed[torch.arange(size), torch.arange(size)] = (x[0] + model.levels // 2) % model.levels
    classes = torch.full((size + 1,), 1) if labels else None
    log_prob = flat(model.log_prob(unflat(changed, model.image_shape), classes))
    return (log_prob[:-1] - log_prob[-1]).abs()


def check(model: ConditionalPixelCNN, moved: Tensor, *, in_order: bool, least: float) -> None:
    """No later sub-pixel moves an earlier log-probability; a neighbour to the right moves by more than `least`, and so
    do the later channels of the pixel itself where they are given the earlier ones."""
    channels = model.image_shape[0]
    size = moved.shape[0]
    n, m = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    assert float(moved.masked_fill(m >= n, 0).max()) <= 1e-5
    pixel_of_n, pixel_of_m = n // channels, m // channels
    if channels > 1:
        siblings = (pixel_of_n == pixel_of_m) & (m > n)
        assert bool((moved[siblings] > least).all()) if in_order else bool((moved[siblings] <= 1e-5).all())
    right_neighbour = (pixel_of_m == pixel_of_n + 1) & (pixel_of_m % model.image_shape[2] > 0)
    assert bool((moved[right_neighbour] > least).all())
