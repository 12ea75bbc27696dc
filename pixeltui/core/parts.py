"""What a trunk and a head are. A model is one of each; a new one is a file and a line in pixeltui.registry.

Shapes: images [B, C, H, W], features [B, D, H, W], L levels, labels int64 [B] in [0, num_classes], the last "no label".
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Trunk(nn.Module, ABC):
    """From a scaled image to features that are strictly causal: those of a pixel hang on earlier pixels only.

    Built as Trunk(image_channels, num_classes, config.model); num_classes is 0 for a model without labels.
    """

    channels: int
    """D"""
    rows_above: int | None
    """Rows above a pixel that its features can hang on; None: all of them."""

    @abstractmethod
    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """x in [-1, 1] [B, C, H, W], labels None where num_classes is 0, to features [B, D, H, W]."""


class Head(nn.Module, ABC):
    """From the features of a pixel to a distribution over the levels of each of its channels.

    Built as Head(D, C, L, config.model). Log-probabilities are natural and fp32, whatever autocast says.
    """

    def __init__(self, image_channels: int, levels: int) -> None:
        super().__init__()
        self.image_channels = image_channels
        self.levels = levels

    @abstractmethod
    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Parameters [B, P, H, W] of the distribution, given the image x, scaled, [B, C, H, W]."""

    @abstractmethod
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """[B, C, H, W]: log-probability of the level that each sub-pixel of x, scaled, is nearest to.

        A gradient reaches x only as the condition of later channels, never as the level that is scored.
        """

    @abstractmethod
    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        """[B, L]: of every level of channel c, given features [B, D] and the c channels before it, int64 [B, c]."""


def scale_levels(levels: Tensor, number: int) -> Tensor:
    """Levels 0 .. number - 1 to fp32 in [-1, 1]."""
    return levels.float() * (2 / (number - 1)) - 1


def nearest_levels(x: Tensor, number: int) -> Tensor:
    """The inverse of scale_levels: int64, x rounded to the nearest level; no gradient."""
    return ((x.detach().float() + 1) * ((number - 1) / 2)).round().clamp(0, number - 1).long()


def fp32(device: torch.device) -> torch.autocast:
    """A context in which autocast is off."""
    return torch.autocast(device.type, enabled=False)
