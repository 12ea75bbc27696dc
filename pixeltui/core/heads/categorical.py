"""A softmax over the levels of each channel.

Shapes: features [B, D, H, W], image x [B, C, H, W], L levels; parameters [B, C * L, H, W], logits channel by channel.
"""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core import packed
from pixeltui.core.draw import inverse_cdf
from pixeltui.core.layers import MaskedConv2d
from pixeltui.core.parts import Head, IncrementalHead, fp32, nearest_levels, scale_levels


class CategoricalHead(Head):
    """channel_autoregressive: R from the features, G from them and R, B from them, R and G, each by its own small
    network; otherwise the channels are independent, by two 1x1 masked convolutions (van den Oord et al. 2016a).
    """

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.in_order = model.channel_autoregressive and image_channels > 1
        self.channel_nets = nn.ModuleList()
        hidden = channels - model.linear_skip
        if self.in_order:
            self.channel_nets.extend(ChannelNet(channels, hidden, c, levels) for c in range(image_channels))
        else:
            self.hidden = MaskedConv2d("B", channels, hidden, 1)
            self.out = MaskedConv2d("B", hidden, image_channels * levels, 1)

    def hidden_kernels(self) -> list[Tensor]:
        nets = [net for net in self.channel_nets if isinstance(net, ChannelNet)]
        return [conv.weight for net in nets for conv in (net.first, net.hidden)] if nets else [self.hidden.weight]

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

    def incremental(self) -> IncrementalHead | None:
        return packed.read(self, lambda: ChannelNetsPixel(self) if self.in_order else IndependentPixel(self))

    def _independent(self, features: Tensor) -> Tensor:
        logits: Tensor = self.out(F.relu(self.hidden(F.relu(features))))
        return logits


class ChannelNet(nn.Module):
    """Logits [B, L, H, W] of one channel from the features and the `earlier` channels of the same pixel.

    An earlier channel comes in twice: as a number, by which near levels mean nearly the same, and as an embedding.
    """

    def __init__(self, features: int, channels: int, earlier: int, levels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features + earlier, channels, 1)
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


class SoftmaxPixel(IncrementalHead):
    """Draws from logits; the sum of their exponentials need not be 1."""

    @abstractmethod
    def logits(self, channel: int) -> Tensor:
        """[B, L], fp32"""

    def log_probs(self, channel: int) -> Tensor:
        return F.log_softmax(self.logits(channel), dim=1)

    def draw(self, channel: int, noise: Tensor) -> Tensor:
        return inverse_cdf(torch.softmax(self.logits(channel), dim=1), noise)


class IndependentPixel(SoftmaxPixel):
    """CategoricalHead of independent channels at one pixel."""

    def __init__(self, head: CategoricalHead) -> None:
        self.levels = head.levels
        self.hidden, self.out = _matrix(head.hidden), _matrix(head.out)

    def begin(self, features: Tensor) -> None:
        hidden = _apply(self.hidden, F.relu(features)).relu_()
        self.all_logits = _apply(self.out, hidden)

    def logits(self, channel: int) -> Tensor:
        return self.all_logits[:, channel * self.levels : (channel + 1) * self.levels]

    def observe(self, channel: int, levels: Tensor) -> None:
        """Nothing: the channels are independent."""


class ChannelNetsPixel(SoftmaxPixel):
    """CategoricalHead with channels in order at one pixel: what the channels' first layers take from the features at
    once; what they take from an earlier channel from a table [L, D].
    """

    def __init__(self, head: CategoricalHead) -> None:
        nets = [net for net in head.channel_nets if isinstance(net, ChannelNet)]
        size = nets[0].first.weight.shape[1]
        firsts = [_matrix(net.first) for net in nets]
        self.first = torch.cat([matrix[:size] for _, matrix in firsts], dim=1).contiguous()
        self.first_bias = torch.cat([bias for bias, _ in firsts])
        scaled = scale_levels(torch.arange(head.levels, device=self.first.device), head.levels)[:, None]
        self.tables: list[list[Tensor]] = []
        """[later channel][earlier channel]"""
        for net, (_, matrix) in zip(nets, firsts, strict=True):
            tables = []
            for earlier, embedding in enumerate(net.embeddings):
                assert isinstance(embedding, nn.Embedding)
                tables.append(embedding.weight.detach().float() + scaled * matrix[size + earlier])
            self.tables.append(tables)
        self.hidden = [_matrix(net.hidden) for net in nets]
        self.out = [_matrix(net.out) for net in nets]

    def begin(self, features: Tensor) -> None:
        self.sums = list(_apply((self.first_bias, self.first), features).chunk(len(self.out), dim=1))

    def logits(self, channel: int) -> Tensor:
        hidden = F.silu(_apply(self.hidden[channel], F.silu(self.sums[channel])))
        return _apply(self.out[channel], hidden)

    def observe(self, channel: int, levels: Tensor) -> None:
        for later in range(channel + 1, len(self.out)):
            self.sums[later] += self.tables[later][channel][levels]


def _matrix(conv: nn.Conv2d | MaskedConv2d) -> tuple[Tensor, Tensor]:
    """fp32 copies of the bias [out] and the matrix [in, out] of a 1x1 convolution."""
    return packed.bias_of(conv, torch.float32), packed.pointwise(conv, torch.float32)


def _apply(layer: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    return torch.addmm(layer[0], x, layer[1])
