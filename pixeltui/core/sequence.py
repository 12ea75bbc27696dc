"""An image as the sequence of its sub-pixels' distributions, each asked for when the levels before it are known.

What a coder needs. The same code computes them whoever supplies the levels, in the same order and shapes, so that the
numbers are the same bit for bit when the images are written and when they are read back. Those of `model.log_prob` are
the same but for rounding, which is far too little to matter in a likelihood and enough to derail a decoder.

Shapes: B images [B, C, H, W], D features, L levels.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixeltui.core.cached import AnyHead
from pixeltui.core.parts import IncrementalHead, IncrementalTrunk, Trunk, scale_levels, takes_rows
from pixeltui.core.readable import copied
from pixeltui.core.sampler import evaluating

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN


class WholeTrunk(IncrementalTrunk):
    """A trunk that does not offer `incremental`, by a forward of the rows that reach the pixel."""

    def __init__(self, trunk: Trunk, labels: Tensor | None, image: Tensor) -> None:
        """image: zeros [B, C, H, W], which become the scaled image."""
        self.trunk, self.labels, self.image = copied(trunk), labels, image
        self.takes_rows = takes_rows(trunk)
        self.set_row(0)

    def set_row(self, row: int) -> None:
        above = row if self.trunk.rows_above is None else min(row, self.trunk.rows_above)
        self.row, self.rows = row, slice(row - above, row + 1) if self.takes_rows else slice(None)
        self.current = self.image[:, :, row].transpose(1, 2)

    def begin_row(self) -> None:
        """Nothing: each pixel begins anew."""

    def pixel(self, column: int) -> Tensor:
        features: Tensor = self.trunk(self.image[:, :, self.rows], self.labels)
        return features[:, :, -1 if self.takes_rows else self.row, column]

    def fill_rows(self, row: int, x: Tensor) -> None:
        self.image[:, :, row : row + x.shape[1]] = x.permute(0, 3, 1, 2)

    def end_row(self) -> None:
        """Nothing: `current` is the image."""


def distributions(
    model: "ConditionalPixelCNN", batch: int, labels: Tensor | None = None
) -> Generator[Tensor, Tensor, None]:
    """What `in_order` yields, by the trunk's and the head's cached steps or, where they offer none, by whole forwards.

    labels: int64 [B], None for p(image). The weights are copied at the start. Autocast is to be left off.
    """
    parameter = next(model.trunk.parameters())
    device, dtype = parameter.device, parameter.dtype
    with evaluating(model), torch.no_grad():  # no label is hidden
        index = model.label_index(labels, batch, device)
        trunk = model.trunk.incremental(index, batch, *model.image_shape[1:], dtype)
        if trunk is None:
            trunk = WholeTrunk(model.trunk, index, torch.zeros(batch, *model.image_shape, dtype=dtype, device=device))
    return in_order(model, trunk)


@torch.no_grad()
def in_order(model: "ConditionalPixelCNN", trunk: IncrementalTrunk) -> Generator[Tensor, Tensor, None]:
    """Yields log-probabilities fp32 [B, L] of each sub-pixel in order, and is sent the levels int64 [B] that it has.

    The head's weights are copied at once.
    """
    head = model.head.incremental() or AnyHead(model.head)
    scaled = scale_levels(torch.arange(model.levels, device=trunk.current.device), model.levels).to(trunk.current.dtype)
    return _in_order(trunk, head, scaled, model.image_shape)


@torch.no_grad()
def _in_order(
    trunk: IncrementalTrunk, head: IncrementalHead, scaled: Tensor, image_shape: tuple[int, int, int]
) -> Generator[Tensor, Tensor, None]:
    channels, height, width = image_shape
    for row in range(height):
        trunk.set_row(row)
        trunk.begin_row()
        for column in range(width):
            head.begin(trunk.pixel(column).float())
            for channel in range(channels):
                levels = yield head.log_probs(channel)
                trunk.current[:, column, channel] = scaled[levels]
                if channel + 1 < channels:
                    head.observe(channel, levels)
        trunk.end_row()
