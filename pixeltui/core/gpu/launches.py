"""What the Triton kernels are launched with: one for a trunk's blocks, one for a mixture's draws."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from pixeltui.core.gpu.use import MOST_NUMBERS, kernels, power
from pixeltui.core.heads.dmol_pixel import LogisticMixturePixel
from pixeltui.core.heads.logistic import WIDEST
from pixeltui.core.packed import LayerOfPixel, Norm, RmsOfPixel, SameFeatures
from pixeltui.core.parts import IncrementalHead, Unsupported
from pixeltui.core.rows import CausalStack, RowTrunk
from pixeltui.core.single_stack import SingleStackRows
from pixeltui.core.two_stream import TwoStreamRows

if TYPE_CHECKING:
    from pixeltui.core.cached import CachedSampler

MOST_FEATURES = 256
"""beyond, a thread has not the registers for its part of a matrix"""
MOST_OF_HEAD = 512
MOST_PARAMETERS = 1024
MOST_CHANNELS = 3


class Tile(NamedTuple):
    """How a kernel is cut: images to a program, columns of a matrix at a time, warps; whether the next columns are
    asked for while those before are used."""

    images: int
    columns: int
    warps: int
    ahead: bool = True

    @property
    def groups(self) -> int:
        """Threads that share a column: four columns of a row are one load of a thread."""
        return self.warps * 128 // self.columns

    def programs(self, batch: int) -> int:
        return (batch + self.images - 1) // self.images


class TrunkKernel:
    """RowTrunk.pixel."""

    def __init__(self, trunk: RowTrunk, tile: Tile) -> None:
        """Raises Unsupported."""
        stack, image = _known_stack(trunk), trunk.image
        self.grid = (tile.programs(stack.batch),)
        self.stack, self.features = stack, trunk.features
        self.centre = torch.stack([block.centre for block in stack.blocks])
        self.out = torch.stack([block.out[: stack.channels + 1] for block in stack.blocks])
        row = image.stored[-1, :, image.start - image.left :]
        self.options = _trunk_options(trunk, stack, tile)
        size = 3 * self.options["GROUPS"] * tile.images * max(self.options["BD"], self.options["BS"])
        self.scratch = trunk.first.new_empty(self.grid[0] * size)
        """what threads tell one another"""
        self.arguments = (
            *(row, row.stride(0), trunk.first, trunk.start, stack.both, self.centre, self.out, stack.current),
            *(trunk.factors, trunk.features, self.scratch),
            *(norm_name(stack.blocks[0].norm)[1], norm_name(trunk.norm)[1]),
        )

    def pixel(self, column: int, *, begun: bool = False) -> Tensor:
        """Features [B, D], as RowTrunk's. begun: the stack's begin_pixel was called."""
        if not begun:
            self.stack.begin_pixel(column)
        kernels().trunk_pixel[self.grid](column, self.stack.batch, *self.arguments, **self.options)
        return self.features


def _known_stack(trunk: RowTrunk) -> CausalStack:
    """The trunk's; raises Unsupported where the kernel lacks a part of it."""
    if type(trunk) not in (SingleStackRows, TwoStreamRows) or type(trunk).pixel is not RowTrunk.pixel:
        raise Unsupported(type(trunk).__name__)
    stack = trunk.stack
    if type(stack) is not CausalStack:
        raise Unsupported(type(stack).__name__)
    if stack.attention:
        raise Unsupported("attention")
    if trunk.first.dtype != torch.float32:
        raise Unsupported(str(trunk.first.dtype))
    if any(block.after is not None for block in stack.blocks):
        raise Unsupported("a norm after the convolution")
    if len({id(type(block.norm)) for block in stack.blocks}) > 1:
        raise Unsupported("blocks with different norms")
    if stack.channels > MOST_FEATURES or stack.current.numel() >= MOST_NUMBERS:
        raise Unsupported(f"{stack.channels} channels, batch {stack.batch}")
    return stack


def _trunk_options(trunk: RowTrunk, stack: CausalStack, tile: Tile) -> dict[str, Any]:
    """What trunk_pixel is compiled for."""
    image = trunk.image
    channels, linear = stack.channels, trunk.first.shape[1] - stack.channels
    padded = power(channels)
    return {
        "BLOCKS": len(stack.blocks),
        "EACH": image.stored.shape[3],
        "LEFT": image.left,
        "D": channels,
        "LINEAR": linear,
        "TAPS": stack.left_taps,
        "NORM": norm_name(stack.blocks[0].norm)[0],
        "GATE": stack.blocks[0].gate,
        "LAST_NORM": norm_name(trunk.norm)[0],
        "T": tile.images,
        "C": min(tile.columns, padded),
        "BD": padded,
        "BL": power(trunk.first.shape[0]),
        "BS": power(max(linear, 1)),
        "GROUPS": min(tile.groups, padded),
        "AHEAD": tile.ahead,
        "num_warps": tile.warps,
        "num_stages": 1,
    }


class MixtureKernel:
    """LogisticMixturePixel's draws of a pixel; writes them into the sampler's row and into the trunk's."""

    def __init__(self, head: IncrementalHead, sampler: "CachedSampler[Any]", features: Tensor, tile: Tile) -> None:
        """features: the trunk's. Raises Unsupported."""
        head = _checked_head(head, features)
        mixtures = power(head.mixtures)
        self.images = sampler.row.shape[2]
        self.grid = (tile.programs(self.images),)
        self.out, self.bias = _spread(head, head.out, mixtures), _spread(head, head.bias, mixtures)
        self.near = self.out if head.near is None else _spread(head, head.near, mixtures)
        self.options = _mixture_options(head, features.shape[1], tile)
        size = 3 * self.options["GROUPS"] * tile.images * max(self.options["BP"], self.options["BH"])
        self.scratch = self.out.new_empty(self.grid[0] * size)
        current = sampler.trunk.current
        known = sampler.known.view(torch.uint8) if sampler.request.any_known else None
        self.arguments = (
            *(features, head.hidden, head.hidden_bias, self.out, self.bias, self.near),
            *(head.edges, head.cells, sampler.noise, known, sampler.row),
            *(current, self.scratch, current.stride(0), current.stride(1)),
            *(math.exp(-head.sharpest), math.exp(-WIDEST), head.width),
        )

    def draw(self, column: int) -> None:
        kernels().mixture_pixel[self.grid](column, self.images, *self.arguments, **self.options)


def _checked_head(head: IncrementalHead, features: Tensor) -> LogisticMixturePixel:
    """Raises Unsupported."""
    if type(head) is not LogisticMixturePixel:
        raise Unsupported(type(head).__name__)
    channels, hidden = head.image_channels, head.hidden.shape[1]
    if channels > MOST_CHANNELS or _kinds(head) * power(head.mixtures) > MOST_PARAMETERS:
        raise Unsupported(f"{channels} channels, {head.mixtures} mixtures")
    if max(hidden, features.shape[1]) > MOST_OF_HEAD:
        raise Unsupported(f"{hidden} hidden features")
    return head


def _kinds(head: LogisticMixturePixel) -> int:
    """Parameters of a component."""
    return sum(head.sizes) // head.mixtures


def _spread(head: LogisticMixturePixel, matrix: Tensor, mixtures: int) -> Tensor:
    """[.., kinds mixtures] with the components of a kind padded to so many."""
    by_kind = matrix.reshape(*matrix.shape[:-1], _kinds(head), head.mixtures)
    return pad(by_kind, (0, mixtures - head.mixtures)).flatten(-2).contiguous()


def _mixture_options(head: LogisticMixturePixel, features: int, tile: Tile) -> dict[str, Any]:
    """What mixture_pixel is compiled for."""
    kinds, mixtures, hidden, linear = _kinds(head), power(head.mixtures), head.hidden.shape[1], head.skipped
    parameters, padded, of_features = power(kinds * mixtures), power(hidden), power(features)
    groups = min(tile.groups, padded, of_features)
    return {
        "D": features,
        "LINEAR": linear if head.near is not None else 0,
        "HIDDEN": hidden,
        "K": head.mixtures,
        "BK": mixtures,
        "KINDS": kinds,
        "CHANNELS": head.image_channels,
        "LEVELS": head.levels,
        "IN_ORDER": head.in_order,
        "T": tile.images,
        "C": min(tile.columns, padded, parameters),
        "BD": of_features,
        "BH": padded,
        "BP": parameters,
        "BS": power(max(linear, 1)),
        "BL": power(head.levels),
        "GROUPS": groups,
        "num_warps": tile.warps,
        "num_stages": 1,
    }


def norm_name(norm: Norm) -> tuple[str, float]:
    """The kernels' name of a norm, and its number."""
    if isinstance(norm, LayerOfPixel):
        return "layer", norm.eps
    if isinstance(norm, RmsOfPixel):
        return "rms", float(norm.floor) ** 2
    if isinstance(norm, SameFeatures):
        return "none", 0.0
    raise Unsupported(type(norm).__name__)
