"""Features in three groups, for red, green and blue (van den Oord et al. 2016a, section 3.4); see parts_tried.py."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Model
from pixeltui.core.layers import MaskedConv2d
from pixeltui.core.parts import Head, nearest_levels
from pixeltui.core.single_stack import SingleStack


class GroupedConv2d(MaskedConv2d):
    """At the centre a group sees those before it, and itself where the mask is of type B."""

    def __init__(self, mask_type: str, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__("B", in_channels, out_channels, kernel_size)
        of_in = torch.arange(in_channels) * 3 // in_channels
        of_out = torch.arange(out_channels) * 3 // out_channels
        seen = of_out[:, None] > of_in if mask_type == "A" else of_out[:, None] >= of_in
        half = kernel_size // 2
        mask = self.mask.expand_as(self.weight).clone()
        mask[:, :, half, half] = seen.float()
        self.mask = mask
        with torch.no_grad():
            self.weight.mul_(mask)

    def forward(self, x: Tensor) -> Tensor:
        half = self.kernel_size // 2
        return F.conv2d(F.pad(x, (half, half, half, 0)), self.weight * self.mask, self.bias)


class ChannelGroups(SingleStack):
    """The features of a group hang on the pixel's channels before it: only `of_groups` may read them."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        d = model.channels
        self.first = GroupedConv2d("A", image_channels, d, model.first_kernel)
        for block in self.blocks:
            block.conv = GroupedConv2d("B", d, d, model.kernel)
            block.out = GroupedConv2d("B", d, d, 1)
            block.norm = GroupsNorm(d)


class GroupsNorm(nn.Module):
    """Layer norm over each group by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(3, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
        return self.norm(pixels).view(batch, height, width, channels).permute(0, 3, 1, 2)


class HeadOfGroups(Head):
    """A softmax for each channel, from its group of features."""

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.hidden = GroupedConv2d("B", channels, channels, 1)
        self.outs = nn.ModuleList(nn.Conv2d(channels // 3, levels, 1) for _ in range(image_channels))

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        groups = F.silu(self.hidden(F.silu(features))).chunk(3, dim=1)
        return torch.cat([out(group) for out, group in zip(self.outs, groups, strict=True)], dim=1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        logits = params.float().unflatten(1, (self.image_channels, self.levels))
        return -F.cross_entropy(logits.transpose(1, 2), nearest_levels(x, self.levels), reduction="none")

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        raise NotImplementedError("the trunk's features hang on the pixel's own channels: once a channel, not a pixel")
