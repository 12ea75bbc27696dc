"""Likelihood of a split, with its standard error."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN
from pixeltui.data import Split
from pixeltui.errors import UserError


class Interrupted(Exception):
    """`interrupted()` said so."""


def diverged() -> UserError:
    """About weights that give images no finite likelihood."""
    return UserError(
        "the model's likelihoods are not finite, as its training diverged: take an earlier --checkpoint STEP, or train "
        "anew with a lower train.lr"
    )


@dataclass(frozen=True)
class Likelihood:
    """Means over images of the mean over an image's sub-pixels; standard errors over images."""

    images: int
    nats_per_dim: float
    nats_per_dim_se: float | None
    """None where it is not known"""
    per_class: dict[int, float]
    """bits/dim of each class that has images"""
    per_class_se: dict[int, float | None] = field(default_factory=dict)

    @property
    def bits_per_dim(self) -> float:
        """nats/dim over log 2: what an ideal coder would take for a sub-pixel."""
        return self.nats_per_dim / math.log(2)

    @property
    def bits_per_dim_se(self) -> float | None:
        return None if self.nats_per_dim_se is None else self.nats_per_dim_se / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats/dim): the number of equally likely levels that would be as hard to guess."""
        return math.exp(min(self.nats_per_dim, 700.0))


def image_nats(model: ConditionalPixelCNN, split: Split, **how: Any) -> Tensor:
    """Negative log-likelihood of every image in nats/dim: float64 [N] on the CPU; `how` as for channel_nats."""
    return channel_nats(model, split, **how).mean(1)


@torch.no_grad()
def channel_nats(
    model: ConditionalPixelCNN,
    split: Split,
    *,
    batch_size: int,
    part: int = 0,
    parts: int = 1,
    progress: Callable[[int, int], None] | None = None,
    interrupted: Callable[[], bool] | None = None,
) -> Tensor:
    """Negative log-likelihood of every image's channels, a mean over pixels, by an fp32 network: float64 [N, C], CPU.

    Of `parts` processes each takes every parts-th batch, from the part-th on, and leaves the others' images at 0. After
    each batch `progress(done, total)` is called, and Interrupted is raised where `interrupted()` is true, which
    every part is asked equally often. The model is left in the mode that it was in.
    """
    was_training = model.training
    model.eval()
    total = len(split)
    nats = torch.zeros(total, model.image_shape[0], dtype=torch.float64)
    try:
        for first in range(0, total, batch_size * parts):
            own = slice(first + part * batch_size, first + (part + 1) * batch_size)
            images = split.images[own]
            if len(images):
                labels = None if split.labels is None else split.labels[own]
                nats[own] = _nats(model, images, labels)
            if progress is not None:
                progress(min(first + batch_size * parts, total), total)
            if interrupted is not None and interrupted():
                raise Interrupted
    finally:
        model.train(was_training)
    return nats


def _nats(model: ConditionalPixelCNN, images: Tensor, labels: Tensor | None) -> Tensor:
    """float64 [N, C] on the CPU of images [N, C, H, W], by halves where memory runs out."""
    with contextlib.suppress(torch.OutOfMemoryError):
        return -model.log_prob(images, labels).double().flatten(2).mean(2).cpu()
    half = len(images) // 2
    if not half:
        raise torch.OutOfMemoryError("no memory to score a single image")
    parts = (slice(0, half), slice(half, None))
    return torch.cat([_nats(model, images[part], None if labels is None else labels[part]) for part in parts])


def likelihood(nats: Tensor, labels: Tensor | None = None) -> Likelihood:
    """The figures of a split from its images' nats/dim [N] and labels [N]."""
    per_class, per_class_se = {}, {}
    if labels is not None:
        labels = labels.cpu()
        for label in sorted(set(labels.tolist())):
            mean, se = mean_and_se(nats[labels == label] / math.log(2))
            per_class[label], per_class_se[label] = mean, se
    return Likelihood(len(nats), *mean_and_se(nats), per_class, per_class_se)


def mean_and_se(x: Tensor) -> tuple[float, float | None]:
    """Of [N], the standard error None where N is 1."""
    return float(x.mean()), float(x.std()) / math.sqrt(len(x)) if len(x) > 1 else None
