"""A vertical and a horizontal stack without a blind spot (van den Oord et al. 2016b), as unmasked shifted convolutions
(Salimans et al. 2017, section 2.3).

Features of the vertical stack at row i hang on the rows above i, all columns; those of the horizontal stack at a pixel
on those rows and on the pixels to its left. So the vertical stack of a row can be had before any pixel of it is known.

Shapes: x [B, C, H, W]; both stacks [B, D, H, W].
"""

import torch
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core import packed
from pixeltui.core.attention import CausalSelfAttention
from pixeltui.core.convolved import normed_conv, plus_pointwise
from pixeltui.core.dropout import Dropout
from pixeltui.core.fused import channels_last
from pixeltui.core.image_rows import ImageRows, convolved, move_up
from pixeltui.core.layers import (
    ClassBias,
    DownRightShiftedConv2d,
    DownShiftedConv2d,
    LinearSkip,
    gate_inputs,
    init_conv_,
    make_gate,
    make_norm,
    shift_down,
    shift_right,
)
from pixeltui.core.once import once
from pixeltui.core.packed import Gate
from pixeltui.core.parts import Trunk
from pixeltui.core.rows import Block, RowTrunk, StackWeights, TrunkWeights, below, by_image


class TwoStreamBlock(nn.Module):
    """One gated residual step of both stacks: x + 1x1(dropout(gate(convolution(norm(x)) + class bias))).

    The gate of the horizontal stack sees what the vertical stack's gate lets through at the same place, by a 1x1 link.
    So the vertical stack after the last block is of no use, and is left as it was.
    """

    def __init__(self, model: Model, num_classes: int, *, last: bool) -> None:
        super().__init__()
        channels, rows = model.channels, model.kernel // 2 + 1
        self.gate_name, self.gate = model.gate, make_gate(model.gate)
        inner = gate_inputs(self.gate) * channels
        self.vertical_norm = make_norm(model.norm, channels)
        self.vertical_conv = DownShiftedConv2d(channels, inner, (rows, model.kernel))
        self.vertical_class = ClassBias(num_classes, inner) if num_classes else None
        self.vertical_out = None if last else nn.Conv2d(channels, channels, 1)
        self.horizontal_norm = make_norm(model.norm, channels)
        self.horizontal_conv = DownRightShiftedConv2d(channels, inner, (rows, rows))
        self.horizontal_class = ClassBias(num_classes, inner) if num_classes else None
        self.horizontal_out = nn.Conv2d(channels, channels, 1)
        self.link = nn.Conv2d(channels, inner, 1, bias=False)
        self.vertical_dropout = Dropout(model.dropout, channels)
        self.horizontal_dropout = Dropout(model.dropout, channels)
        for conv in (self.vertical_conv, self.horizontal_conv, self.link):
            init_conv_(conv)
        for out in (self.vertical_out, self.horizontal_out):
            if out is not None:
                init_conv_(out, gain=OUT_GAIN)

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vertical and the horizontal stack after this block, from those before it."""
        y = normed_conv(self.vertical_conv, self.vertical_norm, v, _of_class(self.vertical_class, labels))
        gated = self.vertical_dropout(self.gate(y))
        if self.vertical_out is not None:
            v = plus_pointwise(v, self.vertical_out, gated)
        y = normed_conv(self.horizontal_conv, self.horizontal_norm, h, _of_class(self.horizontal_class, labels))
        y = plus_pointwise(y, self.link, gated)
        h = plus_pointwise(h, self.horizontal_out, self.horizontal_dropout(self.gate(y)))
        return v, h


def _of_class(bias: ClassBias | None, labels: Tensor | None) -> Tensor | None:
    return None if bias is None else bias(labels)


OUT_GAIN = 0.1
"""of the 1x1 convolution that ends a block: blocks start as little more than the identity"""


class TwoStream(Trunk):
    """Two-stream gated PixelCNN; attention, where there is any, in the horizontal stack.

    The image gets a channel of ones, by which the first layer tells the zeros of the padding from those of the image.
    `near` goes past the blocks: fp32 linear functions of the pixels that the first layer sees, for the head.
    """

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__()
        self.linear = model.linear_skip
        self.channels = model.channels + self.linear
        attended = model.attention.after
        rows = model.first_kernel // 2 + 1
        self.rows_above = None if attended else rows + model.blocks * (model.kernel // 2)
        self.vertical_first = DownShiftedConv2d(image_channels + 1, model.channels, (rows, model.first_kernel))
        self.horizontal_first = DownRightShiftedConv2d(image_channels + 1, model.channels, (1, rows))
        self.blocks = nn.ModuleList(
            TwoStreamBlock(model, num_classes, last=number == model.blocks) for number in range(1, model.blocks + 1)
        )
        self.attention = nn.ModuleDict(
            {str(after): CausalSelfAttention(model.channels, model.attention.heads) for after in attended}
        )
        self.norm = make_norm(model.norm, model.channels)
        init_conv_(self.vertical_first)
        init_conv_(self.horizontal_first)
        self.near: LinearSkip | None = None
        if model.linear_skip:
            self.near = LinearSkip(image_channels + 1, model.linear_skip, rows, model.first_kernel, rows)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        above, left, v, h = self.begin(x)
        for number, block in enumerate(self.blocks, 1):
            v, h = self.through(block, v, h, labels)
            if str(number) in self.attention:
                h = self.through(self.attention[str(number)], h)
        return self.end(above, left, h)

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The image with its ones, moved down and moved right, and both stacks before the first block."""
        x = channels_last(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
        above, left = shift_down(x), shift_right(x)
        v: Tensor = self.vertical_first(above)
        h: Tensor = self.horizontal_first(left) + v
        return above, left, v, h

    def end(self, above: Tensor, left: Tensor, h: Tensor) -> Tensor:
        """The trunk's features from the horizontal stack after the last block."""
        features: Tensor = self.norm(h)
        return features if self.near is None else self.near(above, left, features)

    def incremental(
        self, labels: Tensor | None, batch: int, height: int, width: int, dtype: torch.dtype
    ) -> "TwoStreamRows | None":
        weights = packed.read(self, lambda: self._read(packed.blocks_of(self.blocks, TwoStreamBlock), dtype))
        return None if weights is None else TwoStreamRows(weights, labels, batch, height, width)

    def _read(self, blocks: list[TwoStreamBlock], dtype: torch.dtype) -> "TwoStreamWeights":
        return once(self, dtype, lambda: TwoStreamWeights(self, blocks, dtype))


class VerticalWeights:
    """Those of the vertical half of a TwoStreamBlock and its link."""

    def __init__(self, block: TwoStreamBlock, dtype: torch.dtype) -> None:
        self.norm, factors = packed.pack_norm(block.vertical_norm, dtype)
        self.gate = block.gate_name
        self.kernel = packed.scaled_rows(packed.taps(block.vertical_conv, dtype), factors)
        self.bias = packed.bias_of(block.vertical_conv, dtype)
        self.by_class = packed.class_table(block.vertical_class, dtype)
        self.out = None if block.vertical_out is None else Gate.pack(block.vertical_out, dtype)
        self.link = packed.pointwise(block.link, dtype)

    def work(self, width: int, batch: int) -> "VerticalWork":
        channels, inner = self.kernel.shape[2:]
        return VerticalWork(self.gate, width * batch, inner, channels, self.kernel)


class VerticalBlock:
    """The vertical half of a TwoStreamBlock and its link, a row at a time; v [W B, D] holds the row."""

    def __init__(self, weights: VerticalWeights, labels: Tensor | None, batch: int, width: int) -> None:
        self.norm, self.kernel, self.out, self.link = weights.norm, weights.kernel, weights.out, weights.link
        self.gate = weights.gate
        self.bias = packed.labelled(weights.bias, weights.by_class, labels)
        """[n D], or [B, n D] with labels"""
        rows, columns, channels, _ = self.kernel.shape
        self.width, self.reach = width, columns // 2
        shape = (rows, width + columns - 1, batch, channels)
        self.normed = torch.zeros(shape, dtype=self.kernel.dtype, device=self.kernel.device)
        """the current row, last, and those above it"""

    def step(self, v: Tensor, work: "VerticalWork", horizontal: Tensor) -> None:
        """v becomes that after the block; `horizontal` [W B, n D] gets the link's part."""
        self.norm(v, self.normed[-1, self.reach : self.reach + self.width].flatten(0, 1))
        work.both.view(self.width, -1, work.both.shape[1]).copy_(self.bias)
        for row, kernel in enumerate(self.kernel):
            for column, matrix in enumerate(kernel):
                work.both.addmm_(self.normed[row, column : column + self.width].flatten(0, 1), matrix)
        work.gate.add(self.out, v)
        horizontal.addmm_(work.gate.gated, self.link)

    def fill(self, v: Tensor) -> Tensor:
        """v [B, R, W, D] of known rows becomes that after the block; the link's part [B, R, W, n D]."""
        normed, flat = torch.empty_like(v), v.flatten(0, 2)
        self.norm(flat, normed.flatten(0, 2))
        both = convolved(below(self.normed[:-1], normed, self.reach), self.kernel) + by_image(self.bias)
        gated = Gate(self.gate, both.flatten(0, 2), v.shape[3])
        gated.add(self.out, flat)
        return (gated.gated @ self.link).view_as(both)

    def end_row(self) -> None:
        move_up(self.normed)


class VerticalWork:
    """Buffers that all vertical blocks share."""

    def __init__(self, gate: str, pixels: int, inner: int, channels: int, like: Tensor) -> None:
        self.both = torch.empty(pixels, inner, dtype=like.dtype, device=like.device)
        self.gate = Gate(gate, self.both, channels)


class TwoStreamWeights(TrunkWeights):
    """Those of a TwoStream."""

    def __init__(self, trunk: TwoStream, blocks: list[TwoStreamBlock], dtype: torch.dtype) -> None:
        firsts = [(trunk.vertical_first, trunk.horizontal_first)]
        if trunk.near is not None:
            firsts.append((trunk.near.above, trunk.near.left))
        vertical = torch.cat([packed.taps(above, dtype) for above, _ in firsts], dim=3)
        horizontal = torch.cat([packed.taps(left, dtype) for _, left in firsts], dim=3)
        self.verticals = [VerticalWeights(block, dtype) for block in blocks]
        stack = StackWeights(
            [_horizontal(block, dtype) for block in blocks], packed.attention_of(trunk.attention, dtype)
        )
        super().__init__(horizontal[0].flatten(0, 1), stack, packed.pack_norm(trunk.norm, dtype))
        self.vertical_first = vertical
        """[rows, columns, C, D or more]"""
        self.vertical_bias = torch.cat([packed.bias_of(above, dtype) for above, _ in firsts])
        self.bias = torch.cat([packed.bias_of(left, dtype) for _, left in firsts])


class TwoStreamRows(RowTrunk):
    """TwoStream: the vertical stack a row at a time, the horizontal stack a pixel at a time."""

    def __init__(self, weights: TwoStreamWeights, labels: Tensor | None, batch: int, height: int, width: int) -> None:
        rows, columns, channels, _ = weights.vertical_first.shape
        image = ImageRows(batch, width, channels - 1, rows, rows, columns // 2, weights.vertical_first, ones=True)
        super().__init__(weights, image, labels, height)
        self.verticals = [VerticalBlock(one, labels, batch, width) for one in weights.verticals]
        if self.rows_above is not None:
            here = len(self.stack.previous)
            self.rows_above += sum(max(len(vertical.kernel) - 1 - here, 0) for vertical in self.verticals)
        self.vertical_first = weights.vertical_first.flatten(0, 2)
        self.vertical_bias, self.bias = weights.vertical_bias, weights.bias
        self.work = weights.verticals[0].work(width, batch)

    def begin_row(self) -> None:
        first = torch.addmm(self.vertical_bias, self.image.above(), self.vertical_first)
        torch.add(first.view_as(self.start), self.bias, out=self.start)
        v = first[:, : self.stack.channels]
        self.stack.begin_row()
        for vertical, sums in zip(self.verticals, self.stack.sums, strict=True):
            vertical.step(v, self.work, sums.flatten(0, 1))

    def fill_rows(self, row: int, x: Tensor) -> None:
        own = slice(self.stack.channels)
        above, left = self.image.take(x, self.vertical_first[:, own], self.first[:, own])
        v = above + self.vertical_bias[own]
        h = left + v + self.bias[own]
        for number, vertical in enumerate(self.verticals):
            self.stack.fill_block(number, row, h, vertical.fill(v))

    def end_row(self) -> None:
        super().end_row()
        for vertical in self.verticals:
            vertical.end_row()


def _horizontal(block: TwoStreamBlock, dtype: torch.dtype) -> Block:
    norm, factors = packed.pack_norm(block.horizontal_norm, dtype)
    kernel = packed.scaled_rows(packed.taps(block.horizontal_conv, dtype), factors)
    bias = packed.bias_of(block.horizontal_conv, dtype)
    by_class = packed.class_table(block.horizontal_class, dtype)
    own = kernel[-1].contiguous()
    out = Gate.pack(block.horizontal_out, dtype)
    return Block(norm, kernel[:-1], own[:-1], own[-1], bias, None, block.gate_name, out, by_class)
