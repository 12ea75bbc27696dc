"""One stack of masked convolutions (van den Oord et al. 2016a) with gates (2016b): the compact recipe.

It has the blind spot of such stacks: what lies above and further to the right than the kernels' masks can reach.
"""

import torch
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core.layers import CausalSelfAttention, ClassBias, MaskedConv2d, ResidualBlock
from pixeltui.core.parts import Trunk


class SingleStack(Trunk):
    """A convolution of type A, a bias for each class, then gated residual blocks of type B."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__()
        self.channels = model.channels
        attended = model.attention.after
        self.rows_above = None if attended else model.first_kernel // 2 + model.blocks * (model.kernel // 2)
        self.first = MaskedConv2d("A", image_channels, model.channels, model.first_kernel)
        self.class_bias = ClassBias(num_classes, model.channels) if num_classes else None
        self.blocks = nn.ModuleList(
            ResidualBlock(model.channels, model.kernel, norm=model.norm, dropout=model.dropout)
            for _ in range(model.blocks)
        )
        self.attention = nn.ModuleDict(
            {str(after): CausalSelfAttention(model.channels, model.attention.heads) for after in attended}
        )

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        features: Tensor = self.first(x.contiguous(memory_format=torch.channels_last))
        if self.class_bias is not None:
            features = features + self.class_bias(labels)
        for number, block in enumerate(self.blocks, 1):
            features = block(features)
            if str(number) in self.attention:
                features = self.attention[str(number)](features)
        return features
