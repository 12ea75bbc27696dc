"""Discretised mixture of logistics (Salimans et al. 2017, section 2.1 and 2.2).

Shapes: features [B, D, H, W], image x [B, C, H, W], L levels, K mixtures. Parameters [B, P, H, W]: in order, mixture
logits, means, log-scales and, with channel_autoregressive, coefficients; see `_split`.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core.layers import init_conv_
from pixeltui.core.parts import Head, fp32, nearest_levels, scale_levels

SHARPEST = -2.15
"""log of the smallest scale over the width of a level: -7 in [-1, 1] for 256 levels, as in Salimans et al."""
WIDEST = 5.0
"""largest log-scale: everything in [-1, 1] is then as good as flat"""


class Mixture(NamedTuple):
    """fp32 [B, K, C, H, W]; coefficients [B, K, C (C - 1) / 2, H, W] or None; logits [B, K, 1, H, W] where shared."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor | None


class LogisticMixtureHead(Head):
    """channel_autoregressive: the channels share the mixture indicator, and the mean of a channel is linear in the
    earlier channels; otherwise each channel has a mixture of its own and they are independent.
    """

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.mixtures = model.mixtures
        self.in_order = model.channel_autoregressive and image_channels > 1
        self.pairs = image_channels * (image_channels - 1) // 2 if self.in_order else 0
        self.logit_channels = 1 if self.in_order else image_channels
        self.log_bin = math.log(2 / (levels - 1))
        self.hidden = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, self.mixtures * (self.logit_channels + 2 * image_channels + self.pairs), 1)
        self._init_spread()

    def _init_spread(self) -> None:
        """At the start the components tile [-1, 1], whatever the features."""
        init_conv_(self.out, gain=0.1)
        k, c = self.mixtures, self.image_channels
        means = (torch.arange(k) + 0.5) * (2 / k) - 1
        assert self.out.bias is not None
        with torch.no_grad():
            bias = self.out.bias.view(k, -1)
            bias[:, self.logit_channels : self.logit_channels + c] = means[:, None]
            bias[:, self.logit_channels + c : self.logit_channels + 2 * c] = -math.log(k)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        return self._params(features)

    def _params(self, features: Tensor) -> Tensor:
        hidden = F.silu(self.hidden(features))
        # bf16 has too few digits for a mean: 1 and its neighbour are half a level of 256 apart.
        with fp32(features.device):
            params: Tensor = self.out(hidden.to(self.out.weight.dtype))
            return params

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        with fp32(params.device):
            mixture = self._split(params)
            target = scale_levels(nearest_levels(x, self.levels), self.levels)
            given = target + (x.float() - x.float().detach()) if x.requires_grad else target
            weights = F.log_softmax(mixture.logits, dim=1)
            results = []
            for channel in range(self.image_channels):
                per_mixture = self._component(mixture, channel, given[:, :channel], target[:, None, channel])
                own = weights[:, :, channel if not self.in_order else 0]
                results.append(torch.logsumexp(own + per_mixture, dim=1))
                if self.in_order and channel + 1 < self.image_channels:
                    # the indicator's posterior given this channel is its prior for the next
                    seen = per_mixture
                    if x.requires_grad:
                        seen = self._component(mixture, channel, given[:, :channel], given[:, None, channel])
                    weights = F.log_softmax(own + seen, dim=1)[:, :, None]
            return torch.stack(results, dim=1)

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        channel = earlier.shape[1]
        params = self._params(features[:, :, None, None])
        with fp32(features.device):
            mixture = self._split(params)
            x = scale_levels(earlier, self.levels)[:, :, None, None]
            weights = F.log_softmax(mixture.logits, dim=1)
            own = weights[:, :, 0 if self.in_order else channel]
            if self.in_order:
                for c in range(channel):
                    own = F.log_softmax(own + self._component(mixture, c, x[:, :c], x[:, None, c]), dim=1)
            levels = scale_levels(torch.arange(self.levels, device=x.device), self.levels)
            per_mixture = self._component(mixture, channel, x, levels[None, None, :, None])
            return torch.logsumexp(own + per_mixture, dim=1)[:, :, 0]

    def _split(self, params: Tensor) -> Mixture:
        """Parameters [B, K * n, H, W], the n of a mixture together: logits, C means, C log-scales, coefficients."""
        c = self.image_channels
        batch, _, height, width = params.shape
        by_mixture = params.float().view(batch, self.mixtures, -1, height, width)
        sizes = [self.logit_channels, c, c, self.pairs]
        logits, means, scales, coefficients = torch.split(by_mixture, sizes, dim=2)
        sharpest = self.log_bin + SHARPEST
        log_scales = (sharpest + F.softplus(scales - sharpest)).clamp(max=WIDEST)
        return Mixture(logits, means, log_scales, torch.tanh(coefficients) if self.pairs else None)

    def _component(self, mixture: Mixture, channel: int, earlier: Tensor, value: Tensor) -> Tensor:
        """log p of `value` (scaled) under each mixture component, given the channels before it, [B, channel, H, W]."""
        mean = mixture.means[:, :, channel]
        if mixture.coefficients is not None:
            first = channel * (channel - 1) // 2
            for c in range(channel):
                mean = mean + mixture.coefficients[:, :, first + c] * earlier[:, None, c]
        return discretised_logistic(value, mean, mixture.log_scales[:, :, channel], self.levels)


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """log of the logistic's mass between the edges of the level at x (Salimans et al. 2017, eq. 2); shapes broadcast.

    x is in [-1, 1]; the first and last level take the tails. log(σ(a) - σ(b)) is logσ(a) + logσ(-b) + log(1 - e^(b-a)),
    a - b being the width of a level over the scale, so that nothing cancels however far x lies from the mean.
    """
    half_bin = 1 / (levels - 1)
    inverse_scale = torch.exp(-log_scale)
    a = (x + half_bin - mean) * inverse_scale
    b = (x - half_bin - mean) * inverse_scale
    below, above = F.logsigmoid(a), F.logsigmoid(-b)
    inside = below + above + torch.log(-torch.expm1(-2 * half_bin * inverse_scale))
    first, last = x < half_bin - 1, x > 1 - half_bin
    return torch.where(first, below, torch.where(last, above, inside))
