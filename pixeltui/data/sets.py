"""What a source of images gives (`Source`, numpy) and what training takes (`DataSet`, torch)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Progress = Callable[[int, int], None]  # (done, total), of files or bytes; a total of 0 is not known


class Arrays(NamedTuple):
    """images: uint8 [N, C, H, W]; labels: int64 [N], or None."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """A data set as it was found: splits that are None are still to be cut from `train`."""

    name: str
    where: str  # begins the messages about it: a path, or its name
    train: Arrays | None  # None only of data that are scored
    val: Arrays | None = None
    test: Arrays | None = None
    classes: tuple[str, ...] = ()  # () without labels
    levels: int = 0  # 0: read them off the values
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a model expects of data that it scores, and was not trained on."""

    levels: int
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None = None
    """(C, H, W); None: any"""
    whole: bool = False
    """all images are scored, whatever splits they fall into"""


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 [N, C, H, W]; labels: int64 [N], or None."""

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)

    def spread(self, n: int) -> "Split":
        """At most n of the images, evenly spaced: folders are in the order of their classes, so the first n are not."""
        return self[self.spread_indices(n)]

    def spread_indices(self, n: int) -> Tensor:
        """int64 [min(n, len)], evenly spaced."""
        count = min(n, len(self))
        return torch.arange(count, device=self.images.device) * len(self) // max(1, count)

    def __getitem__(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], None if self.labels is None else self.labels[indices])

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.images.to(device), None if self.labels is None else self.labels.to(device))


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three splits of images of one shape, every value below `levels`, every label an index into `classes`."""

    name: str
    train: Split
    val: Split
    test: Split
    levels: int
    classes: tuple[str, ...]  # () without labels
    checksum: str  # sha256 of the splits, hex
    notices: tuple[str, ...] = ()  # what the user should hear of, though the data is whole

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """0 without labels."""
        return len(self.classes)

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def to(self, device: torch.device | str) -> "DataSet":
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=self.test.to(device))


def checksum(splits: dict[str, Arrays]) -> str:
    """sha256 over each split's name, shape, images and labels (int64, little-endian), hex."""
    digest = hashlib.sha256()
    for name, (images, labels) in splits.items():
        digest.update(f"{name} {images.shape} {'unlabelled' if labels is None else 'labelled'}\n".encode())
        digest.update(_bytes(images))
        if labels is not None:
            digest.update(_bytes(labels.astype("<i8")))
    return digest.hexdigest()


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
