"""One stack of masked convolutions (van den Oord et al. 2016a) with gates (2016b): the compact recipe.

It has the blind spot of such stacks: what lies above and further to the right than the kernels' masks can reach.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core import packed
from pixeltui.core.attention import CausalSelfAttention
from pixeltui.core.fused import channels_last
from pixeltui.core.image_rows import ImageRows
from pixeltui.core.layers import (
    ClassBias,
    LinearSkip,
    MaskedConv2d,
    ResidualBlock,
    shift_down,
    shift_right,
)
from pixeltui.core.once import once
from pixeltui.core.packed import AttentionWeights
from pixeltui.core.parts import Trunk
from pixeltui.core.rows import AnyStackWeights, Block, RowTrunk, StackWeights, TrunkWeights, by_image


class SingleStack(Trunk):
    """A convolution of type A, a bias for each class, then gated residual blocks of type B."""

    kind: type[nn.Module] = ResidualBlock
    """of the blocks, which pack_blocks knows"""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__()
        self.linear = model.linear_skip
        self.channels = model.channels + self.linear
        attended = model.attention.after
        self.rows_above = None if attended else model.first_kernel // 2 + model.blocks * (model.kernel // 2)
        self.first = MaskedConv2d("A", image_channels, model.channels, model.first_kernel)
        self.near: LinearSkip | None = None
        if model.linear_skip:
            half = model.first_kernel // 2
            self.near = LinearSkip(image_channels, model.linear_skip, half, model.first_kernel, half)
        self.class_bias = ClassBias(num_classes, model.channels) if num_classes else None
        self.blocks = nn.ModuleList(self.block(model) for _ in range(model.blocks))
        self.attention = nn.ModuleDict(
            {str(after): CausalSelfAttention(model.channels, model.attention.heads) for after in attended}
        )

    def block(self, model: Model) -> nn.Module:
        """From features to features, causal with the pixel's own."""
        return ResidualBlock(model.channels, model.kernel, norm=model.norm, gate=model.gate, dropout=model.dropout)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = channels_last(x)
        features: Tensor = self.first(x)
        if self.class_bias is not None:
            features = features + self.class_bias(labels).to(features.dtype)
        for number, block in enumerate(self.blocks, 1):
            features = self.through(block, features)
            if str(number) in self.attention:
                features = self.through(self.attention[str(number)], features)
        return features if self.near is None else self.near(shift_down(x), shift_right(x), features)

    def incremental(
        self, labels: Tensor | None, batch: int, height: int, width: int, dtype: torch.dtype
    ) -> "SingleStackRows | None":
        weights = self.packed(dtype)
        return None if weights is None else SingleStackRows(weights, weights.bias_of(labels), batch, height, width)

    def packed(self, dtype: torch.dtype) -> "SingleStackWeights | None":
        """None where they are not all that it computes with."""
        return packed.read(self, lambda: self._read(packed.blocks_of(self.blocks, self.kind), dtype))

    def _read(self, blocks: list[Any], dtype: torch.dtype) -> "SingleStackWeights":
        return once(self, dtype, lambda: SingleStackWeights(self, blocks, dtype))

    def pack_blocks(
        self, blocks: list[Any], attention: dict[int, AttentionWeights], dtype: torch.dtype
    ) -> AnyStackWeights:
        """attention: by the number of the block before it, from 0."""
        return StackWeights([pack_block(block, dtype) for block in blocks], attention)


class SingleStackWeights(TrunkWeights):
    """Those of a SingleStack: every kernel is cut into the rows above and the current row."""

    def __init__(self, trunk: SingleStack, blocks: list[Any], dtype: torch.dtype) -> None:
        first = packed.taps(trunk.first, dtype)
        self.image_channels, self.half = first.shape[2], len(first) - 1
        stack = trunk.pack_blocks(blocks, packed.attention_of(trunk.attention, dtype), dtype)
        self.first_above, left = first[:-1].flatten(0, 2), first[-1, : self.half].flatten(0, 1)
        self.bias = packed.bias_of(trunk.first, dtype)
        self.by_class = packed.class_table(trunk.class_bias, dtype)
        if trunk.near is not None:
            self.first_above = torch.cat([self.first_above, packed.taps(trunk.near.above, dtype).flatten(0, 2)], dim=1)
            left = torch.cat([left, packed.taps(trunk.near.left, dtype).flatten(0, 2)], dim=1)
            near = packed.bias_of(trunk.near.above, dtype)
            self.bias = torch.cat([self.bias, near])
            if self.by_class is not None:
                self.by_class = F.pad(self.by_class, (0, len(near)))
        super().__init__(left, stack, packed.pack_norm(nn.Identity(), dtype))

    def bias_of(self, labels: Tensor | None) -> Tensor:
        """Of the first features: [D] or, where there are classes, [B, D] of labels [B]."""
        return packed.labelled(self.bias, self.by_class, labels)


class SingleStackRows(RowTrunk):
    """SingleStack row by row and pixel by pixel."""

    def __init__(self, weights: SingleStackWeights, bias: Tensor, batch: int, height: int, width: int) -> None:
        """bias: see SingleStackWeights.bias_of"""
        channels, half, first = weights.image_channels, weights.half, weights.first
        image = ImageRows(batch, width, channels, above=half, left=half, reach=half, like=first, ones=False)
        super().__init__(weights, image, None, height)
        self.first_above, self.bias = weights.first_above, bias

    def begin_row(self) -> None:
        self.start.copy_(self.bias)
        self.start.flatten(0, 1).addmm_(self.image.above(), self.first_above)
        self.stack.begin_row()

    def fill_rows(self, row: int, x: Tensor) -> None:
        own = slice(self.stack.channels)
        above, left = self.image.take(x, self.first_above[:, own], self.first[:, own])
        h = above + left + by_image(self.bias[..., own])
        for number in range(len(self.stack.blocks)):
            self.stack.fill_block(number, row, h, None)


def pack_block(block: ResidualBlock, dtype: torch.dtype) -> Block:
    """A block without class bias; BatchNorm goes into the convolution before it."""
    kernel, bias = packed.taps(block.conv, dtype), packed.bias_of(block.conv, dtype)
    after: packed.Norm | None = None
    if isinstance(block.norm, nn.BatchNorm2d):
        scale, shift = packed.batch_norm_affine(block.norm, dtype)
        kernel, bias = kernel * scale, bias * scale + shift
    elif not isinstance(block.norm, nn.Identity):
        after, factors = packed.pack_norm(block.norm, dtype)
        after = after if factors is None else packed.Scaled(after, factors)

    half = len(kernel) - 1
    same, _ = packed.pack_norm(nn.Identity(), dtype)
    return Block(
        same,
        kernel[:-1].contiguous(),
        kernel[-1, :half].contiguous(),
        kernel[-1, half].contiguous(),
        bias,
        after,
        block.gate_name,
        packed.Gate.pack(block.out, dtype),
    )
