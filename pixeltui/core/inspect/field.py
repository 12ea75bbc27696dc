"""The pixels that a pixel's distribution can hang on, by random weights, and does hang on, by the trained ones."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pixeltui.core.inspect.probing import exact
from pixeltui.core.parts import scale_levels
from pixeltui.core.readable import copied

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

MASS = 0.95
"""share of the gradient that the effective extent holds"""


@dataclass(frozen=True)
class Extent:
    """Pixels from the inspected one, as far as the image's edge lets one see."""

    above: int
    left: int
    right: int


@dataclass(frozen=True)
class Field:
    """Of the pixel at (row, column), which is itself in neither map."""

    row: int
    column: int
    support: Tensor
    """bool [H, W]: pixels that any weights of this shape can see"""
    magnitude: Tensor
    """fp32 [H, W]: mean over images and sum over channels of |d log p(pixel) / d x|, x in [-1, 1]"""
    reach: Extent
    """of the support"""
    effective: Extent
    """each way, the nearest pixels that hold 95 % of the magnitude"""
    blind: list[tuple[int, int]]
    """(row, column) of earlier pixels not seen, though one that is as far away or further, both up and sideways, is"""
    outside: int
    """pixels of the support that are not earlier ones: 0, or the model leaks"""


def receptive_field(
    model: "ConditionalPixelCNN", images: Tensor, labels: Tensor | None = None, *, place: tuple[int, int] | None = None
) -> Field:
    """images uint8 [B, C, H, W], whose gradients are averaged. place: row, column; None: middle of the last row."""
    _, height, width = model.image_shape
    row, column = place or (height - 1, width // 2)
    support = _support(model, row, column)
    with exact(model), torch.enable_grad():
        total = torch.zeros(height, width)
        for image in range(len(images)):
            x = scale_levels(images[image : image + 1], model.levels).requires_grad_()
            own = None if labels is None else labels[image : image + 1]
            log_prob = model.log_prob(x, own)[0, :, row, column].sum()
            (gradient,) = torch.autograd.grad(log_prob, x)
            total += gradient[0].abs().sum(0).cpu()
    magnitude = total / len(images)
    for found in (support, magnitude):
        found[row, column] = 0
    earlier = torch.arange(height * width).view(height, width) < row * width + column
    return Field(
        row=row,
        column=column,
        support=support,
        magnitude=magnitude,
        reach=_extent(support.float(), row, column, 1.0),
        effective=_extent(magnitude, row, column, MASS),
        blind=_blind(support & earlier, row, column),
        outside=int((support & ~earlier).sum()),
    )


def _support(model: "ConditionalPixelCNN", row: int, column: int) -> Tensor:
    """bool [H, W]: where the parameters at the pixel have a gradient, under random weights, in double precision."""
    model = copied(model).cpu().double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            _randomise(parameter, generator)
    x = torch.rand(2, *model.image_shape, generator=generator, dtype=torch.float64).mul(2).sub(1).requires_grad_()
    labels = torch.zeros(2, dtype=torch.int64) if model.num_classes else None
    with torch.enable_grad():
        params = model(x, labels)[:, :, row, column]
        weights = torch.randn(params.shape, generator=generator, dtype=params.dtype)
        (gradient,) = torch.autograd.grad((params * weights).sum(), x)
    return gradient.abs().sum((0, 1)) > 0


def _randomise(parameter: nn.Parameter, generator: torch.Generator) -> None:
    """So small that no gate and no depth overflows, and so large that no path vanishes."""
    if parameter.ndim < 2:
        parameter.uniform_(0.2, 1, generator=generator)
    else:
        parameter.normal_(0, 0.2 / math.sqrt(parameter[0].numel()), generator=generator)


def _extent(magnitude: Tensor, row: int, column: int, share: float) -> Extent:
    """The distances up, left and right of the pixel within which `share` of the magnitude of that direction lies."""

    def within(distances: Tensor) -> int:
        """distances: magnitude at distance 0, 1, ..."""
        total = float(distances.sum())
        if not total:
            return 0
        reached = (distances.double().cumsum(0) >= share * total * (1 - 1e-9)).nonzero()
        return int(reached[0]) if len(reached) else len(distances) - 1

    rows, columns = magnitude[: row + 1].sum(1).flip(0), magnitude.sum(0)
    return Extent(within(rows), within(columns[: column + 1].flip(0)), within(columns[column:]))


def _blind(support: Tensor, row: int, column: int) -> list[tuple[int, int]]:
    """Earlier pixels inside the outline of the support, on each side of the pixel, that are not in it."""
    width = support.shape[1]
    found = []
    for side in (range(column, -1, -1), range(column, width)):
        for r in range(row + 1):
            for number, c in enumerate(side):
                earlier = r < row or c < column
                further = support[: r + 1, list(side)[number:]]
                if earlier and not support[r, c] and bool(further.any()):
                    found.append((r, c))
    return sorted(set(found))
