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
from pixeltui.core import packed
from pixeltui.core.fused import transformed
from pixeltui.core.gpu import mixture_loss
from pixeltui.core.heads import dmol_loss
from pixeltui.core.heads.dmol_pixel import LogisticMixturePixel
from pixeltui.core.heads.logistic import SHARPEST, WIDEST, discretised_logistic
from pixeltui.core.layers import init_conv_
from pixeltui.core.parts import Head, dtype_of, fp32, nearest_levels, scale_levels
from pixeltui.core.planes import PlanesConv2d, last_features, sum_of

TOGETHER = 1.5
"""where the coefficients between channels start, before their tanh: grey is the commonest colour"""


class Mixture(NamedTuple):
    """fp32 [B, K, C, H, W]; coefficients [B, K, C (C - 1) / 2, H, W] or None; logits [B, K, 1, H, W] where shared."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor | None


class LogisticMixtureHead(Head):
    """channel_autoregressive: the channels share the mixture indicator, and the mean of a channel is linear in the
    earlier channels; otherwise each channel has a mixture of its own and they are independent.

    A mean moves with what the earlier channels lie off their own means, not, as in Salimans et al., with the channels
    themselves: the same family, but means and coefficients are learnt apart from one another, and training is faster.
    """

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.mixtures = model.mixtures
        self.in_order = model.channel_autoregressive and image_channels > 1
        self.pairs = image_channels * (image_channels - 1) // 2 if self.in_order else 0
        self.logit_channels = 1 if self.in_order else image_channels
        self.log_bin = math.log(2 / (levels - 1))
        parameters = self.mixtures * (self.logit_channels + 2 * image_channels + self.pairs)
        self.skipped = model.linear_skip
        """features, the last ones, that are linear in the image and go to the parameters directly"""
        hidden = channels - self.skipped
        self.hidden = nn.Conv2d(channels, hidden, 1)
        self.out = PlanesConv2d(hidden, parameters)
        self.near = PlanesConv2d(self.skipped, parameters, bias=False) if self.skipped else None
        self._init_spread()

    def _init_spread(self) -> None:
        """At the start the components tile [-1, 1] and channels leave their means together, whatever the features."""
        init_conv_(self.out, gain=0.1)
        k, c = self.mixtures, self.image_channels
        means = (torch.arange(k) + 0.5) * (2 / k) - 1
        assert self.out.bias is not None
        with torch.no_grad():
            bias = self.out.bias.view(k, -1)
            bias[:, self.logit_channels : self.logit_channels + c] = means[:, None]
            bias[:, self.logit_channels + c : self.logit_channels + 2 * c] = -math.log(k)
            bias[:, self.logit_channels + 2 * c :] = TOGETHER
            if self.near is not None:
                self.near.weight.zero_()

    def hidden_kernels(self) -> list[Tensor]:
        return [self.hidden.weight]

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        return self._params(features)

    def _params(self, features: Tensor) -> Tensor:
        hidden = F.silu(self.hidden(features))
        # bf16 has too few digits for a mean: 1 and its neighbour are half a level of 256 apart.
        with fp32(features.device):
            hidden = hidden.to(dtype_of(self.out))
            if self.near is None:
                params: Tensor = self.out(hidden)
                return params
            return sum_of(self.out, hidden, self.near, last_features(features, self.skipped))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        with fp32(params.device):
            mixture = self._split(params)
            target = scale_levels(nearest_levels(x, self.levels), self.levels)
            through = _differentiated(x)
            given = target + (x.float() - _constant(x)) if through else target
            weights = F.log_softmax(mixture.logits, dim=1)
            means = self._means(mixture, given[:, :-1])
            results = []
            for channel in range(self.image_channels):
                per_mixture = self._component(mixture, means, channel, target)
                own = weights[:, :, channel if not self.in_order else 0]
                results.append(torch.logsumexp(own + per_mixture, dim=1))
                if self.in_order and channel + 1 < self.image_channels:
                    # the indicator's posterior given this channel is its prior for the next
                    seen = per_mixture
                    if through:
                        seen = self._component(mixture, means, channel, given)
                    weights = F.log_softmax(own + seen, dim=1)[:, :, None]
            return torch.stack(results, dim=1)

    def pixel_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Of a mixture that the channels share all at once: log Σ_k π_k Π_c p(x_c | k, earlier channels)."""
        if not self.in_order or _differentiated(x):
            return super().pixel_log_prob(params, x)
        with fp32(params.device):
            target = scale_levels(nearest_levels(x, self.levels), self.levels)
            given = params.float(), target
            bounds = 1 / (self.levels - 1), self.log_bin + SHARPEST, WIDEST
            if mixture_loss.usable(*given):
                return mixture_loss.log_prob(*given, self.mixtures, *bounds)
            if not torch.compiler.is_compiling():
                return dmol_loss.log_prob(*given, self.mixtures, *bounds)
            mixture = self._split(params)
            means = torch.stack(self._means(mixture, target[:, :-1]), dim=2)
            each = discretised_logistic(target[:, None], means, mixture.log_scales, self.levels).sum(2)
            weights = F.log_softmax(mixture.logits, dim=1)[:, :, 0]
            return torch.logsumexp(weights + each, dim=1)

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        channel = earlier.shape[1]
        params = self._params(features[:, :, None, None])
        with fp32(features.device):
            mixture = self._split(params)
            x = scale_levels(earlier, self.levels)[:, :, None, None]
            weights = F.log_softmax(mixture.logits, dim=1)
            means = self._means(mixture, x)
            own = weights[:, :, 0 if self.in_order else channel]
            if self.in_order:
                for c in range(channel):
                    own = F.log_softmax(own + self._component(mixture, means, c, x), dim=1)
            levels = scale_levels(torch.arange(self.levels, device=x.device), self.levels)[None, None, :, None]
            log_scale = mixture.log_scales[:, :, channel]
            per_mixture = discretised_logistic(levels, means[channel], log_scale, self.levels)
            return torch.logsumexp(own + per_mixture, dim=1)[:, :, 0]

    def incremental(self) -> LogisticMixturePixel | None:
        return packed.read(self, lambda: LogisticMixturePixel(self))

    def _split(self, params: Tensor) -> Mixture:
        """Parameters [B, K * n, H, W], the n of a mixture together: logits, C means, C log-scales, coefficients."""
        c = self.image_channels
        batch, _, height, width = params.shape
        by_mixture = params.float().view(batch, self.mixtures, params.shape[1] // self.mixtures, height, width)
        sizes = [self.logit_channels, c, c, self.pairs]
        logits, means, scales, coefficients = torch.split(by_mixture, sizes, dim=2)
        sharpest = self.log_bin + SHARPEST
        log_scales = (sharpest + F.softplus(scales - sharpest)).clamp(max=WIDEST)
        return Mixture(logits, means, log_scales, torch.tanh(coefficients) if self.pairs else None)

    def _means(self, mixture: Mixture, earlier: Tensor) -> list[Tensor]:
        """Means [B, K, H, W] of the n + 1 first channels, given n earlier ones, scaled, [B, n, H, W]."""
        means: list[Tensor] = []
        distances: list[Tensor] = []
        for channel in range(earlier.shape[1] + 1):
            mean = mixture.means[:, :, channel]
            if mixture.coefficients is not None:
                first = channel * (channel - 1) // 2
                for c, distance in enumerate(distances):
                    mean = mean + mixture.coefficients[:, :, first + c] * distance
            means.append(mean)
            if channel < earlier.shape[1]:
                distances.append(earlier[:, None, channel] - mean)
        return means

    def _component(self, mixture: Mixture, means: list[Tensor], channel: int, x: Tensor) -> Tensor:
        """log p of a channel of x, scaled, under each component, [B, K, H, W]."""
        return discretised_logistic(x[:, None, channel], means[channel], mixture.log_scales[:, :, channel], self.levels)


def _differentiated(x: Tensor) -> bool:
    """Whether a derivative by x may be asked for: torch.func does not always tell."""
    return x.requires_grad or transformed()


def _constant(x: Tensor) -> Tensor:
    """fp32 x without its derivative: whole numbers have none, where `detach` leaves that of a forward mode."""
    return (x.detach().double() * 2.0**40).long().float() * 2.0**-40
