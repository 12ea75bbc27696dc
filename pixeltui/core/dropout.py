"""Dropout whose masks hang on the image alone: the same in whatever micro-batch or process the image is.

B images, C channels, H x W pixels.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Draws(NamedTuple):
    """Uniform int32. factors and offsets [B, C, 1, 1] are a layer's own, places [B, 1, H, W] common to all layers."""

    factors: Tensor
    offsets: Tensor
    places: Tensor
    numbers: Tensor
    """those of all layers, of which the others are parts"""


class Dropout(nn.Module):
    """Sets features to 0 with probability p in training mode, the others divided by 1 - p; x [B, C, H, W].

    After `seed_dropouts` a feature is dropped where factor * place + offset, modulo 2^32, is among the lowest p of the
    numbers (a multiplicative hash: Dietzfelbinger et al. 1997): any two features nearly independently, at the
    cost of a few passes, on every device alike. Before, masks come from torch's global generator.
    """

    def __init__(self, p: float, channels: int) -> None:
        super().__init__()
        self.p = p
        self.channels = channels
        self.draws: Draws | None = None

    @property
    def drops(self) -> bool:
        return self.training and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.drops:
            return x
        if self.draws is None:
            return F.dropout(x, self.p)
        numbers = torch.empty_like(x, dtype=torch.int32)
        torch.mul(self.draws.factors, self.draws.places, out=numbers)
        numbers += self.draws.offsets
        scaled, lowest_kept = x * (1 / (1 - self.p)), float(round(self.p * 2**32) - 2**31)
        if x.is_cuda:
            return scaled.masked_fill(numbers < lowest_kept, 0)  # as floats too, by the type of the threshold
        # a CPU compares and multiplies floats many at a time, and fills by a mask one by one
        return scaled * numbers.to(torch.float32).ge_(lowest_kept).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.p}, {self.channels}"


def seed_dropouts(layers: Iterable[Dropout], seeds: Sequence[int], size: tuple[int, int], device: torch.device) -> None:
    """Makes the masks of image i of the next batches functions of seeds[i] alone; size: (H, W).

    Batches of one size find their draws in the same memory, as a recorded step needs it.
    """
    layers = [layer for layer in layers if layer.p]
    if not layers:
        return
    places = size[0] * size[1]
    rows = torch.empty(len(seeds), places + 2 * sum(layer.channels for layer in layers), dtype=torch.int64)
    generator = torch.Generator()
    for row, seed in zip(rows, seeds, strict=True):
        row.random_(-(2**31), 2**31, generator=generator.manual_seed(seed))
    numbers = rows.int()
    before = layers[0].draws
    if before is not None and before.numbers.shape == numbers.shape and before.numbers.device == device:
        before.numbers.copy_(numbers, non_blocking=True)
        return
    numbers = numbers.to(device, non_blocking=True)
    common = numbers[:, :places].view(len(seeds), 1, *size)
    start = places
    for layer in layers:
        middle, end = start + layer.channels, start + 2 * layer.channels
        layer.draws = Draws(numbers[:, start:middle, None, None], numbers[:, middle:end, None, None], common, numbers)
        start = end
