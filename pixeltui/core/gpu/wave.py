"""The blocks of a wave by Triton kernels: three a block, where torch's path is ten, and products on tensor cores.

Shapes: N pixels of a step, D features, E inside a block, L blocks.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pixeltui.core.depthwise_rows import DepthwiseStackWeights, DepthwiseWeights
from pixeltui.core.gpu import use
from pixeltui.core.gpu.launches import norm_name
from pixeltui.core.gpu.use import MOST_NUMBERS, ProductTile, kernels, power
from pixeltui.core.parts import Unsupported

LARGEST = 14
"""what is split is scaled to less than 2 to this, of the 2^16 that fp16 holds"""
MOST_SHIFT = 126
SPLIT_BYTES = 4
"""of a number in two of fp16"""
NUMBERS = 1024
"""of a program that is elementwise"""


Taps = list[tuple[Tensor, Tensor]]


class Tiles(NamedTuple):
    """Of the products into the inside of a block, and out of it."""

    into: ProductTile
    out: ProductTile


TILES = {
    32: Tiles(ProductTile(16, 32, 64, 4, 3), ProductTile(16, 32, 128, 4, 3)),
    256: Tiles(ProductTile(64, 32, 64, 4, 3), ProductTile(16, 32, 128, 4, 3)),
    512: Tiles(ProductTile(64, 64, 64, 4, 3), ProductTile(64, 16, 128, 4, 3)),
    4096: Tiles(ProductTile(128, 128, 32, 8, 3), ProductTile(64, 64, 64, 4, 4)),
    2**31: Tiles(ProductTile(128, 128, 32, 8, 3), ProductTile(128, 128, 64, 8, 3)),
}
"""by numbers of pixels up to, as measured on an H200"""


def tiles_for(pixels: int) -> Tiles:
    return next(tiles for most, tiles in TILES.items() if pixels <= most)


class Split(NamedTuple):
    """A matrix [.., K, N] that was multiplied by a power of 2, as two of fp16: high + low / 2^11."""

    high: Tensor
    low: Tensor
    scale: Tensor
    """[.., 1], that power's inverse"""

    @classmethod
    def of(cls, matrix: Tensor) -> "Split":
        factor = _factor(matrix.abs().amax((-2, -1)))[..., None]
        scaled = matrix * factor[..., None]
        high = scaled.half()
        return cls(high, ((scaled - high) * 2**11).half(), 1 / factor)


def _factor(largest: Tensor) -> Tensor:
    """The power of 2 that takes a number to between 2^13 and 2^14."""
    shift = LARGEST - torch.frexp(largest).exponent
    return torch.ldexp(torch.ones_like(largest), shift.clamp(-MOST_SHIFT, MOST_SHIFT))


class WaveBlocks:
    """Takes h [N, D], of the pixels before the first block, through all of them."""

    def __init__(
        self,
        stack: DepthwiseStackWeights,
        stored: Tensor,
        stored_at: Tensor,
        taps: Taps,
        h: Tensor,
        begun: Tensor,
    ) -> None:
        """stored [N, columns, L, D], stored_at [N]: place of column 0; taps: places [N] from column 0, weights [L, D];
        begun [N, L, D]: for sums. Raises Unsupported."""
        blocks = stack.blocks
        self.norm, self.number = _norm(blocks)
        self.stored, self.stored_at, self.h, self.begun = stored, stored_at, h, begun
        pixels, (number, channels), inside = len(h), stack.biases.shape, blocks[0].wide
        if h.dtype != torch.float32:
            raise Unsupported(str(h.dtype))
        if any(block.gate != "none" for block in blocks):
            raise Unsupported("a gate")
        if max(pixels * number * channels, pixels * inside) >= MOST_NUMBERS:
            raise Unsupported(f"{pixels} pixels")
        self.pixels, self.blocks, self.channels, self.inside = pixels, number, channels, inside
        memory = use.shared_memory(h.device)
        self.tiles = Tiles(*(tile.fitting(memory, SPLIT_BYTES) for tile in tiles_for(pixels)))
        self.places = torch.stack([place for place, _ in taps]) if taps else stored_at.new_empty(0, pixels)
        self.taps = torch.stack([tap for _, tap in taps]) if taps else stack.biases.new_empty(0, number, channels)
        self.biases = stack.biases.contiguous()
        self.last = stack.kernels[-1, stack.kernels.shape[1] // 2].contiguous()
        into = torch.stack([block.into for block in blocks])
        self.into_bias = torch.stack([block.bias for block in blocks])
        self.into = Split.of(into)
        # |x| is at most sqrt(D) after a norm, so that what is inside is at most this (Cauchy and Schwarz)
        most = channels**0.5 * torch.linalg.vector_norm(into, dim=1, dtype=torch.float64) + self.into_bias.abs()
        self.following = _factor(most.amax(1)).float()[:, None]
        """[L, 1]: what is inside is multiplied by it, so that fp16 holds it"""
        self.out = Split.of(torch.stack([block.out[:inside] for block in blocks]))
        self.out_scale = self.out.scale / self.following
        self.out_bias = torch.stack([block.out[inside] for block in blocks])
        self.normed, self.active = _halves(h, pixels, channels), _halves(h, pixels, inside)

    def run(self, columns: Tensor) -> None:
        """columns int64 [N] of the pixels."""
        with use.launching_on(self.h.device):
            self._run(columns)

    def _run(self, columns: Tensor) -> None:
        wide = self.blocks * self.channels
        kernels().wave_taps[self.pixels, -(-wide // NUMBERS)](
            *(self.stored, self.places, columns, self.taps, self.biases, self.begun, self.pixels),
            **{"WIDE": wide, "TAPS": len(self.taps), "BLOCK": NUMBERS},
        )
        for block in range(self.blocks):
            self._norm(block, columns)
            into, out = (Split(*(part[block] for part in split)) for split in (self.into, self.out))
            scales = into.scale, self.following[block]
            self._product(self.normed, into, self.into_bias[block], scales, self.active, self.tiles.into)
            scales = self.out_scale[block], self.following[block]
            self._product(self.active, out, self.out_bias[block], scales, None, self.tiles.out)

    def _norm(self, block: int, columns: Tensor) -> None:
        features = power(self.channels)
        at_once = max(NUMBERS // features, 1)
        kernels().wave_norm[(-(-self.pixels // at_once),)](
            *(self.h, self.begun, self.last, self.stored, self.stored_at, columns, *self.normed),
            *(self.number, block, self.pixels),
            **{"L": self.blocks, "D": self.channels, "NORM": self.norm, "P": at_once, "BD": features},
        )

    def _product(
        self,
        x: tuple[Tensor, Tensor],
        matrix: Split,
        bias: Tensor,
        scales: tuple[Tensor, Tensor],
        result: tuple[Tensor, Tensor] | None,
        tile: ProductTile,
    ) -> None:
        """Its silu into result, or added to h where there is none."""
        terms, columns = matrix.high.shape
        kernels().wave_product[tile.programs(self.pixels, columns),](
            *(*x, matrix.high, matrix.low, bias, *scales, self.h, *(result or (None, None)), self.pixels),
            **{"N": columns, "K": terms, "SILU": result is not None},
            **tile.options(),
        )


def _norm(blocks: list[DepthwiseWeights]) -> tuple[str, float]:
    """That of all blocks, which bounds a pixel's features; raises Unsupported."""
    found = {norm_name(block.norm) for block in blocks}
    if len(found) > 1:
        raise Unsupported("blocks with different norms")
    (norm,) = found
    if norm[0] == "none":
        raise Unsupported("no norm")
    return norm


def _halves(like: Tensor, *shape: int) -> tuple[Tensor, Tensor]:
    high = like.new_zeros(shape, dtype=torch.float16)
    return high, torch.zeros_like(high)


def wave_blocks(
    stack: DepthwiseStackWeights, stored: Tensor, stored_at: Tensor, taps: Taps, h: Tensor, begun: Tensor
) -> WaveBlocks | None:
    """None where triton is not there, the kernels lack a part of the model, or do not compile. `stored` and h are zeros
    before and after."""
    if not use.usable(h.device):
        return None
    try:
        blocks = WaveBlocks(stack, stored, stored_at, taps, h, begun)
    except Unsupported:
        return None

    def runs() -> bool:
        blocks.run(torch.zeros_like(stored_at))
        return True

    kind = ("wave", h.device, blocks.channels, blocks.inside, blocks.norm, blocks.tiles)
    ran = use.tried(kind, h.device, runs)
    stored.zero_()
    h.zero_()
    return blocks if ran else None
