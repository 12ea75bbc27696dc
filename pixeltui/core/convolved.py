"""A convolution with what stands beside it, norm, biases and residual, in as few passes over the features as may be."""

import torch
from torch import Tensor, nn

from pixeltui.core.fused import add_bias
from pixeltui.core.layers import GainedConv2d, LayerNorm, PointwiseConv2d, gained
from pixeltui.core.readable import calls


def normed_conv(conv: nn.Module, norm: nn.Module, x: Tensor, added: Tensor | None) -> Tensor:
    """conv(norm(x)) + added, which is [B, C, 1, 1].

    The gain of a layer norm goes into the kernel, which is smaller than the features.
    """
    if calls(norm, LayerNorm) and calls(conv, GainedConv2d):
        return gained_conv(conv, norm.bare(x), norm.weight, added)
    return gained_conv(conv, norm(x), None, added)


def gained_conv(conv: nn.Module, x: Tensor, gain: Tensor | None, added: Tensor | None) -> Tensor:
    """conv(gain x) + added, which is [B, C, 1, 1].

    On a GPU the biases are added together, and a 1x1 convolution is a product: cuDNN's passes for a bias and its
    gradient take as long as its products, and its gradients of 1x1 kernels twice as long.
    """
    if not calls(conv, GainedConv2d):
        y: Tensor = conv(x if gain is None else x * gain[:, None, None])
    elif _on_gpu(x) and conv.bias is not None:
        if isinstance(conv, PointwiseConv2d) and added is None:
            product = rows_of(x) @ gained(conv.weight, gain).flatten(1).t()
            return image_of(add_bias(product, conv.bias[None]), x)
        bias = conv.bias[None] if added is None else conv.bias + added.flatten(1)
        return add_bias(conv(x, gain, biased=False), bias)
    else:
        y = conv(x, gain)
    # What a convolution gives it does not need for its gradient: sums are written over it, a third less to move.
    return y if added is None else y.add_(added.to(y.dtype))


def plus_pointwise(to: Tensor, conv: nn.Module, x: Tensor) -> Tensor:
    """to + conv(x) of a 1x1 convolution; on a GPU one matrix product that adds."""
    if not _on_gpu(x) or not (calls(conv, nn.Conv2d) or calls(conv, PointwiseConv2d)):
        y: Tensor = conv(x)
        return y.add_(to)
    matrix = conv.weight.flatten(1).t()
    if torch.compiler.is_compiling():  # it makes one pass of both sums
        summed = rows_of(to) + rows_of(x) @ matrix
    else:
        summed = torch.addmm(rows_of(to), rows_of(x), matrix)
    return image_of(summed if conv.bias is None else add_bias(summed, conv.bias[None]), x)


def rows_of(x: Tensor) -> Tensor:
    """[B H W, C] of [B, C, H, W]"""
    return x.movedim(1, -1).flatten(0, 2)


def image_of(rows: Tensor, like: Tensor) -> Tensor:
    """[B, C', H, W] of [B H W, C']"""
    return rows.view(like.shape[0], *like.shape[2:], rows.shape[1]).movedim(-1, 1)


def _on_gpu(x: Tensor) -> bool:
    return x.is_cuda
