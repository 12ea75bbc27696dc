"""The log-probability of whole pixels under a mixture of logistics that their channels share, its gradient written out.

Autograd takes twice as many passes over the components. With the names of dmol.py, d = x - μ', s the inverse scale and
e half a level, the upper edge of a level and its lower one, negated, are a = (d + e) s and b = (e - d) s, and

    log p = log Σ_k π_k Π_c p_ck,   p = σ(a) σ(b) (1 - exp(-2 e s)),   σ(a) of the first level, σ(b) of the last.

Shapes: parameters [B, K n, H, W] as in dmol.py, image x [B, C, H, W].
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core.fused import differentiable_once


def log_prob(params: Tensor, x: Tensor, mixtures: int, half_bin: float, sharpest: float, widest: float) -> Tensor:
    """fp32 [B, H, W]. params fp32; x scaled; sharpest, widest: bounds of log-scales, of which one is soft."""
    logp: Tensor = _LogProb.apply(params, x, mixtures, half_bin, sharpest, widest)  # type: ignore[no-untyped-call]
    return logp


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, params: Tensor, x: Tensor, mixtures: int, half_bin: float, sharpest: float, widest: float
    ) -> Tensor:
        gradient = torch.empty_like(params) if ctx.needs_input_grad[0] else None
        if gradient is not None:
            ctx.save_for_backward(gradient)
        _, both, prior = logs(params, x, mixtures, half_bin, sharpest, widest, gradient)
        return both - prior

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad[:, None], None, None, None, None, None


def logs(
    params: Tensor,
    x: Tensor,
    mixtures: int,
    half_bin: float,
    sharpest: float,
    widest: float,
    gradient: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """log of a component's weight, not normed, by p_c of all channels, [B, K, H, W]; of their sum and of the sum of
    the weights, [B, H, W], whose difference is log p. Writes the gradient of that into `gradient`, laid out as params,
    and over the first of these."""
    if gradient is not None:
        gradient = _by_mixture(gradient, mixtures)
    params, x = _by_mixture(params, mixtures), x[:, None]
    channels = x.shape[2]
    pairs = [(c, earlier) for c in range(channels) for earlier in range(c)]
    logits, means, scales, coefficients = torch.split(params, [1, channels, channels, len(pairs)], dim=2)
    # exp(-(sharpest + softplus(scale - sharpest)))
    share = torch.sigmoid(sharpest - scales)
    inverse = (share * math.exp(-sharpest)).clamp_(min=math.exp(-widest))
    coefficients = torch.tanh(coefficients)
    distance = x - means
    for pair, (c, earlier) in enumerate(pairs):
        distance[:, :, c].addcmul_(coefficients[:, :, pair], distance[:, :, earlier], value=-1)
    edge = inverse * half_bin
    upper, lower = torch.addcmul(edge, distance, inverse), torch.addcmul(edge, distance, inverse, value=-1)
    not_first, not_last = (x >= half_bin - 1).to(x.dtype), (x <= 1 - half_bin).to(x.dtype)
    inside = not_first * not_last
    mass = torch.expm1(edge.mul_(-2)).neg_()
    each = F.logsigmoid(upper).mul_(not_last)
    each.addcmul_(F.logsigmoid(lower), not_first).addcmul_(mass.log(), inside)
    logits = logits[:, :, 0]
    total = each.sum(2).add_(logits)
    both, prior = torch.logsumexp(total, dim=1), torch.logsumexp(logits, dim=1)
    if gradient is None:
        return total, both, prior

    of_logits, of_means, of_scales, of_coefficients = torch.split(gradient, [1, channels, channels, len(pairs)], dim=2)
    posterior = total.sub_(both[:, None]).exp_()
    torch.sub(posterior, (logits - prior[:, None]).exp_(), out=of_logits[:, :, 0])
    of_upper, of_lower = upper.neg_().sigmoid_().mul_(not_last), lower.neg_().sigmoid_().mul_(not_first)
    turned = of_upper - of_lower
    # of the inverse scale; mass' / mass is 2 e (1 / mass - 1)
    of_inverse = mass.reciprocal_().sub_(1).mul_(inside).mul_(2).add_(of_upper).add_(of_lower).mul_(half_bin)
    of_inverse.addcmul_(distance, turned)
    posterior = posterior[:, :, None]
    of_distance = turned.mul_(inverse).mul_(posterior)
    moves = (inverse > math.exp(-widest)).to(x.dtype)
    torch.mul(of_inverse.mul_(posterior), inverse.mul_(share.sub_(1)).mul_(moves), out=of_scales)
    for pair, (c, earlier) in reversed([*enumerate(pairs)]):
        of_distance[:, :, earlier].addcmul_(coefficients[:, :, pair], of_distance[:, :, c], value=-1)
    torch.neg(of_distance, out=of_means)
    for pair, (c, earlier) in enumerate(pairs):
        torch.mul(of_distance[:, :, c], distance[:, :, earlier], out=of_coefficients[:, :, pair])
    of_coefficients.mul_(coefficients.square_().sub_(1))
    return total, both, prior


def _by_mixture(params: Tensor, mixtures: int) -> Tensor:
    """[B, K, n, H, W]"""
    return params.view(len(params), mixtures, params.shape[1] // mixtures, *params.shape[2:])
