"""What the tests of sampling share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN
from pixeltui.core.parts import scale_levels

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
