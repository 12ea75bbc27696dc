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
from pixeltui.core.dropout import Dropout
from pixeltui.core.fused import gate
from pixeltui.core.layers import (
    CausalSelfAttention,
    ClassBias,
    DownRightShiftedConv2d,
    DownShiftedConv2d,
    init_conv_,
    make_norm,
    shift_down,
    shift_right,
)
from pixeltui.core.packed import Gate, PackedAttention
from pixeltui.core.parts import Trunk
from pixeltui.core.rows import Block, CausalStack, ImageRows, RowTrunk


class TwoStreamBlock(nn.Module):
    """One gated residual step of both stacks: x + 1x1(dropout(gate(convolution(norm(x)) + class bias))).

    The gate of the horizontal stack sees the vertical stack at the same place through a 1x1 link.
    """

    def __init__(self, model: Model, num_classes: int) -> None:
        super().__init__()
        channels, rows = model.channels, model.kernel // 2 + 1
        self.vertical_norm = make_norm(model.norm, channels)
        self.vertical_conv = DownShiftedConv2d(channels, 2 * channels, (rows, model.kernel))
        self.vertical_class = ClassBias(num_classes, 2 * channels) if num_classes else None
        self.vertical_out = nn.Conv2d(channels, channels, 1)
        self.horizontal_norm = make_norm(model.norm, channels)
        self.horizontal_conv = DownRightShiftedConv2d(channels, 2 * channels, (rows, rows))
        self.horizontal_class = ClassBias(num_classes, 2 * channels) if num_classes else None
        self.horizontal_out = nn.Conv2d(channels, channels, 1)
        self.link_norm = make_norm(model.norm, channels)
        self.link = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.vertical_dropout = Dropout(model.dropout, channels)
        self.horizontal_dropout = Dropout(model.dropout, channels)
        for conv in (self.vertical_conv, self.horizontal_conv, self.link):
            init_conv_(conv)
        for conv in (self.vertical_out, self.horizontal_out):
            init_conv_(conv, gain=OUT_GAIN)

    def vertical(self, v: Tensor, labels: Tensor | None) -> Tensor:
        """The vertical stack after this block, from the one before it."""
        y: Tensor = self.vertical_conv(self.vertical_norm(v))
        if self.vertical_class is not None:
            y = y + self.vertical_class(labels).to(y.dtype)
        out: Tensor = self.vertical_out(self.vertical_dropout(gate(y)))
        return v + out

    def horizontal(self, h: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        """The horizontal stack after this block, from the one before it and the vertical stack v after this block."""
        y: Tensor = self.horizontal_conv(self.horizontal_norm(h)) + self.link(self.link_norm(v))
        if self.horizontal_class is not None:
            y = y + self.horizontal_class(labels).to(y.dtype)
        out: Tensor = self.horizontal_out(self.horizontal_dropout(gate(y)))
        return h + out


OUT_GAIN = 0.1
"""of the 1x1 convolution that ends a block: blocks start as little more than the identity"""


class TwoStream(Trunk):
    """Two-stream gated PixelCNN; attention, where there is any, in the horizontal stack.

    The image gets a channel of ones, by which the first layer tells the zeros of the padding from those of the image.
    """

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__()
        self.channels = model.channels
        attended = model.attention.after
        rows = model.first_kernel // 2 + 1
        self.rows_above = None if attended else rows + model.blocks * (model.kernel // 2)
        self.vertical_first = DownShiftedConv2d(image_channels + 1, model.channels, (rows, model.first_kernel))
        self.horizontal_first = DownRightShiftedConv2d(image_channels + 1, model.channels, (1, rows))
        self.blocks = nn.ModuleList(TwoStreamBlock(model, num_classes) for _ in range(model.blocks))
        self.attention = nn.ModuleDict(
            {str(after): CausalSelfAttention(model.channels, model.attention.heads) for after in attended}
        )
        self.norm = make_norm(model.norm, model.channels)
        init_conv_(self.vertical_first)
        init_conv_(self.horizontal_first)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).contiguous(memory_format=torch.channels_last)
        v: Tensor = self.vertical_first(shift_down(x))
        h: Tensor = self.horizontal_first(shift_right(x)) + v
        for number, block in enumerate(self.blocks, 1):
            assert isinstance(block, TwoStreamBlock)
            v = block.vertical(v, labels)
            h = block.horizontal(h, v, labels)
            if str(number) in self.attention:
                h = self.attention[str(number)](h)
        features: Tensor = self.norm(h)
        return features

    def incremental(
        self, labels: Tensor | None, batch: int, height: int, width: int, dtype: torch.dtype
    ) -> "TwoStreamRows | None":
        norms = [norm for b in self._blocks() for norm in (b.vertical_norm, b.horizontal_norm, b.link_norm)]
        if not all(packed.can_pack(norm) for norm in [*norms, self.norm]):
            return None
        return TwoStreamRows(self, labels, batch, height, width, dtype)

    def _blocks(self) -> list[TwoStreamBlock]:
        return [block for block in self.blocks if isinstance(block, TwoStreamBlock)]


class VerticalBlock:
    """The vertical half of a TwoStreamBlock and its link, a row at a time; v [W B, D] holds the row."""

    def __init__(
        self, block: TwoStreamBlock, labels: Tensor | None, batch: int, width: int, dtype: torch.dtype
    ) -> None:
        self.norm, factors = packed.pack_norm(block.vertical_norm, dtype)
        kernel = packed.taps(block.vertical_conv, dtype)
        self.kernel = packed.scaled_rows(kernel, factors)
        self.bias = _bias(block.vertical_conv, block.vertical_class, labels, dtype)
        self.out = Gate.pack(block.vertical_out, dtype)
        self.link_norm, factors = packed.pack_norm(block.link_norm, dtype)
        self.link = packed.scaled_rows(packed.taps(block.link, dtype)[0, 0], factors)
        rows, columns, channels, _ = kernel.shape
        self.width, self.reach = width, columns // 2
        shape = (rows, width + columns - 1, batch, channels)
        self.normed = torch.zeros(shape, dtype=dtype, device=kernel.device)
        """the current row, last, and those above it"""

    def step(self, v: Tensor, work: "VerticalWork", horizontal: Tensor) -> None:
        """v becomes that after the block; `horizontal` [W B, 2 D] gets the link's part."""
        self.norm(v, self.normed[-1, self.reach : self.reach + self.width].flatten(0, 1))
        work.both.view(self.width, -1, work.both.shape[1]).copy_(self.bias)
        for row, kernel in enumerate(self.kernel):
            for column, matrix in enumerate(kernel):
                work.both.addmm_(self.normed[row, column : column + self.width].flatten(0, 1), matrix)
        work.gate.add(self.out, v)
        self.link_norm(v, work.linked)
        horizontal.addmm_(work.linked, self.link)

    def end_row(self) -> None:
        for row in range(len(self.normed) - 1):
            self.normed[row] = self.normed[row + 1]


class VerticalWork:
    """Buffers that all vertical blocks share."""

    def __init__(self, pixels: int, channels: int, like: Tensor) -> None:
        self.both = torch.empty(pixels, 2 * channels, dtype=like.dtype, device=like.device)
        self.linked = torch.empty(pixels, channels, dtype=like.dtype, device=like.device)
        self.gate = Gate(self.both)


class TwoStreamRows(RowTrunk):
    """TwoStream: the vertical stack a row at a time, the horizontal stack a pixel at a time."""

    def __init__(
        self, trunk: TwoStream, labels: Tensor | None, batch: int, height: int, width: int, dtype: torch.dtype
    ) -> None:
        vertical, horizontal = packed.taps(trunk.vertical_first, dtype), packed.taps(trunk.horizontal_first, dtype)
        rows, columns, channels, size = vertical.shape
        image = ImageRows(batch, width, channels - 1, rows, rows, columns // 2, vertical, ones=True)
        attention = {
            int(after) - 1: PackedAttention(layer, batch, height, width, dtype)
            for after, layer in trunk.attention.items()
            if isinstance(layer, CausalSelfAttention)
        }
        blocks = [_horizontal(block, labels, dtype) for block in trunk._blocks()]
        stack = CausalStack(blocks, attention, batch, width)
        super().__init__(image, horizontal[0].flatten(0, 1), stack, packed.pack_norm(trunk.norm, dtype))
        self.verticals = [VerticalBlock(block, labels, batch, width, dtype) for block in trunk._blocks()]
        self.vertical_first = vertical.flatten(0, 2)
        self.vertical_bias = packed.bias_of(trunk.vertical_first, dtype)
        self.bias = packed.bias_of(trunk.horizontal_first, dtype)
        self.work = VerticalWork(width * batch, size, vertical)

    def begin_row(self) -> None:
        v = torch.addmm(self.vertical_bias, self.image.above(), self.vertical_first)
        torch.add(v.view_as(self.start), self.bias, out=self.start)
        for number, vertical in enumerate(self.verticals):
            vertical.step(v, self.work, self.stack.begin_block(number))

    def end_row(self) -> None:
        super().end_row()
        for vertical in self.verticals:
            vertical.end_row()


def _horizontal(block: TwoStreamBlock, labels: Tensor | None, dtype: torch.dtype) -> Block:
    norm, factors = packed.pack_norm(block.horizontal_norm, dtype)
    kernel = packed.scaled_rows(packed.taps(block.horizontal_conv, dtype), factors)
    bias = _bias(block.horizontal_conv, block.horizontal_class, labels, dtype)
    own = kernel[-1].contiguous()
    return Block(norm, kernel[:-1], own[:-1], own[-1], bias, None, Gate.pack(block.horizontal_out, dtype))


def _bias(conv: nn.Conv2d, class_bias: ClassBias | None, labels: Tensor | None, dtype: torch.dtype) -> Tensor:
    """[2 D], or [B, 2 D] with labels."""
    bias = packed.bias_of(conv, dtype)
    if class_bias is not None:
        bias = bias + class_bias(labels).detach().flatten(1).to(dtype)
    return bias
