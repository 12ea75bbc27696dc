"""A block of depthwise kernels on a GPU, x + out(silu(into(norm(depthwise(x))))), and its gradient, in few passes.

One operation for torch, so that what compiles a network leaves it as it is, and that the gradient of the residual is
added where that of the depthwise kernels is computed. Shapes as in depthwise.py and feed_forward.py.
"""

from typing import Any

import torch
from torch import Tensor

from pixeltui.core.convolved import image_of, rows_of
from pixeltui.core.gpu import depthwise, feed_forward


def usable(x: Tensor) -> bool:
    """Whether `block` is for x, which on the CPU, for one, is slower by it."""
    return feed_forward.usable(x)


def block(
    x: Tensor,
    taps: Tensor,
    bias: Tensor,
    kernel_size: int,
    eps: float,
    into: Tensor,
    into_bias: Tensor,
    out: Tensor,
    out_bias: Tensor,
) -> Tensor:
    """[B, D, H, W] to the same, in the half format of x. The norm's gain is in `into`."""
    half, x = x.dtype, x.contiguous(memory_format=torch.channels_last)  # here, where a compiler can make it one pass
    products = into.to(half), into_bias.float(), out.to(half), out_bias.float()
    y: Tensor = _block(x, taps, bias, kernel_size, eps, *products)[0]
    return y


@torch.library.custom_op("pixeltui::depthwise_block", mutates_args=())
def _block(
    x: Tensor,
    taps: Tensor,
    bias: Tensor,
    kernel_size: int,
    eps: float,
    into: Tensor,
    into_bias: Tensor,
    out: Tensor,
    out_bias: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """And what the gradient needs: the normed features, the norm's factors, into(them) and silu of that."""
    normed, factors = depthwise.computed(x, taps, bias, kernel_size, eps)
    y, inside, active = feed_forward.computed(rows_of(normed), rows_of(x), into, into_bias, out, out_bias)
    return image_of(y, x), normed, factors, inside, active


@_block.register_fake
def _(
    x: Tensor,
    taps: Tensor,
    bias: Tensor,
    kernel_size: int,
    eps: float,
    into: Tensor,
    into_bias: Tensor,
    out: Tensor,
    out_bias: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, _, height, width = x.shape
    y, normed = (torch.empty_like(x, memory_format=torch.channels_last) for _ in range(2))
    inside = x.new_empty(batch * height * width, into.shape[0])
    return y, normed, x.new_empty((batch, height, width), dtype=torch.float32), inside, torch.empty_like(inside)


@torch.library.custom_op("pixeltui::depthwise_block_backward", mutates_args=())
def _backward(
    grad: Tensor,
    x: Tensor,
    normed: Tensor,
    factors: Tensor,
    inside: Tensor,
    active: Tensor,
    taps: Tensor,
    kernel_size: int,
    into: Tensor,
    out: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, taps with bias as their last row, into, its bias, out and its bias."""
    grad = grad.to(x.dtype)
    rows = feed_forward.gradients(rows_of(grad), rows_of(normed), inside, active, into, out)
    of_x, of_taps = depthwise.gradients(image_of(rows[0], x), normed, factors, x, taps, kernel_size, more=grad)
    return of_x, of_taps, rows[1], rows[2], rows[3], rows[4]


@_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    normed: Tensor,
    factors: Tensor,
    inside: Tensor,
    active: Tensor,
    taps: Tensor,
    kernel_size: int,
    into: Tensor,
    out: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    of_into_bias, of_out_bias = (x.new_empty(size, dtype=torch.float32) for size in into.shape)
    of_taps = taps.new_empty(len(taps) + 1, taps.shape[1], dtype=torch.float32)
    of_x = torch.empty_like(x, memory_format=torch.channels_last)
    return of_x, of_taps, into.new_empty(into.shape), of_into_bias, out.new_empty(out.shape), of_out_bias


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, taps, bias, ctx.kernel_size, _, into, _, out, _ = inputs
    kept = output[1:]
    ctx.save_for_backward(x, *kept, taps, into, out)
    ctx.mark_non_differentiable(*kept)
    ctx.set_materialize_grads(False)  # zeros for these would be written
    ctx.bias_dtype = bias.dtype


def _gradient(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 9
    *kept, taps, into, out = ctx.saved_tensors
    grad = grad.contiguous(memory_format=torch.channels_last)
    of_x, of_taps, *of_products = _backward(grad, *kept, taps, ctx.kernel_size, into, out)
    return of_x, of_taps[:-1].to(taps.dtype), of_taps[-1].to(ctx.bias_dtype), None, None, *of_products


_block.register_autograd(_gradient, setup_context=_save)
