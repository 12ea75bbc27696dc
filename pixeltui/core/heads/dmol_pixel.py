"""A mixture of logistics at one pixel, channel by channel."""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core import packed
from pixeltui.core.heads.logistic import SHARPEST, WIDEST, discretised_logistic
from pixeltui.core.parts import IncrementalHead, scale_levels

if TYPE_CHECKING:
    from pixeltui.core.heads.dmol import LogisticMixtureHead

FAR = 1e5
"""an edge beyond which no logistic has any mass, in units of [-1, 1]"""
FEW = 2**14
"""evaluations of a logistic that cost less than a second step of the search"""


class LogisticMixturePixel(IncrementalHead):
    """LogisticMixtureHead at one pixel. Levels are drawn by the mixture's own cumulative distribution.

    With inverse scale s, mean m: σ((x + half a level - m) s) is the mass up to the level at x, which takes one
    evaluation a level; where there are many, of every 16th edge and then of those between two of them.
    """

    def __init__(self, head: "LogisticMixtureHead") -> None:
        self.levels, self.mixtures, self.in_order = head.levels, head.mixtures, head.in_order
        self.image_channels, self.sharpest = head.image_channels, head.log_bin + SHARPEST
        weight = packed.pointwise(head.out, torch.float32).t()
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
            near = packed.pointwise(head.near, torch.float32)[:, by_kind] * signs
            self.near = near.contiguous()
        self.hidden = packed.pointwise(head.hidden, torch.float32)
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
        levels = _edges_below(edges, offset, inverse, weights, noise).add_(segment, alpha=16)
        return levels.clamp_(max=self.levels - 1)  # where means are not finite, or beyond FAR

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
