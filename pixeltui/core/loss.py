"""Negative log-likelihood in the units of the field."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Loss:
    nats_per_dim: Tensor
    """fp32 []: mean over sub-pixels of -log p, differentiable; what is minimised"""

    @property
    def bits_per_dim(self) -> Tensor:
        return self.nats_per_dim / math.log(2)

    @property
    def perplexity(self) -> Tensor:
        """exp(nats/dim): the number of equally likely levels that would be as hard to guess."""
        return torch.exp(self.nats_per_dim)


class PixelCNNLoss(nn.Module):
    """PixelCNNLoss()(model, x, labels): the batch's Loss; fp32 whatever autocast says.

    The model is called, not reached into, so that compiled and DistributedDataParallel models do their work.
    """

    def forward(self, model: nn.Module, x: Tensor, labels: Tensor | None = None) -> Loss:
        params = model(x, labels)
        inner: Any = getattr(model, "module", model)
        log_prob: Tensor = inner.score(params, x)
        return Loss(-log_prob.mean())
