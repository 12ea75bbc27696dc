"""1x1 convolutions whose result lies plane by plane in memory, for a loss that looks at one parameter of all pixels.

The features of a pixel lie together, which is what convolutions are fastest with, and so do their gradients: where one
lies otherwise, all blocks before it reorder what they get. On a CPU, that is, and on a GPU that has Triton kernels, the
loss's (gpu/mixture_loss.py) among them; others do without.
Shapes: features x [B, D, H, W].
"""

from typing import Any

import torch
from torch import Tensor, nn

from pixeltui.core.fused import plain
from pixeltui.core.gpu import use
from pixeltui.core.parts import fp32
from pixeltui.core.readable import calls


class PlanesConv2d(nn.Conv2d):
    """A 1x1 convolution, [B, D, H, W] to [B, P, H, W], as matrix products: with few images on one thread torch's own
    is several times as slow. In the format of its weights then, whatever autocast says."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if _has_kernels(x) or (x.device.type == "cpu" and not plain()):
            return _planes(_rows(x), self.weight.flatten(1), self.bias, x)
        return super().forward(x)


def sum_of(one: nn.Module, x: Tensor, other: nn.Module, y: Tensor) -> Tensor:
    """one(x) + other(y), where `other` has no bias: of two PlanesConv2d on a GPU as one product, of features side by
    side."""
    if not _has_kernels(x) or not calls(one, PlanesConv2d) or not calls(other, PlanesConv2d):
        result: Tensor = one(x) + other(y)
        return result
    weight = torch.cat([one.weight, other.weight], dim=1).flatten(1)
    return _planes(torch.cat([_rows(x), _rows(y)], dim=2), weight, one.bias, x)


def _has_kernels(x: Tensor) -> bool:
    """Whether x is on a GPU that has kernels, and more than one pixel, which lies any way."""
    return use.usable(x.device) and x.shape[2] * x.shape[3] > 1


def _rows(x: Tensor) -> Tensor:
    """[B, H W, D]"""
    return x.movedim(1, -1).flatten(1, 2)


def _planes(rows: Tensor, weight: Tensor, bias: Tensor | None, image: Tensor) -> Tensor:
    """[B, P, H, W] of rows, those of an image of that size; weight [P, D], whose format is the result's."""
    with fp32(rows.device):
        rows = rows.to(weight.dtype)
        product = _product if plain() else _Planes.apply
        planes = product(rows, weight, bias)
        return planes.view(len(image), len(weight), *image.shape[2:])


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    matrices = weight.expand(len(rows), -1, -1)
    return torch.bmm(matrices, rows.mT) if bias is None else torch.baddbmm(bias[:, None], matrices, rows.mT)


def last_features(x: Tensor, number: int) -> Tensor:
    """x[:, -number:], whose gradient is laid out as x is."""
    if plain():
        return x[:, -number:]
    y: Tensor = _Last.apply(x, number)  # type: ignore[no-untyped-call]
    return y


class _Planes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.biased = bias is not None
        return _product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        rows, weight = ctx.saved_tensors
        with fp32(grad.device):
            of_rows = torch.bmm(grad.mT, weight.expand(len(grad), -1, -1))
            of_weight = torch.bmm(grad, rows).sum(0)
            return of_rows, of_weight, grad.sum((0, 2)) if ctx.biased else None


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, number: int) -> Tensor:
        ctx.shape, ctx.stride, ctx.number = x.shape, x.stride(), number
        return x[:, -number:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        whole = grad.new_empty_strided(ctx.shape, ctx.stride)
        whole[:, : -ctx.number] = 0
        whole[:, -ctx.number :] = grad
        return whole, None
