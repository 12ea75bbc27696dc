"""A kernel for each feature on a GPU, and the norm behind it: cuDNN's take as long as the rest of the network.

Operations of their own for torch, so that what compiles a network leaves them as they are. x [B, D, H, W] whose
features lie together in memory (channels_last), in any format; taps [T, D] fp32, those that a mask of type "B" leaves
of a kernel of K x K, in raster order; bias [D]. Sums are fp32 and in an order that is the same each time.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core.gpu import use
from pixeltui.core.gpu.use import MOST_NUMBERS, kernels, power

NUMBERS, WARPS = 4096, 4
"""of a program that has all features of its pixels: so many numbers"""
GRADIENT_COLUMNS, GRADIENT_FEATURES, GRADIENT_WARPS = 8, 64, 4
"""at a time, of a program that computes gradients; as measured on an H200"""
AT_ONCE = 5
"""taps whose gradients a program sums: so many are written out in the kernel"""
EACH = 8
"""rows of such a program"""
MOST_TAPS = 64
"""of a kernel, all of which are written out where sums are computed"""
FORMATS = (torch.float32, torch.bfloat16, torch.float16)


def usable(x: Tensor) -> bool:
    """Whether `depthwise` is for x, which on the CPU, for one, is slower by it."""
    return use.usable(x.device) and x.dtype in FORMATS


def depthwise(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int, eps: float | None = None) -> Tensor:
    """[B, D, H, W] to the same, in the format of x; with `eps` layer norm of that, without a gain."""
    x = x.contiguous(memory_format=torch.channels_last)  # here, where a compiler can make it one pass
    y: Tensor = _depthwise(x, taps, bias, kernel_size, eps)[0]
    return y


@torch.library.custom_op("pixeltui::depthwise", mutates_args=())
def _depthwise(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int, eps: float | None) -> tuple[Tensor, Tensor]:
    return computed(x, taps, bias, kernel_size, eps)


def computed(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int, eps: float | None) -> tuple[Tensor, Tensor]:
    """And the factors [B, H, W] of the norm, fp32, empty without."""
    x, taps, bias = x.contiguous(memory_format=torch.channels_last), taps.contiguous(), bias.contiguous()
    found = _by_kernels(x, taps, kernel_size, lambda: _sums(x, taps, bias, kernel_size, eps))
    if found is not None:
        return found
    weight, factors = _weight(x, taps, kernel_size), x.new_empty(0, dtype=torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        y = F.conv2d(_padded(x, kernel_size), weight, bias.to(x.dtype), groups=x.shape[1])
    if eps is not None:
        mean, variance = y.float().mean(1, keepdim=True), y.float().var(1, correction=0)
        factors = (variance + eps).rsqrt()
        y = ((y.float() - mean) * factors[:, None]).to(x.dtype)
    return y.contiguous(memory_format=torch.channels_last), factors


@_depthwise.register_fake
def _(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int, eps: float | None) -> tuple[Tensor, Tensor]:
    size = 0 if eps is None else (x.shape[0], *x.shape[2:])
    return torch.empty_like(x, memory_format=torch.channels_last), x.new_empty(size, dtype=torch.float32)


@torch.library.custom_op("pixeltui::depthwise_backward", mutates_args=())
def _depthwise_backward(
    grad: Tensor, y: Tensor | None, factors: Tensor, x: Tensor, taps: Tensor, kernel_size: int
) -> tuple[Tensor, Tensor]:
    return gradients(grad, y, factors, x, taps, kernel_size)


def gradients(
    grad: Tensor,
    y: Tensor | None,
    factors: Tensor,
    x: Tensor,
    taps: Tensor,
    kernel_size: int,
    more: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of x, in its format, and of taps with bias as their last row, fp32; y: what was normed, or None.

    more: what is added to the first, a tensor like x in its format.
    """
    grad, x = (t.contiguous(memory_format=torch.channels_last) for t in (grad.to(x.dtype), x))
    taps = taps.contiguous()
    if more is not None:
        more = more.contiguous(memory_format=torch.channels_last)

    def by_kernels() -> tuple[Tensor, Tensor]:
        return _gradients(grad if y is None else _of_sums(grad, y, factors), x, taps, kernel_size, more)

    found = _by_kernels(x, taps, kernel_size, by_kernels)
    if found is not None:
        return found
    if y is not None:
        mean, along = grad.float().mean(1, keepdim=True), (grad.float() * y).mean(1, keepdim=True)
        grad = ((grad - mean - y * along) * factors[:, None]).to(x.dtype)
    half, channels = kernel_size // 2, x.shape[1]
    padded, weight = _padded(x, kernel_size), _weight(x, taps, kernel_size)
    of_padded, of_weight, of_bias = torch.ops.aten.convolution_backward(
        *(grad, padded, weight, [channels], [1, 1], [0, 0], [1, 1], False, [0, 0], channels, [True, True, True])
    )
    of_x = of_padded[:, :, half:, half : half + x.shape[3]]
    of_x = of_x if more is None else of_x + more
    of_taps = torch.cat([of_weight.flatten(1)[:, : len(taps)].t(), of_bias[None]]).float()
    return of_x.contiguous(memory_format=torch.channels_last), of_taps


@_depthwise_backward.register_fake
def _(
    grad: Tensor, y: Tensor | None, factors: Tensor, x: Tensor, taps: Tensor, kernel_size: int
) -> tuple[Tensor, Tensor]:
    of_taps = taps.new_empty(len(taps) + 1, taps.shape[1], dtype=torch.float32)
    return torch.empty_like(x, memory_format=torch.channels_last), of_taps


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, taps, bias, ctx.kernel_size, eps = inputs
    y, factors = output
    ctx.save_for_backward(x, taps, None if eps is None else y, factors)
    ctx.mark_non_differentiable(factors)
    ctx.set_materialize_grads(False)
    ctx.bias_dtype = bias.dtype


def _backward(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 5
    x, taps, y, factors = ctx.saved_tensors
    grad = grad.contiguous(memory_format=torch.channels_last)
    of_x, of_taps = _depthwise_backward(grad, y, factors, x, taps, ctx.kernel_size)
    return of_x, of_taps[:-1].to(taps.dtype), of_taps[-1].to(ctx.bias_dtype), None, None


_depthwise.register_autograd(_backward, setup_context=_save)


def _by_kernels(
    x: Tensor, taps: Tensor, kernel_size: int, work: Callable[[], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor] | None:
    """None where they are not for these, or cannot be compiled."""
    if not usable(x) or not 0 < x.numel() < MOST_NUMBERS or len(taps) > MOST_TAPS:
        return None
    return use.tried(("depthwise", x.device, x.dtype, x.shape[1], kernel_size), x.device, work)


def _tile(channels: int, columns: int) -> dict[str, int]:
    """Of a program that has all features of its pixels, columns of a row."""
    features = power(channels)
    return {"D": channels, "P": min(max(NUMBERS // features, 1), power(columns)), "BD": features}


def _sums(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int, eps: float | None) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = x.shape
    tile = _tile(channels, width)
    factors = x.new_empty(0 if eps is None else (batch, height, width), dtype=torch.float32)
    out = torch.empty_like(x)
    kernels().depthwise_sums[batch * height, -(-width // tile["P"])](
        *(x, taps, bias, out, factors, eps or 0.0),
        **{"H": height, "W": width, "K": kernel_size, "TAPS": len(taps), "NORM": eps is not None},
        **tile,
        num_warps=WARPS,
    )
    return out, factors


def _of_sums(grad: Tensor, y: Tensor, factors: Tensor) -> Tensor:
    """The gradient of what was normed."""
    out, number = torch.empty_like(grad), factors.numel()
    tile = _tile(grad.shape[1], number)
    kernels().norm_gradient[(-(-number // tile["P"]),)](grad, y, factors, out, number, **tile, num_warps=WARPS)
    return out


def _gradients(grad: Tensor, x: Tensor, taps: Tensor, kernel_size: int, added: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = x.shape
    rows, features = batch * height, min(GRADIENT_FEATURES, power(channels))
    programs, each = -(-rows // EACH), range(0, len(taps), AT_ONCE)
    # a part of a half format would be rounded before the others are added
    of_x = torch.empty_like(x, dtype=x.dtype if len(each) == 1 else torch.float32)
    more = of_x if len(each) == 1 else torch.empty_like(of_x)
    parts = x.new_empty(programs, len(taps) + 1, channels, dtype=torch.float32)
    for first in each:
        out = more if first else of_x
        kernels().depthwise_gradients[programs, -(-channels // features)](
            *(x, grad, x if added is None else added, taps, out, parts, rows),
            **{"H": height, "W": width, "D": channels, "K": kernel_size, "TAPS": len(taps)},
            **{"FIRST": first, "MORE": first == 0 and added is not None, "EACH": EACH},
            **{"P": min(GRADIENT_COLUMNS, power(width)), "BD": features},
            num_warps=GRADIENT_WARPS,
        )
        if first:
            of_x += more
    return of_x.to(x.dtype), parts.sum(0)


def _weight(x: Tensor, taps: Tensor, kernel_size: int) -> Tensor:
    """[D, 1, K // 2 + 1, K], zero behind the mask."""
    whole = F.pad(taps.t(), (0, (kernel_size // 2 + 1) * kernel_size - len(taps)))
    return whole.reshape(x.shape[1], 1, -1, kernel_size).to(x.dtype)


def _padded(x: Tensor, kernel_size: int) -> Tensor:
    half = kernel_size // 2
    return F.pad(x, (half, half, half, 0))
