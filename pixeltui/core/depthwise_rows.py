"""Blocks of core.depthwise a row at a time, and within the row a pixel at a time.

Buffers hold one row and those above it that a kernel reaches. Shapes: B images, W columns, D features, n e D inside a
block before the gate, L blocks; a row of features is [W, B, D].
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core.packed import AttentionWeights, Gate, Norm, PackedAttention
from pixeltui.core.rows import AnyStack, alike, below


class DepthwiseWeights(NamedTuple):
    """Those of a block: x + out(gate(into(norm(kernel * x + kernel_bias)) + bias))"""

    kernel: Tensor
    """[rows, columns, D], zero where it is masked"""
    kernel_bias: Tensor
    """[D]"""
    norm: Norm
    into: Tensor
    """[D, n e D]"""
    bias: Tensor
    """[n e D]"""
    gate: str
    out: Tensor
    """[e D + 1 or more, D], see packed.Gate"""

    @property
    def wide(self) -> int:
        """e D"""
        return self.into.shape[1] // (1 if self.gate == "none" else 2)

    def fill(self, rows: Tensor, x: Tensor) -> None:
        """x [B, R, W, D], at known rows, becomes that after the block; rows: x with what its kernel reaches."""
        kernel = self.kernel.permute(2, 0, 1)[:, None]
        y = F.conv2d(rows.permute(0, 3, 1, 2), kernel, self.kernel_bias, groups=len(kernel)).permute(0, 2, 3, 1)
        y = y.contiguous()
        normed = torch.empty_like(y)
        self.norm(y.flatten(0, 2), normed.flatten(0, 2))
        both = normed @ self.into + self.bias
        Gate(self.gate, both.flatten(0, 2), self.wide).add(self.out, x.flatten(0, 2))


class Work:
    """What lies between the kernels' sums and the residual, for a block after another: `pixels` at once."""

    def __init__(self, block: DepthwiseWeights, pixels: int) -> None:
        like, (channels, both) = block.into, block.into.shape
        self.sums = torch.zeros(pixels, channels, dtype=like.dtype, device=like.device)
        self.normed = torch.zeros_like(self.sums)
        self.both = torch.zeros(pixels, both, dtype=like.dtype, device=like.device)
        self.gate = Gate(block.gate, self.both, block.wide)

    def add(self, block: DepthwiseWeights, h: Tensor) -> None:
        """h [M, D] becomes that after the block, of whose kernels `sums` are."""
        block.norm(self.sums, self.normed)
        torch.addmm(block.bias, self.normed, block.into, out=self.both)
        self.gate.add(block.out, h)


class DepthwiseStackWeights:
    """Those of a DepthwiseStackRows."""

    def __init__(self, blocks: list[DepthwiseWeights], attention: dict[int, AttentionWeights]) -> None:
        alike(blocks)
        self.blocks, self.attention = blocks, attention
        self.kernels = torch.stack([block.kernel for block in blocks], dim=2)
        """[rows, columns, L, D]"""
        self.biases = torch.stack([block.kernel_bias for block in blocks])

    def rows(self, labels: Tensor | None, batch: int, height: int, width: int) -> "DepthwiseStackRows":
        return DepthwiseStackRows(self, batch, height, width)


class DepthwiseStackRows(AnyStack):
    """The rows above are known in every block when a row begins, and so are the pixels to the left when a pixel begins:
    only the last tap of a kernel has to wait for the block before."""

    def __init__(self, weights: DepthwiseStackWeights, batch: int, height: int, width: int) -> None:
        self.weights, self.blocks, self.batch, self.width = weights, weights.blocks, batch, width
        self.attention = {n: PackedAttention(one, batch, height, width) for n, one in weights.attention.items()}
        rows, columns, number, self.channels = weights.kernels.shape
        self.left_taps = columns // 2
        like = weights.kernels

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=like.dtype, device=like.device)

        self.current = zeros(self.left_taps + width, number, batch, self.channels)
        self.previous = zeros(rows - 1, number, width + columns - 1, batch, self.channels)
        self.sums = zeros(number, width, batch, self.channels)
        """what the norms take from the rows above, bias included"""
        self.begun = zeros(number, batch, self.channels)
        """that and the pixels to the left"""
        self.work = Work(weights.blocks[0], batch)

    def begin_row(self) -> None:
        self.sums.copy_(self.weights.biases[:, None, None])
        for above, taps in zip(self.previous, self.weights.kernels, strict=False):
            for column, tap in enumerate(taps):
                self.sums.addcmul_(above[:, column : column + self.width], tap[:, None, None])

    def pixel(self, column: int, h: Tensor) -> None:
        own, work = self.weights.kernels[-1], self.work
        self.begun.copy_(self.sums[:, column])
        for tap in range(self.left_taps):
            self.begun.addcmul_(self.current[column + tap], own[tap][:, None])
        stored = self.current[self.left_taps + column]
        for number, (block, begun) in enumerate(zip(self.blocks, self.begun, strict=True)):
            stored[number] = h
            torch.addcmul(begun, h, own[self.left_taps, number], out=work.sums)
            work.add(block, h)
            if number in self.attention:
                self.attention[number].pixel(column, h)

    def fill_block(self, number: int, row: int, h: Tensor, beside: Tensor | None) -> None:
        self.blocks[number].fill(below(self.previous[:, number], h, self.left_taps), h)
        if number in self.attention:
            self.attention[number].rows(row, h)

    def matrices(self) -> list[Tensor]:
        of_blocks = [part for block in self.blocks for part in (block.into, block.out[:-1])]
        return [self.weights.kernels[-1, : self.left_taps + 1], *of_blocks, *super().matrices()]
