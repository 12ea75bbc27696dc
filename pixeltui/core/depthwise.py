"""Trunks of depthwise kernels between 1x1 convolutions, most of whose products are where a pixel's features meet.

A block is that of Liu et al. 2022 (section 2): a kernel for each feature, a norm, a 1x1 convolution to several times
the features, an activation, one back. With D the depthwise kernels, W and U the 1x1 convolutions, one stack is

    x' = x + U gate(W norm(D x))

of which nothing but D can be had for a row at once when sampling. Two, as in core.two_stream, with the class bias V_y:

    v' = v + U gate(W norm(D v) + V_y)
    h' = h + U gate(W norm(D h + v'))

Shapes: features [B, D, H, W].
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core import packed
from pixeltui.core.convolved import normed_conv, plus_pointwise
from pixeltui.core.depthwise_rows import DepthwiseStackWeights, DepthwiseWeights, VerticalDepthwiseWeights
from pixeltui.core.dropout import Dropout
from pixeltui.core.layers import (
    ClassBias,
    PointwiseConv2d,
    gate_inputs,
    init_conv_,
    make_gate,
    make_norm,
)
from pixeltui.core.packed import AttentionWeights
from pixeltui.core.single_stack import SingleStack
from pixeltui.core.two_stream import OUT_GAIN, TwoStream

INSIDE, HORIZONTAL_INSIDE = 4, 2
"""features inside a block for each of the stack; the horizontal one of two has fewer, for sampling computes it pixel by
pixel"""


class DepthwiseConv2d(nn.Conv2d):
    """A convolution with a kernel for each feature and a mask of type "B" (see MaskedConv2d), [B, C, H, W] to the same.

    `whole` lets it see all of the pixel's row: for features of the rows above, as DownShiftedConv2d. `weight` is
    [C, 1, kernel_size // 2 + 1, kernel_size]: the rows below the centre are not there. Raises ValueError for an even
    kernel.
    """

    mask: Tensor

    def __init__(self, channels: int, kernel_size: int, *, whole: bool = False) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"expected an odd kernel size, got {kernel_size}")
        half = kernel_size // 2
        super().__init__(channels, channels, (half + 1, kernel_size), groups=channels)
        mask = torch.ones(half + 1, kernel_size)
        if not whole:
            mask[half, half + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        half = self.kernel_size[0] - 1
        return F.conv2d(F.pad(x, (half, half, half, 0)), self.weight * self.mask, self.bias, groups=self.groups)


class DepthwiseBlock(nn.Module):
    """x + 1x1(dropout(gate(1x1(norm(depthwise convolution of type B + beside)) + class bias))). Causal."""

    def __init__(self, model: Model, inside: int, *, num_classes: int = 0, whole: bool = False) -> None:
        """whole: causal over rows only."""
        super().__init__()
        wide = inside * model.channels
        self.gate_name, self.gate = model.gate, make_gate(model.gate)
        self.spread = DepthwiseConv2d(model.channels, model.kernel, whole=whole)
        self.norm = make_norm(model.norm, model.channels)
        self.into = PointwiseConv2d(model.channels, gate_inputs(self.gate) * wide)
        self.class_bias = ClassBias(num_classes, self.into.out_channels) if num_classes else None
        self.dropout = Dropout(model.dropout, wide)
        self.out = PointwiseConv2d(wide, model.channels)
        init_conv_(self.into)
        init_conv_(self.out, gain=OUT_GAIN)

    def forward(self, x: Tensor, beside: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """x and beside [B, D, H, W]; labels int64 [B] where there is a bias for them."""
        y = self.spread(x)
        if beside is not None:
            y = y + beside
        added = None if self.class_bias is None else self.class_bias(labels)
        y = normed_conv(self.into, self.norm, y, added)
        return plus_pointwise(x, self.out, self.dropout(self.gate(y)))


class DepthwiseStack(SingleStack):
    """SingleStack with blocks of depthwise kernels."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseBlock(model, INSIDE)

    def pack_blocks(self, attention: dict[int, AttentionWeights], dtype: torch.dtype) -> DepthwiseStackWeights:
        blocks = [block for block in self.blocks if isinstance(block, DepthwiseBlock)]
        return DepthwiseStackWeights([_pack(block, dtype) for block in blocks], attention)


class DepthwiseTwoStreamBlock(nn.Module):
    def __init__(self, model: Model, num_classes: int) -> None:
        super().__init__()
        self.vertical = DepthwiseBlock(model, INSIDE, num_classes=num_classes, whole=True)
        self.horizontal = DepthwiseBlock(model, HORIZONTAL_INSIDE)

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vertical and the horizontal stack after this block, from those before it."""
        v = self.vertical(v, None, labels)
        return v, self.horizontal(h, v)


class DepthwiseTwoStream(TwoStream):
    """TwoStream with blocks of depthwise kernels."""

    def block(self, model: Model, num_classes: int, *, last: bool) -> nn.Module:
        return DepthwiseTwoStreamBlock(model, num_classes)

    def can_pack(self) -> bool:
        halves = [half for block in self._pairs() for half in (block.vertical, block.horizontal)]
        return packed.can_pack(halves[0].gate_name, [*(half.norm for half in halves), self.norm])

    def pack_blocks(
        self, attention: dict[int, AttentionWeights], dtype: torch.dtype
    ) -> tuple[DepthwiseStackWeights, list[VerticalDepthwiseWeights]]:
        blocks = self._pairs()
        stack = DepthwiseStackWeights([_pack(block.horizontal, dtype) for block in blocks], attention)
        return stack, [VerticalDepthwiseWeights(_pack(block.vertical, dtype)) for block in blocks]

    def _pairs(self) -> list[DepthwiseTwoStreamBlock]:
        return [block for block in self.blocks if isinstance(block, DepthwiseTwoStreamBlock)]


def _pack(block: DepthwiseBlock, dtype: torch.dtype) -> DepthwiseWeights:
    kernel = (block.spread.weight * block.spread.mask).detach()[:, 0].permute(1, 2, 0)
    norm, factors = packed.pack_norm(block.norm, dtype)
    return DepthwiseWeights(
        kernel.to(dtype).contiguous(),
        packed.bias_of(block.spread, dtype),
        norm,
        packed.scaled_rows(packed.taps(block.into, dtype)[0, 0], factors),
        packed.bias_of(block.into, dtype),
        packed.class_table(block.class_bias, dtype),
        block.gate_name,
        packed.Gate.pack(block.out, dtype),
    )
