"""1x1 convolutions whose result lies plane by plane in memory, for a loss that looks at one parameter of all pixels.

The features of a pixel lie together, which is what convolutions are fastest with, and so do their gradients: where one
lies otherwise, all blocks before it reorder what they get. On a CPU, that is; a GPU's convolutions do without.
Shapes: features x [B, D, H, W].
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pixeltui.core.parts import fp32


class PlanesConv2d(nn.Conv2d):
    """A 1x1 convolution, [B, D, H, W] to [B, P, H, W], as matrix products: with few images on one thread torch's own
    is several times as slow. On a CPU in the format of its weights, whatever autocast says."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        with fp32(x.device):
            rows = x.to(self.weight.dtype)
            y: Tensor = _Planes.apply(rows, self.weight.flatten(1), self.bias)  # type: ignore[no-untyped-call]
        return y


def last_features(x: Tensor, number: int) -> Tensor:
    """x[:, -number:], whose gradient is laid out as x is."""
    if torch.compiler.is_compiling():
        return x[:, -number:]
    y: Tensor = _Last.apply(x, number)  # type: ignore[no-untyped-call]
    return y


class _Planes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.movedim(1, -1).flatten(1, 2)  # [B, H W, D]
        ctx.save_for_backward(rows, weight)
        ctx.size, ctx.biased = x.shape[2:], bias is not None
        matrices = weight.expand(len(x), -1, -1)
        planes = torch.bmm(matrices, rows.mT) if bias is None else torch.baddbmm(bias[:, None], matrices, rows.mT)
        return planes.view(len(x), len(weight), *ctx.size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        rows, weight = ctx.saved_tensors
        with fp32(grad.device):
            grad = grad.flatten(2)
            of_rows = torch.bmm(grad.mT, weight.expand(len(grad), -1, -1))
            of_weight = torch.bmm(grad, rows).sum(0)
            of_x = of_rows.view(len(grad), *ctx.size, weight.shape[1]).movedim(-1, 1)
            return of_x, of_weight, grad.sum((0, 2)) if ctx.biased else None


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, number: int) -> Tensor:
        ctx.shape, ctx.stride, ctx.number = x.shape, x.stride(), number
        return x[:, -number:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        whole = grad.new_empty_strided(ctx.shape, ctx.stride)
        whole[:, : -ctx.number] = 0
        whole[:, -ctx.number :] = grad
        return whole, None
