"""A class-conditional model as a classifier, by Bayes' rule: p(class | image) from p(image | class) and p(class).

Shapes: N images, K classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN
from pixeltui.data import Split
from pixeltui.train.evaluate import image_nats


@dataclass(frozen=True)
class Classified:
    """How well the likelihoods of an image under each class tell its class; shares of images, bits."""

    images: int
    accuracy: float
    accuracy_se: float
    """of a share: sqrt(p (1 - p) / N)"""
    chance: float
    """accuracy of always naming the class that is commonest in training"""
    label_bits: float
    """-log2 p(class | image), mean over images"""
    bits_per_dim: float
    """of p(image), the mixture of the classes"""


def class_log_probs(
    model: ConditionalPixelCNN,
    images: Tensor,
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """log p(image | class), natural: float64 [N, K] on the CPU; K times the work of scoring the images."""
    classes, columns = model.num_classes, []
    for label in range(classes):

        def report(done: int, total: int, label: int = label) -> None:
            if progress is not None:
                progress(label * total + done, classes * total)

        split = Split(images, torch.full((len(images),), label, device=images.device))
        columns.append(-image_nats(model, split, batch_size=batch_size, progress=report))
    return torch.stack(columns, dim=1) * math.prod(model.image_shape)


def class_priors(labels: Tensor, classes: int) -> Tensor:
    """log p(class), natural, by frequency: float64 [K]; -inf for a class without images; of none, all alike."""
    counts = torch.bincount(labels.cpu(), minlength=classes).double()
    counts = counts if counts.any() else torch.ones_like(counts)
    return (counts / counts.sum()).log()


def classify(log_probs: Tensor, log_priors: Tensor, labels: Tensor, *, dims: int) -> Classified:
    """From log p(image | class) [N, K], log p(class) [K] and the true classes int64 [N]; dims: sub-pixels an image."""
    joint, labels = log_probs + log_priors, labels.cpu()
    evidence = joint.logsumexp(dim=1)
    accuracy = float((joint.argmax(dim=1) == labels).double().mean())
    own = joint.gather(1, labels[:, None])[:, 0]
    return Classified(
        images=len(labels),
        accuracy=accuracy,
        accuracy_se=math.sqrt(accuracy * (1 - accuracy) / len(labels)),
        chance=float((labels == log_priors.argmax()).double().mean()),
        label_bits=float((evidence - own).mean()) / math.log(2),
        bits_per_dim=-float(evidence.mean()) / math.log(2) / dims,
    )
