"""Negative log-likelihood in the units of the field."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Score = Callable[[Tensor, Tensor], Tensor]


class Loss(Tensor):
    """A batch's nats/dim, the mean over its sub-pixels of -log p, which is minimised: fp32 [], a tensor like any other,
    in other units too. What is computed from it is a plain tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def nats_per_dim(self) -> Tensor:
        """The same as a plain tensor."""
        return self.as_subclass(Tensor)

    @property
    def bits_per_dim(self) -> Tensor:
        """nats/dim over log 2: what an ideal coder would take for a sub-pixel."""
        return self.nats_per_dim / math.log(2)

    @property
    def perplexity(self) -> Tensor:
        """exp(nats/dim): the number of equally likely levels that would be as hard to guess."""
        return torch.exp(self.nats_per_dim)

    def __format__(self, spec: str) -> str:
        return format(self.nats_per_dim, spec)


class PixelCNNLoss(nn.Module):
    """PixelCNNLoss()(model, x, labels), or PixelCNNLoss(model)(model(x, labels), x): the batch's Loss.

    fp32 whatever autocast says. The model is called, not reached into, so that compiled and DistributedDataParallel
    models do their work. What it returns, the parameters of its head's distribution, only its head can score: a loss
    that is given parameters has to know the model. Raises ValueError where it does not.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        # A function, not a module: the model's parameters are not the loss's.
        self._score = None if model is None else _scorer(model)

    def forward(self, model: nn.Module | Tensor, x: Tensor, labels: Tensor | None = None) -> Loss:
        """model: one, or its parameters [B, P, H, W] for x. x: uint8 [B, C, H, W]. labels: int64 [B], None for p(x)."""
        if isinstance(model, nn.Module):
            return self._mean(_scorer(model), model(x, labels), x)
        if self._score is None:
            raise ValueError(
                "to score a model's output: PixelCNNLoss(model)(output, x), or PixelCNNLoss()(model, x, labels)"
            )
        return self._mean(self._score, model, x)

    @staticmethod
    def _mean(score: Score, params: Tensor, x: Tensor) -> Loss:
        return (-score(params, x).mean() / x.shape[1]).as_subclass(Loss)


def _scorer(model: nn.Module) -> Score:
    """`score_pixels` of the model itself, which DistributedDataParallel has inside."""
    inner: Any = getattr(model, "module", model)
    score: Score = inner.score_pixels
    return score
