"""A softmax over the levels of each channel.

Shapes: features [B, D, H, W], image x [B, C, H, W], L levels; parameters [B, C * L, H, W], logits channel by channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core.layers import MaskedConv2d
from pixeltui.core.parts import Head, fp32, nearest_levels, scale_levels


class CategoricalHead(Head):
    """channel_autoregressive: R from the features, G from them and R, B from them, R and G, each by its own small
    network; otherwise the channels are independent, by two 1x1 masked convolutions (van den Oord et al. 2016a).
    """

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.in_order = model.channel_autoregressive and image_channels > 1
        self.channel_nets = nn.ModuleList()
        if self.in_order:
            self.channel_nets.extend(ChannelNet(channels, c, levels) for c in range(image_channels))
        else:
            self.hidden = MaskedConv2d("B", channels, channels, 1)
            self.out = MaskedConv2d("B", channels, image_channels * levels, 1)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        if not self.in_order:
            return self._independent(features)
        levels = nearest_levels(x, self.levels)
        logits = [net(features, x[:, :c], levels[:, :c]) for c, net in enumerate(self.channel_nets)]
        return torch.cat(logits, dim=1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        with fp32(params.device):
            # Convolutions leave the channels last in memory, so that a sub-pixel's logits lie together.
            logits = params.movedim(1, -1).reshape(-1, self.levels)
            levels = nearest_levels(x, self.levels).movedim(1, -1)
            nats = F.cross_entropy(logits.float(), levels.reshape(-1), reduction="none")
            return -nats.view(levels.shape).movedim(-1, 1)

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        channel = earlier.shape[1]
        features = features[:, :, None, None]
        if self.in_order:
            levels = earlier[:, :, None, None]
            scaled = scale_levels(levels, self.levels)
            logits: Tensor = self.channel_nets[channel](features, scaled, levels)
        else:
            first = channel * self.levels
            logits = self._independent(features)[:, first : first + self.levels]
        with fp32(features.device):
            return F.log_softmax(logits.flatten(1).float(), dim=1)

    def _independent(self, features: Tensor) -> Tensor:
        logits: Tensor = self.out(F.relu(self.hidden(F.relu(features))))
        return logits


class ChannelNet(nn.Module):
    """Logits [B, L, H, W] of one channel from the features and the `earlier` channels of the same pixel.

    An earlier channel comes in twice: as a number, by which near levels mean nearly the same, and as an embedding.
    """

    def __init__(self, channels: int, earlier: int, levels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + earlier, channels, 1)
        self.embeddings = nn.ModuleList(nn.Embedding(levels, channels) for _ in range(earlier))
        self.hidden = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, levels, 1)
        for embedding in self.embeddings:
            assert isinstance(embedding, nn.Embedding)
            nn.init.zeros_(embedding.weight)

    def forward(self, features: Tensor, x: Tensor, levels: Tensor) -> Tensor:
        """x scaled and levels int64, both [B, earlier, H, W]."""
        y: Tensor = self.first(torch.cat([features, x.to(features.dtype)], dim=1))
        for channel, embedding in enumerate(self.embeddings):
            y = y + embedding(levels[:, channel]).movedim(-1, 1)
        logits: Tensor = self.out(F.silu(self.hidden(F.silu(y))))
        return logits
