"""What a model's samples are like beside real images: patches, copies of training images, Fréchet distance.

Each figure has beside it the same one of held-out images, which is as good as samples can get.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pixeltui.data import DataSet, Split
from pixeltui.data.grid import grid_png
from pixeltui.train.frechet import frechet_distance
from pixeltui.train.nearest import Neighbours, nearest
from pixeltui.train.wasserstein import patch_distances

Progress = Callable[[int, int], None]
SUSPECT = 0.01
"""share of held-out images that lie nearer to a training image than what is called close"""
PAIRS_A_ROW = 4


class Copies(NamedTuple):
    """The training images nearest to samples and to held-out images."""

    samples: Neighbours
    held_out: Neighbours

    def figures(self) -> dict[str, float]:
        """Distances: root mean squared difference of sub-pixels, 1 being black against white."""
        own, real = (found.distances[:, 0] for found in self)
        close = float(real.quantile(SUSPECT))
        return {
            "samples_median": float(own.median()),
            "samples_least": float(own.min()),
            "held_out_median": float(real.median()),
            "held_out_least": float(real.min()),
            "close": close,
            "close_share": float((own <= close).double().mean()),
            "copies": int((own == 0).sum()),
            "held_out_copies": int((real == 0).sum()),
        }


def comparable(data: DataSet, split: str, count: int) -> tuple[Split, Split]:
    """As many held-out images of a split as training images, `count` or, where there are fewer, as many as there are.

    They are spread over their splits; samples are to have the labels of the held-out ones.
    """
    held_out = data.splits[split]
    count = min(count, len(held_out), len(data.train))
    return held_out.spread(count), data.train.spread(count)


def wasserstein(samples: Tensor, held_out: Tensor, train: Tensor, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Sliced Wasserstein distances to held-out images by size of the pyramid, of samples and of training images."""
    found = {}
    for name, images in (("samples", samples), ("train", train)):
        distances = patch_distances(images, held_out, seed=seed)
        found[name] = {**distances, "mean": sum(distances.values()) / len(distances)}
    return found


def copies(
    samples: Tensor, held_out: Tensor, data: DataSet, *, mirrored: bool, progress: Progress | None = None
) -> Copies:
    """mirrored: as training showed the images, see train.nearest."""
    both = torch.cat([samples, held_out])
    found = nearest(both, data.train.images, levels=data.levels, mirrored=mirrored, progress=progress)
    at = len(samples)
    first, second = (Neighbours(found.distances[part], found.indices[part]) for part in (slice(at), slice(at, None)))
    return Copies(first, second)


def copies_png(samples: Tensor, found: Neighbours, data: DataSet, *, most: int = 32) -> bytes:
    """Samples, each left of its nearest training image, the nearest pairs first, with their distance."""
    order = found.distances[:, 0].argsort()[:most]
    near = data.train.images[found.indices[order, 0]].cpu()
    pairs = torch.stack([samples[order.to(samples.device)].cpu(), near], dim=1).flatten(0, 1)
    names = [name for d in found.distances[order, 0].tolist() for name in ("sample", f"train {d:.3f}")]
    return grid_png(pairs, levels=data.levels, names=names, columns=2 * PAIRS_A_ROW)


def frechet(samples: Tensor, held_out: Tensor, data: DataSet) -> dict[str, float]:
    """Fréchet distances to the training images, of samples and of held-out images; after train.frechet.prepare."""
    return {
        name: frechet_distance(images, data.train.images, levels=data.levels)
        for name, images in (("samples", samples), ("held_out", held_out))
    }
