"""A head of one's own, trained by pixeltui's own trainer: a Gaussian over the levels, cut off at both ends.

    python examples/own_head.py --set train.epochs=4 --name gaussian

In pixeltui itself it would be a file in pixeltui/core/heads/ and the same line in pixeltui/registry.py. A run that was
trained with it needs this registration to be resumed or sampled from.
"""

import sys

import torch
from torch import Tensor, nn

from pixeltui import registry
from pixeltui.cli import main
from pixeltui.config import Model
from pixeltui.core.parts import Head, fp32, nearest_levels

registry.HEADS["gaussian"] = f"{__name__}:GaussianHead"


class GaussianHead(Head):
    """A level has a probability proportional to exp(-(value - mean)² / 2 scale²); the channels are independent.

    Parameters [B, 2 C, H, W]: means, then log-scales.
    """

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.out = nn.Conv2d(channels, 2 * image_channels, 1)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        params: Tensor = self.out(features)
        return params

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        levels = nearest_levels(x, self.levels)
        return self._of_every_level(params).gather(2, levels[:, :, None]).squeeze(2)

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        params = self.out(features[:, :, None, None])
        return self._of_every_level(params)[:, earlier.shape[1], :, 0, 0]

    def _of_every_level(self, params: Tensor) -> Tensor:
        """[B, C, L, H, W]"""
        with fp32(params.device):
            means, log_scales = params.float().unsqueeze(2).chunk(2, dim=1)
            values = torch.linspace(-1, 1, self.levels, device=params.device)[:, None, None]
            return (-((values - means) * torch.exp(-log_scales)).square() / 2).log_softmax(dim=2)


if __name__ == "__main__":
    sys.exit(main(["--no-ui", "train", "--preset", "quick", "--set", "model.head=gaussian", *sys.argv[1:]]))
