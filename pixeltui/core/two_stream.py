"""A vertical and a horizontal stack without a blind spot (van den Oord et al. 2016b), as unmasked shifted convolutions
(Salimans et al. 2017, section 2.3).

Features of the vertical stack at row i hang on the rows above i, all columns; those of the horizontal stack at a pixel
on those rows and on the pixels to its left. So the vertical stack of a row can be had before any pixel of it is known.

Shapes: x [B, C, H, W]; both stacks [B, D, H, W].
"""

import torch
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core.layers import (
    CausalSelfAttention,
    ClassBias,
    DownRightShiftedConv2d,
    DownShiftedConv2d,
    gate,
    init_conv_,
    make_norm,
    shift_down,
    shift_right,
)
from pixeltui.core.parts import Trunk


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
        self.dropout = nn.Dropout(model.dropout)
        for conv in (self.vertical_conv, self.horizontal_conv, self.link):
            init_conv_(conv)
        for conv in (self.vertical_out, self.horizontal_out):
            init_conv_(conv, gain=OUT_GAIN)

    def vertical(self, v: Tensor, labels: Tensor | None) -> Tensor:
        """The vertical stack after this block, from the one before it."""
        y: Tensor = self.vertical_conv(self.vertical_norm(v))
        if self.vertical_class is not None:
            y = y + self.vertical_class(labels)
        out: Tensor = self.vertical_out(self.dropout(gate(y)))
        return v + out

    def horizontal(self, h: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        """The horizontal stack after this block, from the one before it and the vertical stack v after this block."""
        y: Tensor = self.horizontal_conv(self.horizontal_norm(h)) + self.link(self.link_norm(v))
        if self.horizontal_class is not None:
            y = y + self.horizontal_class(labels)
        out: Tensor = self.horizontal_out(self.dropout(gate(y)))
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
