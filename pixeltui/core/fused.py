"""Gate, norm and bias with their gradients written out: fewer passes over the features than autograd takes.

In a half format everything between two convolutions stays in it: elementwise work on two formats at once is twenty
times slower on a CPU. Shapes: x [B, C, H, W] in any memory format.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

Backward = TypeVar("Backward", bound=Callable[..., Any])
HALVES = (torch.bfloat16, torch.float16)


def transformed() -> bool:
    """Whether torch.func transforms what is computed, for a derivative or over a batch."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def plain() -> bool:
    """Whether torch has to be given its own operations: it compiles or transforms them."""
    return torch.compiler.is_compiling() or transformed()


def differentiable_once(backward: Backward) -> Backward:
    """Of a backward pass that autograd cannot go back through. Raises RuntimeError where it is asked to: torch's own
    once_differentiable raises only in some of these cases and gives wrong derivatives in others."""

    @wraps(backward)
    def checked(ctx: Any, *grads: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError("gradients of gradients: expected torch.func (grad, hessian), got create_graph=True")
        return backward(ctx, *grads)

    return checked  # type: ignore[return-value]


def channels_last(x: Tensor) -> Tensor:
    """x [B, C, H, W] in the memory format that convolutions are fastest in; as it is where torch.func transforms it,
    which has no such format."""
    return x if transformed() else x.contiguous(memory_format=torch.channels_last)


def tanh_gate(x: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves a, b of the channels (van den Oord et al. 2016b, eq. 2)."""
    if plain():
        a, b = x.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)
    out: Tensor = _Gate.apply(x)  # type: ignore[no-untyped-call]
    return out


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """weight * x / sqrt(mean over channels of x² + eps) (Zhang and Sennrich 2019, eq. 4)."""
    if plain():
        wide = torch.float32 if x.dtype in HALVES else x.dtype
        scale = torch.rsqrt(x.to(wide).square().mean(1, keepdim=True) + eps)
        return x * scale.to(x.dtype) * weight.to(x.dtype)[:, None, None]
    out: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """x [B, C, H, W] + bias [B or 1, C], or x [pixels, C] + bias [1, C].

    Written over x, which nothing else may need for its gradient.
    """
    out: Tensor = _AddBias.apply(x, bias)  # type: ignore[no-untyped-call]
    return out


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        channels = x.shape[1] // 2
        if x.dtype in HALVES:
            # One pass of sigmoids in fp32: tanh(a) = 2 sigmoid(2a) - 1, exact to what the half format keeps.
            wide = x.float()
            wide[:, :channels].mul_(2)
            wide.sigmoid_()
            wide[:, :channels].mul_(2).sub_(1)
            out = (wide[:, :channels] * wide[:, channels:]).to(x.dtype)
            both = wide.to(x.dtype) if ctx.needs_input_grad[0] else wide
        else:
            a, b = x.chunk(2, dim=1)
            both = torch.cat([torch.tanh(a), torch.sigmoid(b)], dim=1)
            out = both[:, :channels] * both[:, channels:]
        ctx.save_for_backward(both, out)
        return out

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """With t = tanh(a), s = sigmoid(b): (grad s (1 - t²), grad t s (1 - s))."""
        both, out = ctx.saved_tensors
        t, s = both.chunk(2, dim=1)
        if torch._C._functorch.is_legacy_batchedtensor(grad):  # many at once, as torch.autograd takes them
            return torch.cat([grad * s * (1 - t * t), grad * out * (1 - s)], dim=1)
        result = torch.empty_like(both)
        of_a, of_b = result.chunk(2, dim=1)
        product = grad * s
        torch.addcmul(product, product * t, t, value=-1, out=of_a)
        torch.mul(grad, out, out=product)
        torch.addcmul(product, product, s, value=-1, out=of_b)
        return result


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = torch.float32 if x.dtype in HALVES else x.dtype
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=wide)
        scale = torch.rsqrt(length.square_().div_(x.shape[1]).add_(eps)).to(x.dtype)
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight.to(x.dtype)[:, None, None]

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """With n = x scale and g = grad weight: scale (g - n mean(g n)), and the sum over pixels of grad n."""
        normed, scale, weight = ctx.saved_tensors
        gain = weight.to(normed.dtype)
        product = grad * normed
        of_weight = product.sum((0, 2, 3), dtype=weight.dtype)
        mean = torch.matmul(product.permute(0, 2, 3, 1), (gain / len(gain))[:, None]).permute(0, 3, 1, 2)
        of_x = grad * gain[:, None, None]
        of_x.addcmul_(normed, mean, value=-1).mul_(scale)
        return of_x, of_weight, None


class _AddBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype, ctx.images = bias.dtype, len(bias)
        bias = bias.to(x.dtype) if x.dim() == 2 else bias.to(x.dtype)[:, :, None, None]
        if torch.compiler.is_compiling():
            return x + bias
        ctx.mark_dirty(x)
        return x.add_(bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """The sum over pixels as a product with ones, several times as fast as a sum on a GPU, where a compiler would
        compute once more all that the gradient comes from."""
        rows = (grad if grad.dim() == 2 else grad.movedim(1, -1)).reshape(ctx.images, -1, grad.shape[1])
        sums = torch.bmm(rows.new_ones(1, 1, rows.shape[1]).expand(ctx.images, -1, -1), rows)
        return grad, sums.to(ctx.dtype)[:, 0]
