"""A kernel for each feature on a GPU, where cuDNN's take as long as the rest of the network.

Operations of their own for torch, so that what compiles a network leaves them as they are. x [B, D, H, W] whose
features lie together in memory (channels_last), in any format; taps [T, D] fp32, those that a mask of type "B" leaves
of a kernel of K x K, in raster order; bias [D]. Sums are fp32 and in an order that is the same each time.
"""

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core.gpu import pixels
from pixeltui.core.gpu.launches import MOST_NUMBERS, kernels, power

PIXELS, FEATURES = 16, 64
"""of a program that sums taps"""
GRADIENT_PIXELS, GRADIENT_TAPS = 32, 8
"""at a time, of a program that sums the gradient of taps"""
EACH = 512
"""pixels whose gradients a program sums"""
FORMATS = (torch.float32, torch.bfloat16, torch.float16)
broken: set[torch.device] = set()
"""where triton is, but cannot compile"""


def usable(x: Tensor) -> bool:
    """Whether `depthwise` is for x, which on the CPU, for one, is slower by it."""
    return pixels.usable(x.device) and x.dtype in FORMATS


def depthwise(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    """[B, D, H, W] to the same, in the format of x."""
    y: Tensor = _depthwise(x, taps, bias, kernel_size)
    return y


@torch.library.custom_op("pixeltui::depthwise", mutates_args=())
def _depthwise(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    x, taps = x.contiguous(memory_format=torch.channels_last), taps.contiguous()
    if _with_kernels(x):
        with contextlib.suppress(_Broken), _compiling(x):
            return _sums(x, taps, bias, kernel_size, back=False)
    padded, weight = _padded(x, kernel_size), _weight(x, taps, kernel_size)
    y = F.conv2d(padded, weight, bias.to(x.dtype), groups=x.shape[1])
    return y.contiguous(memory_format=torch.channels_last)


@_depthwise.register_fake
def _(x: Tensor, taps: Tensor, bias: Tensor, kernel_size: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@torch.library.custom_op("pixeltui::depthwise_backward", mutates_args=())
def _depthwise_backward(grad: Tensor, x: Tensor, taps: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    """Gradients of x, in its format, and of taps with bias as their last row, fp32."""
    grad, x = (t.contiguous(memory_format=torch.channels_last) for t in (grad.to(x.dtype), x))
    taps = taps.contiguous()
    if _with_kernels(x):
        with contextlib.suppress(_Broken), _compiling(x):
            return _sums(grad, taps, None, kernel_size, back=True), _gradients(grad, x, len(taps), kernel_size)
    half, channels = kernel_size // 2, x.shape[1]
    padded, weight = _padded(x, kernel_size), _weight(x, taps, kernel_size)
    of_padded, of_weight, of_bias = torch.ops.aten.convolution_backward(
        *(grad, padded, weight, [channels], [1, 1], [0, 0], [1, 1], False, [0, 0], channels, [True, True, True])
    )
    of_x = of_padded[:, :, half:, half : half + x.shape[3]]
    of_taps = torch.cat([of_weight.flatten(1)[:, : len(taps)].t(), of_bias[None]]).float()
    return of_x.contiguous(memory_format=torch.channels_last), of_taps


@_depthwise_backward.register_fake
def _(grad: Tensor, x: Tensor, taps: Tensor, kernel_size: int) -> tuple[Tensor, Tensor]:
    of_taps = taps.new_empty(len(taps) + 1, taps.shape[1], dtype=torch.float32)
    return torch.empty_like(x, memory_format=torch.channels_last), of_taps


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, taps, bias, ctx.kernel_size = inputs
    ctx.save_for_backward(x, taps)
    ctx.bias_dtype = bias.dtype


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    x, taps = ctx.saved_tensors
    of_x, of_taps = _depthwise_backward(grad, x, taps, ctx.kernel_size)
    return of_x, of_taps[:-1].to(taps.dtype), of_taps[-1].to(ctx.bias_dtype), None


_depthwise.register_autograd(_backward, setup_context=_save)


class _Broken(Exception):
    """Triton could not compile."""


@contextlib.contextmanager
def _compiling(x: Tensor) -> Any:
    """Raises _Broken, and remembers it, for whatever is raised within but a want of memory."""
    try:
        with pixels.current(x.device):
            yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # triton's own, a missing compiler's, the driver's
        broken.add(x.device)
        raise _Broken from error


def _with_kernels(x: Tensor) -> bool:
    return usable(x) and x.device not in broken and 0 < x.numel() < MOST_NUMBERS


def _sums(x: Tensor, taps: Tensor, bias: Tensor | None, kernel_size: int, *, back: bool) -> Tensor:
    batch, channels, height, width = x.shape
    out = torch.empty_like(x)
    features = min(FEATURES, power(channels))
    grid = (-(-x.numel() // channels // PIXELS), -(-channels // features))
    kernels().depthwise_sums[grid](
        *(x, taps, taps if bias is None else bias, out, batch * height * width, height, width),
        **{"D": channels, "K": kernel_size, "TAPS": len(taps), "BACK": back, "P": PIXELS, "BD": features},
        num_warps=4,
    )
    return out


def _gradients(grad: Tensor, x: Tensor, taps: int, kernel_size: int) -> Tensor:
    """[T + 1, D]: of the taps, and of the bias."""
    batch, channels, height, width = x.shape
    pixels, features = batch * height * width, min(FEATURES, power(channels))
    programs = -(-pixels // EACH)
    parts = torch.empty(programs, taps + 1, channels, device=x.device)
    kernels().depthwise_taps[programs, -(-channels // features), -(-(taps + 1) // GRADIENT_TAPS)](
        *(x, grad, parts, pixels, height, width),
        **{"D": channels, "K": kernel_size, "TAPS": taps, "EACH": EACH},
        **{"GROUP": GRADIENT_TAPS, "P": GRADIENT_PIXELS, "BD": features},
        num_warps=8,
    )
    return parts.sum(0)


def _weight(x: Tensor, taps: Tensor, kernel_size: int) -> Tensor:
    """[D, 1, K // 2 + 1, K], zero behind the mask."""
    whole = F.pad(taps.t(), (0, (kernel_size // 2 + 1) * kernel_size - len(taps)))
    return whole.reshape(x.shape[1], 1, -1, kernel_size).to(x.dtype)


def _padded(x: Tensor, kernel_size: int) -> Tensor:
    half = kernel_size // 2
    return F.pad(x, (half, half, half, 0))
