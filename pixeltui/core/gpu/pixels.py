"""A CachedSampler's pixels by the Triton kernels: one for a trunk's blocks, one for a mixture's draws.

The torch path is a launch for every norm, product and gate, some 230 a pixel, and a GPU waits for each. What hangs on
the rows above and on the pixel to the left stays in torch: few launches, for all blocks at once.
"""

import contextlib
import importlib.util
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from pixeltui.core.heads.dmol import WIDEST, LogisticMixturePixel
from pixeltui.core.packed import LayerOfPixel, Norm, RmsOfPixel, SameFeatures
from pixeltui.core.parts import IncrementalHead
from pixeltui.core.rows import RowTrunk
from pixeltui.core.single_stack import SingleStackRows
from pixeltui.core.two_stream import TwoStreamRows

if TYPE_CHECKING:
    from pixeltui.core.cached import CachedSampler

ON = False
"""whether samplers on CUDA use the kernels"""
BESIDE = True
"""whether what the next pixel takes from its left is computed beside the draws"""
failures: list[str] = []
"""why the kernels could not be compiled here, the last time"""
MOST_FEATURES = 256
"""beyond, a thread has not the registers for its part of a matrix"""
MOST_OF_HEAD = 512
MOST_NUMBERS = 2**31
"""of a tensor, whose places are int32"""
MOST_PARAMETERS = 1024
MOST_CHANNELS = 3


class Unsupported(Exception):
    """A part that the kernels do not know; the sampler then goes on in torch."""


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


TRUNK_TILES = {64: Tile(1, 64, 8), 128: Tile(2, 64, 8), 2**31: Tile(4, 64, 8)}
"""by batches up to: a program reads all weights, so that 64 programs are as many as the cache serves at its best"""
HEAD_TILE = Tile(1, 64, 8, ahead=False)


def tile_for(batch: int) -> Tile:
    return next(tile for most, tile in TRUNK_TILES.items() if batch <= most)


def compiles_for(device: torch.device) -> bool:
    return device.type == "cuda" and torch.version.cuda is not None


def kernels() -> Any:
    """The module of kernels."""
    from pixeltui.core.gpu import kernels as module

    return module


def power(least: int) -> int:
    """The power of 2 from `least` on."""
    return 1 << (least - 1).bit_length()


class TrunkKernel:
    """RowTrunk.pixel."""

    def __init__(self, trunk: RowTrunk, tile: Tile) -> None:
        """Raises Unsupported."""
        if type(trunk) not in (SingleStackRows, TwoStreamRows) or type(trunk).pixel is not RowTrunk.pixel:
            raise Unsupported(type(trunk).__name__)
        stack, image = trunk.stack, trunk.image
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
        channels, linear = stack.channels, trunk.first.shape[1] - stack.channels
        padded, padded_left = power(channels), power(trunk.first.shape[0])
        self.grid = ((stack.batch + tile.images - 1) // tile.images,)
        self.stack, self.features = stack, trunk.features
        self.centre = torch.stack([block.centre for block in stack.blocks])
        self.out = torch.stack([block.out[: channels + 1] for block in stack.blocks])
        norm, number = _norm(stack.blocks[0].norm)
        last_norm, last_number = _norm(trunk.norm)
        row = image.stored[-1, :, image.start - image.left :]
        factors = self.centre if trunk.factors is None else trunk.factors
        groups = min(tile.groups, padded)
        padded_linear = power(max(linear, 1))
        widest = max(padded, padded_linear)
        self.scratch = trunk.first.new_empty(self.grid[0] * 3 * groups * tile.images * widest)
        """what threads tell one another"""
        self.arguments = (
            *(row, row.stride(0), trunk.first, trunk.start, stack.both, self.centre, self.out, stack.current, factors),
            *(trunk.features, self.scratch, number, last_number),
        )
        self.options = {
            "BLOCKS": len(stack.blocks),
            "EACH": image.stored.shape[3],
            "LEFT": image.left,
            "D": channels,
            "LINEAR": linear,
            "GATES": stack.inner // channels,
            "TAPS": stack.left_taps,
            "NORM": norm,
            "GATE": stack.blocks[0].gate,
            "LAST_NORM": last_norm,
            "FACTORS": trunk.factors is not None,
            "T": tile.images,
            "C": min(tile.columns, padded),
            "BD": padded,
            "BL": padded_left,
            "BS": padded_linear,
            "CS": min(tile.columns, padded_linear),
            "BW": widest,
            "GROUPS": groups,
            "BLG": min(tile.groups, padded_left, padded),
            "AHEAD": tile.ahead,
            "num_warps": tile.warps,
            "num_stages": 1,
        }

    def pixel(self, column: int, *, begun: bool = False) -> Tensor:
        """Features [B, D], as RowTrunk's. begun: the stack's begin_pixel was called."""
        if not begun:
            self.stack.begin_pixel(column)
        kernels().trunk_pixel[self.grid](column, self.stack.batch, *self.arguments, **self.options)
        return self.features


class MixtureKernel:
    """LogisticMixturePixel's draws of a pixel; writes them into the sampler's row and into the trunk's."""

    def __init__(self, head: IncrementalHead, sampler: "CachedSampler", features: Tensor, tile: Tile) -> None:
        """features: the trunk's. Raises Unsupported."""
        if type(head) is not LogisticMixturePixel:
            raise Unsupported(type(head).__name__)
        channels, hidden, linear = head.image_channels, head.hidden.shape[1], head.skipped
        mixtures = power(head.mixtures)
        kinds = sum(head.sizes) // head.mixtures
        if channels > MOST_CHANNELS or kinds * mixtures > MOST_PARAMETERS:
            raise Unsupported(f"{channels} channels, {head.mixtures} mixtures")
        if max(hidden, features.shape[1]) > MOST_OF_HEAD:
            raise Unsupported(f"{hidden} hidden features")

        def spread(matrix: Tensor) -> Tensor:
            """[.., kinds mixtures] with the mixtures of a kind padded."""
            by_kind = matrix.reshape(*matrix.shape[:-1], kinds, head.mixtures)
            return pad(by_kind, (0, mixtures - head.mixtures)).flatten(-2).contiguous()

        self.images = sampler.row.shape[2]
        self.grid = ((self.images + tile.images - 1) // tile.images,)
        self.out, self.bias = spread(head.out), spread(head.bias)
        self.near = self.out if head.near is None else spread(head.near)
        parameters, padded, of_features = power(kinds * mixtures), power(hidden), power(features.shape[1])
        widest, groups = max(parameters, padded), min(tile.groups, padded, of_features)
        self.scratch = self.out.new_empty(self.grid[0] * 3 * groups * tile.images * widest)
        current = sampler.trunk.current
        self.arguments = (
            *(features, head.hidden, head.hidden_bias, self.out, self.bias, self.near),
            *(head.edges, head.cells, sampler.noise, sampler.known.view(torch.uint8), sampler.row),
            *(current, self.scratch, current.stride(0), current.stride(1)),
            *(math.exp(-head.sharpest), math.exp(-WIDEST), head.width),
        )
        self.options = {
            "D": features.shape[1],
            "LINEAR": linear if head.near is not None else 0,
            "HIDDEN": hidden,
            "K": head.mixtures,
            "BK": mixtures,
            "KINDS": kinds,
            "CHANNELS": channels,
            "LEVELS": head.levels,
            "IN_ORDER": head.in_order,
            "KNOWN": sampler.request.any_known,
            "T": tile.images,
            "C": min(tile.columns, padded, parameters),
            "BD": of_features,
            "BH": padded,
            "BP": parameters,
            "BS": power(max(linear, 1)),
            "BL": power(head.levels),
            "BW": widest,
            "GROUPS": groups,
            "BSG": min(groups, power(max(linear, 1))),
            "num_warps": tile.warps,
            "num_stages": 1,
        }

    def draw(self, column: int) -> None:
        kernels().mixture_pixel[self.grid](column, self.images, *self.arguments, **self.options)


class GpuPixels:
    """The pixels of the row that a sampler's buffers describe."""

    def __init__(self, sampler: "CachedSampler", tile: Tile, head_tile: Tile = HEAD_TILE) -> None:
        """Raises Unsupported, and whatever a kernel raises that cannot be compiled here."""
        if not isinstance(sampler.trunk, RowTrunk):
            raise Unsupported(type(sampler.trunk).__name__)
        self.trunk = TrunkKernel(sampler.trunk, tile)
        self.mixture: MixtureKernel | None = None
        """None: the draws are torch's"""
        if sampler.draw is None:
            try:
                self.mixture = MixtureKernel(sampler.head, sampler, self.trunk.features, head_tile)
            except Unsupported:
                self.mixture = None
        device = sampler.row.device
        self.beside: torch.cuda.Stream | None = None
        if BESIDE and device.type == "cuda":
            self.beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def row(self, mixture: MixtureKernel, width: int) -> None:
        """Every pixel of a row that has begun, and its draws."""
        for column in range(width):
            self.trunk.pixel(column, begun=column > 0)
            if column + 1 == width:
                mixture.draw(column)
                continue
            with self._beside():
                self.trunk.stack.begin_pixel(column + 1)
            mixture.draw(column)
            if self.beside is not None:
                torch.cuda.current_stream(self.beside.device).wait_stream(self.beside)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """What is launched within does not wait for what is launched after, nor the other way round."""
        if self.beside is None:
            yield
            return
        self.beside.wait_stream(torch.cuda.current_stream(self.beside.device))
        with torch.cuda.stream(self.beside):
            yield


def gpu_pixels(sampler: "CachedSampler") -> GpuPixels | None:
    """None where triton is not there or the kernels lack a part of the model."""
    if not (ON and compiles_for(sampler.row.device)) or importlib.util.find_spec("triton") is None:
        return None
    try:
        pixels = GpuPixels(sampler, tile_for(sampler.trunk.current.shape[0]))
    except Unsupported:
        return None
    return pixels if _runs(pixels) else None


def _runs(pixels: GpuPixels) -> bool:
    """Whether the kernels can be compiled and fit. What this draws is written over by the row that begins."""
    try:
        pixels.trunk.pixel(0)
        if pixels.mixture is not None:
            pixels.mixture.draw(0)
    except Exception as error:  # triton's own, a missing compiler's, the driver's
        failures[:] = [f"{type(error).__name__}: {error}"]
        return False
    return True


def _norm(norm: Norm) -> tuple[str, float]:
    """The kernels' name of a norm, and its number."""
    if isinstance(norm, LayerOfPixel):
        return "layer", norm.eps
    if isinstance(norm, RmsOfPixel):
        return "rms", float(norm.floor) ** 2
    if isinstance(norm, SameFeatures):
        return "none", 0.0
    raise Unsupported(type(norm).__name__)
