"""What the Triton kernel for a trunk's blocks of depthwise kernels is launched with."""

import torch
from torch import Tensor

from pixeltui.core.depthwise_rows import DepthwiseStackRows, DepthwiseWeights
from pixeltui.core.gpu.launches import AnyTrunkKernel, Tile, Unsupported, known_stack
from pixeltui.core.rows import RowTrunk


class DepthwiseKernel(AnyTrunkKernel):
    """With a DepthwiseStackRows."""

    name = "depthwise_pixel"

    def __init__(self, trunk: RowTrunk, tile: Tile) -> None:
        """Raises Unsupported."""
        stack = known_stack(trunk, DepthwiseStackRows)
        blocks, channels = stack.blocks, stack.channels
        wide = blocks[0].wide
        if wide % channels:
            raise Unsupported(f"{wide} features inside a block of {channels}")
        if any(block.bias.ndim > 1 for block in blocks):
            raise Unsupported("a bias for each image")
        weights = (
            stack.begun,
            stack.weights.kernels[-1, stack.left_taps],
            torch.stack([_in_parts(block, block.into) for block in blocks]),
            torch.stack([_in_parts(block, block.bias[None]) for block in blocks]),
            torch.stack([block.out[: wide + 1] for block in blocks]),
        )
        super().__init__(trunk, tile, weights, INSIDE=wide // channels)


def _in_parts(block: DepthwiseWeights, matrix: Tensor) -> Tensor:
    """[K, n e D] as [e, K, n D]: a matrix for what is gated to D features each."""
    channels = block.into.shape[0]
    gates, parts = block.into.shape[1] // block.wide, block.wide // channels
    by_part = matrix.view(-1, gates, parts, channels).permute(2, 0, 1, 3)
    return by_part.reshape(parts, -1, gates * channels)
