"""PixelCNN models: exact likelihoods and samples of images. Torch only; usable as a library of its own."""

from pixeltui.core.attention import CausalSelfAttention
from pixeltui.core.layers import MaskedConv2d, ResidualBlock
from pixeltui.core.loss import PixelCNNLoss
from pixeltui.core.model import ConditionalPixelCNN, build_model

__all__ = [
    "CausalSelfAttention",
    "ConditionalPixelCNN",
    "MaskedConv2d",
    "PixelCNNLoss",
    "ResidualBlock",
    "build_model",
]
