"""A stack of depthwise kernels between 1x1 convolutions: its products are where a pixel's features meet.

A block is that of Liu et al. 2022 (section 2): a kernel for each feature, a norm, a 1x1 convolution to several times
the features, an activation, one back. With D the depthwise kernels, W and U the 1x1 convolutions,

    x' = x + U gate(W norm(D x))

Shapes: features [B, D, H, W].
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core import packed
from pixeltui.core.convolved import gained_conv, normed_conv, plus_pointwise
from pixeltui.core.depthwise_rows import DepthwiseStackWeights, DepthwiseWeights
from pixeltui.core.depthwise_wave import DepthwiseWave
from pixeltui.core.dropout import Dropout
from pixeltui.core.gpu import block as gpu_block
from pixeltui.core.gpu import depthwise as gpu
from pixeltui.core.layers import LayerNorm, PointwiseConv2d, gained, gate_inputs, init_conv_, make_gate, make_norm, silu
from pixeltui.core.packed import AttentionWeights
from pixeltui.core.parts import Unsupported
from pixeltui.core.readable import calls
from pixeltui.core.single_stack import SingleStack
from pixeltui.core.two_stream import OUT_GAIN

INSIDE = 4
"""features inside a block for each of the stack"""


class DepthwiseConv2d(nn.Conv2d):
    """A convolution with a kernel for each feature and a mask of type "B" (see MaskedConv2d), [B, C, H, W] to the same.

    `weight` is [C, 1, kernel_size // 2 + 1, kernel_size]: the rows below the centre are not there. Raises ValueError
    for an even kernel.
    """

    mask: Tensor

    def __init__(self, channels: int, kernel_size: int) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"expected an odd kernel size, got {kernel_size}")
        half = kernel_size // 2
        super().__init__(channels, channels, (half + 1, kernel_size), groups=channels)
        mask = torch.ones(half + 1, kernel_size)
        mask[half, half + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        if gpu.usable(x):
            return self.on_gpu(x, None)
        half = self.kernel_size[0] - 1
        return F.conv2d(F.pad(x, (half, half, half, 0)), self.weight * self.mask, self.bias, groups=self.groups)

    def on_gpu(self, x: Tensor, eps: float | None) -> Tensor:
        """The same, and with `eps` layer norm of that, without a gain."""
        return gpu.depthwise(x, *self.taps(), self.kernel_size[1], eps)

    def taps(self) -> tuple[Tensor, Tensor]:
        """[T, C], those that the mask leaves, in raster order, and the bias [C]."""
        assert self.bias is not None
        half = self.kernel_size[0] - 1
        return self.weight.flatten(1)[:, : half * self.kernel_size[1] + half + 1].t(), self.bias


class DepthwiseBlock(nn.Module):
    """x + 1x1(dropout(gate(1x1(norm(depthwise convolution of type B))))). Causal; [B, D, H, W] to the same."""

    def __init__(self, model: Model, inside: int = INSIDE) -> None:
        super().__init__()
        wide = inside * model.channels
        self.gate_name, self.gate = model.gate, make_gate(model.gate)
        self.spread = DepthwiseConv2d(model.channels, model.kernel)
        self.norm = make_norm(model.norm, model.channels)
        self.into = PointwiseConv2d(model.channels, gate_inputs(self.gate) * wide)
        self.dropout = Dropout(model.dropout, wide)
        self.out = PointwiseConv2d(wide, model.channels)
        init_conv_(self.into)
        init_conv_(self.out, gain=OUT_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        if calls(self.spread, DepthwiseConv2d) and calls(self.norm, LayerNorm) and gpu.usable(x):
            if self._whole(x):
                return self._on_gpu(x, self.spread, self.norm)
            y = gained_conv(self.into, self.spread.on_gpu(x, self.norm.eps), self.norm.weight, None)
        else:
            y = normed_conv(self.into, self.norm, self.spread(x), None)
        return plus_pointwise(x, self.out, self.dropout(self.gate(y)))

    def _whole(self, x: Tensor) -> bool:
        """Whether there is a kernel for all that is behind the norm: elsewhere it is slower."""
        known = all(calls(conv, PointwiseConv2d) and conv.bias is not None for conv in (self.into, self.out))
        return known and self.gate is silu and not self.dropout.drops and gpu_block.usable(x)

    def _on_gpu(self, x: Tensor, spread: DepthwiseConv2d, norm: LayerNorm) -> Tensor:
        assert self.into.bias is not None
        assert self.out.bias is not None
        into, out = gained(self.into.weight, norm.weight).flatten(1), self.out.weight.flatten(1)
        products = into, self.into.bias, out, self.out.bias
        return gpu_block.block(x, *spread.taps(), spread.kernel_size[1], norm.eps, *products)


class DepthwiseStack(SingleStack):
    """SingleStack with blocks of depthwise kernels."""

    kind = DepthwiseBlock

    def block(self, model: Model) -> nn.Module:
        return DepthwiseBlock(model)

    def pack_blocks(
        self, blocks: list[Any], attention: dict[int, AttentionWeights], dtype: torch.dtype
    ) -> DepthwiseStackWeights:
        return DepthwiseStackWeights([_pack(block, dtype) for block in blocks], attention)

    def in_waves(
        self, labels: Tensor | None, batch: int, width: int, copies: int, dtype: torch.dtype
    ) -> DepthwiseWave | None:
        weights = None if self.attention else self.packed(dtype)
        return None if weights is None else DepthwiseWave(weights, weights.bias_of(labels), batch, width, copies)


def _pack(block: DepthwiseBlock, dtype: torch.dtype) -> DepthwiseWeights:
    if not isinstance(block.spread, DepthwiseConv2d):
        raise Unsupported(type(block.spread).__name__)
    kernel = (block.spread.weight * block.spread.mask).detach()[:, 0].permute(1, 2, 0)
    norm, factors = packed.pack_norm(block.norm, dtype)
    return DepthwiseWeights(
        kernel.to(dtype).contiguous(),
        packed.bias_of(block.spread, dtype),
        norm,
        packed.scaled_rows(packed.pointwise(block.into, dtype), factors),
        packed.bias_of(block.into, dtype),
        block.gate_name,
        packed.Gate.pack(block.out, dtype),
    )
