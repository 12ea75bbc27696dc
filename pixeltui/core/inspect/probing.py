"""What all inspections need: places, features caught on their way, and exact float arithmetic.

Order: raster, then channel. Sub-pixels are numbered in it: n = (row * W + column) * C + channel.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pixeltui.core.full_fp32 import full_fp32
from pixeltui.core.sampler import evaluating

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

GOLDEN = 0.6180339887498949
Place = tuple[int, int, int]
"""row, column, channel"""
Told = Callable[[float], None]
"""takes the share of some work that is done"""


def flat(x: Tensor) -> Tensor:
    """[N, C, H, W] to [N, H W C] in the order of the model."""
    return x.permute(0, 2, 3, 1).flatten(1)


def unflat(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The inverse; shape: (C, H, W)."""
    channels, height, width = shape
    return x.view(-1, height, width, channels).permute(0, 3, 1, 2)


def place_of(number: int, shape: tuple[int, int, int]) -> Place:
    channels, _, width = shape
    pixel, channel = divmod(number, channels)
    return (*divmod(pixel, width), channel)


def spread(total: int, count: int) -> list[int]:
    """`count` of the numbers below `total`, first and last among them, in no step with rows or channels; sorted."""
    if count >= total:
        return list(range(total))
    found = {0, total - 1}
    number = 0
    while len(found) < count:
        number += 1
        found.add(int(number * GOLDEN % 1 * total))
    return sorted(found)


@contextlib.contextmanager
def exact(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, fp32 in full, and on CUDA no algorithms that mix neighbouring pixels' roundings."""
    unmixed = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with evaluating(model), full_fp32(next(model.parameters()).device), unmixed:
        yield


@contextlib.contextmanager
def features_of(model: "ConditionalPixelCNN") -> Iterator[list[Tensor]]:
    """Collects the features [B, D, H, W] that the trunk gives to the head, a tensor a forward pass."""
    caught: list[Tensor] = []
    handle = model.trunk.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        yield caught
    finally:
        handle.remove()
