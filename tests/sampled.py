"""What the tests of sampling share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import noise_of

Tiny = Callable[..., ConditionalPixelCNN]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""where the kernels for a GPU are tried; without one they are Triton's interpreter's"""


class Fast:
    """Names of the parts that are sampled pixel by pixel; a part that offers no `incremental` is sampled by `forward`,
    and is in the tests that run over the registry."""

    ARCHITECTURES = ("single_stack", "two_stream", "depthwise")
    HEADS = ("categorical", "dmol")
    NORMS = ("batch", "layer", "rms", "none")
    GATES = ("none", "silu", "tanh")


def last(rows: Any) -> Tensor:
    *_, (images, _) = rows
    result: Tensor = images
    return result


def random_images(model: ConditionalPixelCNN, batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.levels, (batch, *model.image_shape), generator=generator, dtype=torch.uint8)


@torch.no_grad()
def features_by_row(
    model: ConditionalPixelCNN, images: Tensor, labels: Tensor | None, filled: tuple[int, ...]
) -> Tensor:
    """Features [B, D, H, W] of true images, pixel by pixel; NaN in the rows that are taken in at once."""
    batch, _, height, width = images.shape
    trunk = model.trunk.incremental(labels, batch, height, width, torch.float32)
    assert trunk is not None
    scaled = scale_levels(images, model.levels)
    features = torch.full((batch, model.trunk.channels, height, width), torch.nan)
    first = 0
    for row in range(height):
        if row in filled:
            continue
        if row > first:
            trunk.fill_rows(first, scaled[:, :, first:row].permute(0, 2, 3, 1))
        trunk.set_row(row)
        trunk.begin_row()
        for column in range(width):
            features[:, :, row, column] = trunk.pixel(column)
            trunk.current[:, column] = scaled[:, :, row, column]
        trunk.end_row()
        first = row + 1
    return features


@torch.no_grad()
def by_log_prob(model: ConditionalPixelCNN, labels: list[int] | None, guidance: float, seed: int) -> Tensor:
    """Images that the model's own scores of all levels give, sub-pixel by sub-pixel, from the sampler's noise."""
    channels, height, width = model.image_shape
    batch, levels = 3, model.levels
    noise = torch.stack([noise_of(seed, i, model.image_shape) for i in range(batch)]).double()
    images = torch.zeros(batch, *model.image_shape, dtype=torch.uint8)
    own = None if labels is None else torch.tensor(labels).repeat_interleave(levels)

    def scores(place: tuple[int, int, int], labels: Tensor | None) -> Tensor:
        each = images.repeat_interleave(levels, 0)
        each[(slice(None), *place)] = torch.arange(levels, dtype=torch.uint8).repeat(batch)
        return model.log_prob(each, labels)[(slice(None), *place)].view(batch, levels).double()

    for row in range(height):
        for column in range(width):
            for channel in range(channels):
                place = channel, row, column
                conditional = scores(place, own)
                plain = conditional if guidance == 1 else scores(place, None)
                probs = (plain + guidance * (conditional - plain)).softmax(1)
                below = probs.cumsum(1) <= noise[(slice(None), *place)][:, None]
                images[(slice(None), *place)] = below.sum(1).clamp(max=levels - 1).to(torch.uint8)
    return images
