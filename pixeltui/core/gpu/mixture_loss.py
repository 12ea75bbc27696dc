"""The log-probability of whole pixels under a mixture of logistics that their channels share, in one pass on a GPU, and
its gradient in another.

Written in torch it is dozens of passes over the parameters, or several compiled ones. An operation of its own for
torch, so that what compiles a loss leaves it as it is. Shapes as in heads/dmol_loss.py, which takes its place where
kernels cannot be compiled: parameters [B, K n, H, W] fp32, image x, scaled, [B, C, H, W].
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from pixeltui.core.gpu import use
from pixeltui.core.gpu.use import MOST_NUMBERS, kernels
from pixeltui.core.heads import dmol_loss

PIXELS, WARPS = 128, 4
"""of a program"""
EACH = 10
"""components whose gradients a program computes; all to be measured"""
MOST_CHANNELS = 4
"""that are written out in the kernels"""
Found = TypeVar("Found")


def usable(params: Tensor, x: Tensor) -> bool:
    """Whether `log_prob` is for these, which on the CPU, for one, is slower by it."""
    return use.usable(params.device) and params.dtype == torch.float32 and 1 < x.shape[1] <= MOST_CHANNELS


def log_prob(params: Tensor, x: Tensor, mixtures: int, half_bin: float, sharpest: float, widest: float) -> Tensor:
    """dmol_loss.log_prob: fp32 [B, H, W]. A gradient reaches params alone."""
    logp: Tensor = _log_prob(params, x.detach(), mixtures, half_bin, sharpest, widest)[0]
    return logp


@torch.library.custom_op("pixeltui::mixture_log_prob", mutates_args=())
def _log_prob(
    params: Tensor, x: Tensor, mixtures: int, half_bin: float, sharpest: float, widest: float
) -> tuple[Tensor, Tensor]:
    """And what dmol_loss.logs gives, [B, K + 2, H, W], one behind the other: a gradient takes no sum over components
    then, and the components' shares in it are 1 together however the kernels round."""
    params, x = params.contiguous(), x.float().contiguous()

    def by_kernels() -> tuple[Tensor, Tensor]:
        batch, _, height, width = params.shape
        out, kept = params.new_empty(batch, height, width), params.new_empty(batch, mixtures + 2, height, width)
        kernels().mixture_log_prob[(-(-out.numel() // PIXELS),)](
            *(params, x, out, kept, out.numel(), height * width, *_limits(half_bin, sharpest, widest)),
            **{"K": mixtures, "C": x.shape[1], "P": PIXELS},
            num_warps=WARPS,
        )
        return out, kept

    found = _by_kernels(params, x, mixtures, by_kernels)
    if found is not None:
        return found
    with torch.autocast(params.device.type, enabled=False):
        each, both, prior = dmol_loss.logs(params, x, mixtures, half_bin, sharpest, widest)
        return both - prior, torch.cat([each, both[:, None], prior[:, None]], dim=1)


@_log_prob.register_fake
def _(
    params: Tensor, x: Tensor, mixtures: int, half_bin: float, sharpest: float, widest: float
) -> tuple[Tensor, Tensor]:
    batch, _, height, width = params.shape
    return params.new_empty(batch, height, width), params.new_empty(batch, mixtures + 2, height, width)


@torch.library.custom_op("pixeltui::mixture_log_prob_backward", mutates_args=())
def _log_prob_backward(
    grad: Tensor,
    params: Tensor,
    x: Tensor,
    kept: Tensor,
    mixtures: int,
    half_bin: float,
    sharpest: float,
    widest: float,
) -> Tensor:
    grad, params, x = grad.float().contiguous(), params.contiguous(), x.float().contiguous()

    def by_kernels() -> Tensor:
        out, each = torch.empty_like(params), min(EACH, mixtures)
        kernels().mixture_gradient[-(-grad.numel() // PIXELS), -(-mixtures // each)](
            *(grad, params, x, kept, out, grad.numel(), grad.shape[1] * grad.shape[2]),
            *_limits(half_bin, sharpest, widest),
            **{"K": mixtures, "C": x.shape[1], "EACH": each, "P": PIXELS},
            num_warps=WARPS,
        )
        return out

    found = _by_kernels(params, x, mixtures, by_kernels)
    if found is not None:
        return found
    gradient = torch.empty_like(params)
    with torch.autocast(params.device.type, enabled=False):
        dmol_loss.logs(params, x, mixtures, half_bin, sharpest, widest, gradient)
        return gradient.mul_(grad[:, None])


@_log_prob_backward.register_fake
def _(
    grad: Tensor,
    params: Tensor,
    x: Tensor,
    kept: Tensor,
    mixtures: int,
    half_bin: float,
    sharpest: float,
    widest: float,
) -> Tensor:
    return params.new_empty(params.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    params, x, *ctx.numbers = inputs
    _, kept = output
    ctx.save_for_backward(params, x, kept)
    ctx.mark_non_differentiable(kept)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    of_params = None if grad is None else _log_prob_backward(grad, *ctx.saved_tensors, *ctx.numbers)
    return of_params, None, None, None, None, None


_log_prob.register_autograd(_backward, setup_context=_save)


def _by_kernels(params: Tensor, x: Tensor, mixtures: int, work: Callable[[], Found]) -> Found | None:
    """None where they are not for these, or cannot be compiled."""
    if not usable(params, x) or not 0 < params.numel() < MOST_NUMBERS:
        return None
    return use.tried(("mixture_loss", params.device, x.shape[1], mixtures), params.device, work)


def _limits(half_bin: float, sharpest: float, widest: float) -> tuple[float, ...]:
    """As the kernels have them."""
    return math.exp(-sharpest), math.exp(-widest), sharpest, half_bin, 1 - half_bin
