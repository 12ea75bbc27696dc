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
from pixeltui.core.layers import init_conv_
from pixeltui.core.parts import Head, IncrementalHead, fp32, nearest_levels, scale_levels

SHARPEST = -2.15
"""log of the smallest scale over the width of a level: -7 in [-1, 1] for 256 levels, as in Salimans et al."""
TOGETHER = 1.5
"""where the coefficients between channels start, before their tanh: grey is the commonest colour"""
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
        self.out = nn.Conv2d(hidden, parameters, 1)
        self.near = nn.Conv2d(self.skipped, parameters, 1, bias=False) if self.skipped else None
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
            params: Tensor = self.out(hidden.to(self.out.weight.dtype))
            if self.near is not None:
                params = params + self.near(features[:, -self.skipped :])
            return params

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        with fp32(params.device):
            mixture = self._split(params)
            target = scale_levels(nearest_levels(x, self.levels), self.levels)
            given = target + (x.float() - x.float().detach()) if x.requires_grad else target
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
                    if x.requires_grad:
                        seen = self._component(mixture, means, channel, given)
                    weights = F.log_softmax(own + seen, dim=1)[:, :, None]
            return torch.stack(results, dim=1)

    def pixel_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Of a mixture that the channels share all at once: log Σ_k π_k Π_c p(x_c | k, earlier channels)."""
        if not self.in_order or x.requires_grad:
            return super().pixel_log_prob(params, x)
        with fp32(params.device):
            mixture = self._split(params)
            target = scale_levels(nearest_levels(x, self.levels), self.levels)
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

    def incremental(self) -> "LogisticMixturePixel":
        return LogisticMixturePixel(self)

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


FAR = 1e5
"""an edge beyond which no logistic has any mass, in units of [-1, 1]"""
FEW = 2**14
"""evaluations of a logistic that cost less than a second step of the search"""


class LogisticMixturePixel(IncrementalHead):
    """LogisticMixtureHead at one pixel. Levels are drawn by the mixture's own cumulative distribution.

    With inverse scale s, mean m: σ((x + half a level - m) s) is the mass up to the level at x, which takes one
    evaluation a level; where there are many, of every 16th edge and then of those between two of them.
    """

    def __init__(self, head: LogisticMixtureHead) -> None:
        self.levels, self.mixtures, self.in_order = head.levels, head.mixtures, head.in_order
        self.image_channels, self.sharpest = head.image_channels, head.log_bin + SHARPEST
        weight = head.out.weight.detach().float().flatten(1)
        bias = packed.bias_of(head.out, torch.float32)
        # each kind of parameter together: [n, K] for logits, means, scales, coefficients
        by_kind = torch.arange(len(bias), device=bias.device).view(self.mixtures, -1).t().flatten()
        first = self.mixtures * (head.logit_channels + head.image_channels)
        scales = slice(first, first + self.mixtures * head.image_channels)
        weight, bias = weight[by_kind], bias[by_kind]
        # exp(-(sharpest + softplus(s - sharpest))) = exp(-sharpest) σ(sharpest - s); means and coefficients come only
        # as -m and -c
        signs = torch.ones_like(bias)
        signs[self.mixtures * head.logit_channels :] = -1
        weight, bias = weight * signs[:, None], bias * signs
        bias[scales] += self.sharpest
        self.out, self.bias = weight.t().contiguous(), bias
        self.skipped, self.near = head.skipped, None
        if head.near is not None:
            near = packed.taps(head.near, torch.float32)[0, 0][:, by_kind] * signs
            self.near = near.contiguous()
        self.hidden = packed.taps(head.hidden, torch.float32)[0, 0]
        self.hidden_bias = packed.bias_of(head.hidden, torch.float32)
        counts = [head.logit_channels, head.image_channels, head.image_channels, head.pairs]
        self.sizes = [count * self.mixtures for count in counts]
        self._tables(bias.device)

    def _tables(self, device: torch.device) -> None:
        half = 1 / (self.levels - 1)
        self.width = 2 * half
        self.scaled = scale_levels(torch.arange(self.levels, device=device), self.levels)
        self.edges = self.scaled[:-1] + half
        """[L - 1], between two levels"""
        self.segments = F.pad(self.edges, (0, 16), value=FAR).unfold(0, 15, 16).contiguous()
        """[.., 15]: the edges between every 16th and the next"""
        upper, lower, inside = self.scaled + half, self.scaled - half, torch.ones_like(self.scaled)
        upper[-1], lower[0], inside[0], inside[-1] = FAR, -FAR, 0, 0
        self.cells = torch.stack([upper, -lower, inside, self.scaled], dim=1)
        """[L, 4]: the edges of a level, the lower one negated; whether it has two; the level itself"""
        self.signs = torch.tensor([1.0, -1.0], dtype=torch.float32, device=device)

    def begin(self, features: Tensor) -> None:
        hidden = F.silu(torch.addmm(self.hidden_bias, features, self.hidden))
        params = torch.addmm(self.bias, hidden, self.out)
        if self.near is not None:
            params.addmm_(features[:, -self.skipped :], self.near)
        params = params[:, :, None]
        logits, means, scales, coefficients = torch.split(params, self.sizes, dim=1)
        inverse = (scales.sigmoid() * math.exp(-self.sharpest)).clamp_(min=math.exp(-WIDEST))
        k = self.mixtures
        self.log_weights = [F.log_softmax(one, dim=1) for one in torch.split(logits, k, dim=1)]
        """[B, K, 1] of each channel, or of the channel that comes next"""
        self.minus_means, self.inverse_scales = list(torch.split(means, k, dim=1)), torch.split(inverse, k, dim=1)
        if self.in_order:
            self.minus_coefficients = torch.split(coefficients.tanh(), k, dim=1)
            self.log_widths = torch.split((inverse * (-self.width)).expm1_().neg_().log_(), k, dim=1)

    def draw(self, channel: int, noise: Tensor) -> Tensor:
        inverse = self.inverse_scales[channel]
        offset = self.minus_means[channel] * inverse
        weights, noise = self._log_weights(channel).exp().transpose(1, 2), noise[:, None, None]
        if weights.numel() * self.levels <= FEW:
            return _edges_below(self.edges, offset, inverse, weights, noise)
        segment = _edges_below(self.edges[15::16], offset, inverse, weights, noise)
        edges = self.segments.index_select(0, segment)[:, None]
        return _edges_below(edges, offset, inverse, weights, noise).add_(segment, alpha=16)

    def observe(self, channel: int, levels: Tensor) -> None:
        """The indicator's posterior given this channel is its prior for the next; the next means move with its
        distance from its own."""
        if not self.in_order:
            return
        sides, inside, scaled = torch.split(self.cells.index_select(0, levels)[:, None], [2, 1, 1], dim=2)
        mean, inverse = self.minus_means[channel], self.inverse_scales[channel]
        mass = F.logsigmoid(torch.addcmul(sides, mean, self.signs).mul_(inverse)).sum(2, keepdim=True)
        mass.addcmul_(self.log_widths[channel], inside).add_(self.log_weights[0])
        self.log_weights[0] = F.log_softmax(mass, dim=1)
        distance = scaled + mean
        for later in range(channel + 1, self.image_channels):
            coefficient = self.minus_coefficients[later * (later - 1) // 2 + channel]
            self.minus_means[later] = torch.addcmul(self.minus_means[later], coefficient, distance)

    def log_probs(self, channel: int) -> Tensor:
        mean, inverse = -self.minus_means[channel], self.inverse_scales[channel]
        per_mixture = discretised_logistic(self.scaled, mean, -inverse.log(), self.levels)
        return torch.logsumexp(self._log_weights(channel) + per_mixture, dim=1)

    def _log_weights(self, channel: int) -> Tensor:
        return self.log_weights[0 if self.in_order else channel]


def _edges_below(edges: Tensor, offset: Tensor, inverse: Tensor, weights: Tensor, noise: Tensor) -> Tensor:
    """int64 [B]: how many of the edges [E] or [B, 1, E] have a mass below them of at most noise [B, 1, 1].

    offset, inverse [B, K, 1], weights [B, 1, K] of the logistics.
    """
    mass = torch.bmm(weights, torch.addcmul(offset, inverse, edges).sigmoid_())
    return torch.searchsorted(mass, noise, right=True).flatten()
