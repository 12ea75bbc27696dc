"""Causal self-attention over the pixels of an image, and how a pixel knows its place.

Shapes: [B, C, H, W] images of features. "Causal": the output at a pixel hangs on earlier pixels and on itself only.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.core.layers import RMSNorm

POSITION_WAVELENGTHS = (128, 32, 8)
"""pixels; the longest tells 64 rows or columns apart, the shortest tells neighbours apart"""
POSITION_CHANNELS = 4 * len(POSITION_WAVELENGTHS)


def position_features(height: int, width: int, *, like: Tensor) -> Tensor:
    """[POSITION_CHANNELS, H, W]: sine and cosine of row and column, counted from the top left corner."""
    # numbers from the CPU could not be recorded
    frequency = torch.cat(
        [torch.full((1,), 2 * math.pi / length, device=like.device) for length in POSITION_WAVELENGTHS]
    )

    def waves(size: int) -> Tensor:
        phase = frequency[:, None] * torch.arange(size, device=like.device)
        return torch.cat([phase.sin(), phase.cos()])

    rows, columns = waves(height), waves(width)
    features = torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None, :].expand(-1, height, -1)])
    return features.to(like.dtype)


class CausalSelfAttention(nn.Module):
    """x + multi-head attention of every pixel to itself and those before it (Chen et al. 2018). Causal; [B, C, H, W].

    A pixel may attend to itself: the features that the trunks put in at a pixel are strictly causal, so that they tell
    nothing about that pixel's own value, and the first query has one key rather than none. Queries, keys and values are
    of the normed features and of the pixel's place. Raises ValueError where `heads` does not divide `channels`.
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"expected a number of heads that divides {channels} channels, got {heads}")
        self.heads = heads
        self.norm = RMSNorm(channels)
        self.qkv = nn.Conv2d(channels + POSITION_CHANNELS, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        batch, channels, height, width = x.shape
        position = position_features(height, width, like=x).expand(batch, -1, -1, -1)
        qkv: Tensor = self.qkv(torch.cat([self.norm(x), position], dim=1))
        heads = qkv.reshape(batch, 3, self.heads, channels // self.heads, height * width).transpose(-1, -2)
        query, key, value = heads.unbind(1)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.out(y.transpose(-1, -2).reshape(batch, channels, height, width))
        return x + out
