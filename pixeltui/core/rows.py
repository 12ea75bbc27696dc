"""Parts of a trunk evaluated a row at a time, and within the row a pixel at a time.

Buffers hold one row and those above it that a kernel reaches, never an image. Shapes: B images, W columns, D features,
L blocks; a row of features is [W, B, D], so that the same columns of all images, and every run of columns, are one
matrix.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core.image_rows import ImageRows, convolved, move_up
from pixeltui.core.packed import AttentionWeights, Gate, Norm, PackedAttention, labelled
from pixeltui.core.parts import IncrementalTrunk, Unsupported


def below(above: Tensor, x: Tensor, left: int) -> Tensor:
    """[B, A + R, .., D]: rows `above` [A, .., B, D] and known ones x [B, R, W, D], which begin at column `left`, in the
    same padding; `above` becomes the last A of them."""
    rows = x.new_zeros(x.shape[0], len(above) + x.shape[1], above.shape[1], x.shape[3])
    rows[:, : len(above)] = above.permute(2, 0, 1, 3)
    rows[:, len(above) :, left : left + x.shape[2]] = x
    above.copy_(rows[:, x.shape[1] :].permute(1, 2, 0, 3))
    return rows


def alike(blocks: Sequence[tuple[Any, ...]]) -> None:
    """Raises Unsupported where the matrices of blocks are not of the same shapes, or there are no blocks."""
    if len({tuple(part.shape if isinstance(part, Tensor) else None for part in block) for block in blocks}) != 1:
        raise Unsupported("blocks of several sizes")


def by_image(bias: Tensor) -> Tensor:
    """A bias [D] or [B, D] as it is added to [B, R, W, D]."""
    return bias if bias.ndim == 1 else bias[:, None, None]


class Block(NamedTuple):
    """A gated residual block as matrices: h + out(gate(after(conv(norm(h)) + bias))); see packed.Gate."""

    norm: Norm
    above: Tensor
    """[rows above, columns, D, n D], n as the gate takes them"""
    left: Tensor
    """[columns to the left, D, n D], of the current row"""
    centre: Tensor
    """[D, n D]"""
    bias: Tensor
    """[n D] or, of given labels, [B, n D]"""
    after: Norm | None
    gate: str
    out: Tensor
    """[D + 1 or more, D], see packed.Gate"""
    by_class: Tensor | None = None
    """[labels, n D]: what a label adds to the bias"""

    def of(self, labels: Tensor | None) -> "Block":
        return self._replace(bias=labelled(self.bias, self.by_class, labels), by_class=None)

    def kernel(self) -> Tensor:
        """[rows, columns, D, n D]: all its taps, zero to the right of the centre."""
        own = torch.cat([self.left, self.centre[None]])
        right = self.above.shape[1] - len(own)
        return torch.cat([self.above, F.pad(own, (0, 0, 0, 0, 0, right))[None]])


class AnyStack(ABC):
    """Blocks whose features at a pixel hang on earlier pixels of the row and on the rows above."""

    batch: int
    width: int
    channels: int
    blocks: Sequence[Any]
    attention: dict[int, PackedAttention]
    sums: Tensor
    """[L, W, B, ..]: what each block takes from elsewhere than the row, begun by begin_row and added to by others"""
    left_taps: int
    current: Tensor
    """[left_taps + W, L, B, D]: what the blocks' kernels see of the current row"""
    previous: Tensor
    """[rows above, L, W + .., B, D]: the same of those"""

    @abstractmethod
    def begin_row(self) -> None: ...

    @abstractmethod
    def pixel(self, column: int, h: Tensor) -> None:
        """h [B, D], of the pixel before the first block, becomes that after the last."""

    @abstractmethod
    def fill_block(self, number: int, row: int, h: Tensor, beside: Tensor | None) -> None:
        """A block at known rows, the first of which is number `row`: h [B, R, W, D] becomes that after the block.

        beside: what is added to its sums, [B, R, W, ..].
        """

    def end_row(self) -> None:
        if not len(self.previous):
            return
        move_up(self.previous)
        columns = slice(self.left_taps, self.left_taps + self.width)
        self.previous[-1, :, columns] = self.current[self.left_taps :].transpose(0, 1)

    @abstractmethod
    def matrices(self) -> list[Tensor]:
        """Those that a pixel is multiplied with: as many weights as multiply-adds."""
        return [matrix for one in self.attention.values() for matrix in (one.matrix, one.out[:-1])]


class AnyStackWeights(Protocol):
    def rows(self, labels: Tensor | None, batch: int, height: int, width: int) -> AnyStack: ...


Panels = dict[tuple[int, ...], tuple[Tensor, Tensor]]
"""Matrices, by where they lie, and what the compiled steps read in their place"""


class StackWeights:
    """Those of a CausalStack."""

    def __init__(self, blocks: list[Block], attention: dict[int, AttentionWeights]) -> None:
        alike(blocks)
        self.blocks, self.attention = blocks, attention
        self.left = [torch.stack([block.left[t] for block in blocks]) for t in range(len(blocks[0].left))]
        self.above: list[tuple[int, int, Tensor]] = []
        """row, column and [L, D, n D] of a tap of the rows above; none where blocks are begun one by one"""
        if blocks[0].centre.is_cuda:
            self.put_together()

    def rows(self, labels: Tensor | None, batch: int, height: int, width: int) -> "CausalStack":
        return CausalStack(self, labels, batch, height, width)

    def put_together(self) -> None:
        """For a GPU, which has little to do in one block: a few launches for all of them."""
        rows, columns = self.blocks[0].above.shape[:2]
        taps = [(row, column) for row in range(rows) for column in range(columns)]
        self.above = [(*tap, torch.stack([block.above[tap] for block in self.blocks])) for tap in taps]


class TrunkWeights:
    """Those of a RowTrunk, which every stream of a model shares and none writes to."""

    def __init__(self, first: Tensor, stack: AnyStackWeights, norm: tuple[Norm, Tensor | None]) -> None:
        """first: [left C, D or more], of the current row; norm: the last one."""
        self.first, self.stack, self.norm = first, stack, norm
        self.panels: Panels = {}


class CausalStack(AnyStack):
    """Blocks of dense kernels: one step a pixel, the rows above at once.

    The rows above are known in every block when a row begins, and so is the pixel to the left when a pixel begins:
    only the centre of each kernel has to wait for the block before.
    """

    def __init__(self, weights: StackWeights, labels: Tensor | None, batch: int, height: int, width: int) -> None:
        first = weights.blocks[0]
        self.blocks, self.batch, self.width = [block.of(labels) for block in weights.blocks], batch, width
        self.attention = {n: PackedAttention(one, batch, height, width) for n, one in weights.attention.items()}
        self.left_taps = len(first.left)
        self.channels, self.inner = first.centre.shape
        like, number, self.left, self.above = first.centre, len(self.blocks), weights.left, weights.above

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=like.dtype, device=like.device)

        self.current = zeros(self.left_taps + width, number, batch, self.channels)
        """normed"""
        self.previous = zeros(len(first.above), number, width + first.above.shape[1] - 1, batch, self.channels)
        self.sums = zeros(number, width, batch, self.inner)
        """what the gates take from the rows above, bias included"""
        self.both = zeros(number, batch, self.inner)
        self.gates = [Gate(first.gate, self.both[0], self.channels)]
        self.gates.extend(Gate(first.gate, both, self.channels, self.gates[0].work) for both in self.both[1:])
        self._steps = [list(self.current[self.left_taps + j].unbind(0)) for j in range(width)]

    def begin_row(self) -> None:
        """`sums`: where the matrices lie together, of all blocks at once."""
        if not self.above:
            for number in range(len(self.blocks)):
                self._begin_block(number)
            return
        biases = torch.stack([block.bias for block in self.blocks])
        self.sums.copy_(biases.view(len(biases), 1, -1, self.inner))
        for row, column, matrices in self.above:
            features = self.previous[row, :, column : column + self.width]
            self.sums.flatten(1, 2).baddbmm_(features.flatten(1, 2), matrices)

    def _begin_block(self, number: int) -> None:
        block, sums = self.blocks[number], self.sums[number]
        sums.copy_(block.bias)
        flat = sums.flatten(0, 1)
        for row, kernel in enumerate(block.above):
            for column, matrix in enumerate(kernel):
                features = self.previous[row, number, column : column + self.width]
                flat.addmm_(features.flatten(0, 1), matrix)

    def begin_pixel(self, column: int) -> None:
        """`both` becomes what the gates take from the rows above and from the pixels to the left."""
        both = self.both
        if self.left_taps:
            torch.baddbmm(self.sums[:, column], self.current[column], self.left[0], out=both)
            for tap in range(1, self.left_taps):
                both.baddbmm_(self.current[column + tap], self.left[tap])
        else:
            both.copy_(self.sums[:, column])

    def pixel(self, column: int, h: Tensor) -> None:
        self.begin_pixel(column)
        steps = zip(self.blocks, self._steps[column], self.gates, strict=True)
        for number, (block, normed, gate) in enumerate(steps):
            block.norm(h, normed)
            gate.both.addmm_(normed, block.centre)
            if block.after is not None:
                block.after(gate.both, gate.both)
            gate.add(block.out, h)
            if number in self.attention:
                self.attention[number].pixel(column, h)

    def fill_block(self, number: int, row: int, h: Tensor, beside: Tensor | None) -> None:
        block, normed = self.blocks[number], torch.empty_like(h)
        flat = h.flatten(0, 2)
        block.norm(flat, normed.flatten(0, 2))
        both = convolved(below(self.previous[:, number], normed, self.left_taps), block.kernel())
        both += by_image(block.bias)
        if beside is not None:
            both += beside
        gates = both.flatten(0, 2)
        if block.after is not None:
            block.after(gates, gates)
        Gate(block.gate, gates, self.channels).add(block.out, flat)
        if number in self.attention:
            self.attention[number].rows(row, h)

    def matrices(self) -> list[Tensor]:
        of_blocks = [part for block in self.blocks for part in (block.centre, block.out[:-1])]
        return [*self.left, *of_blocks, *super().matrices()]


class RowTrunk(IncrementalTrunk):
    """A first convolution, a stack and a norm. `begin_row` fills `start` and the stack's `sums`, for `pixel`.

    Features of the first convolution beyond those of the stack go past it and its norm.
    """

    def __init__(self, weights: TrunkWeights, image: ImageRows, labels: Tensor | None, height: int) -> None:
        batch, first = image.stored.shape[1], weights.first
        self.image, self.first, self.panels = image, first, weights.panels
        self.stack = stack = weights.stack.rows(labels, batch, height, image.width)
        self.current = image.current
        shape = (image.width, batch, first.shape[1])
        self.start = torch.zeros(shape, dtype=first.dtype, device=first.device)
        """what the first convolution takes from the rows above, bias included"""
        self.features = self.start[0].clone()
        self.own = self.features[:, : stack.channels]
        self.h = self.own.clone(memory_format=torch.contiguous_format)
        """[B, D]: memory of its own, or every norm would begin with a copy"""
        self.norm, self.factors = weights.norm
        reached = len(image.stored) - 1 + len(stack.blocks) * len(stack.previous)
        self.rows_above = None if stack.attention else reached

    def pixel(self, column: int) -> Tensor:
        torch.addmm(self.start[column], self.image.windows[column], self.first, out=self.features)
        self.h.copy_(self.own)
        self.stack.pixel(column, self.h)
        self.norm(self.h, self.own)
        if self.factors is not None:
            self.own.mul_(self.factors)
        return self.features

    def end_row(self) -> None:
        self.stack.end_row()
        self.image.end_row()

    def set_row(self, row: int) -> None:
        for attention in self.stack.attention.values():
            attention.set_row(row)
