"""Splits that a source lacks, cut from its training images deterministically."""

import numpy as np
from numpy.typing import NDArray

from pixeltui.data.randomness import permutation
from pixeltui.data.sets import Arrays, Source
from pixeltui.errors import UserError

VAL_SHARE = 0.1
TEST_SHARE = 0.1


def cut(n: int, split_seed: int, *, val: bool, test: bool) -> dict[str, NDArray[np.int64]]:
    """Indices of 0..n-1 for "train" and the splits that are wanted: disjoint, covering, each in ascending order.

    A wanted split has round(n * share) images and at least one; `test` is the beginning of the permutation, `val` what
    follows. ValueError where n is less than the number of splits.
    """
    sizes = {
        "test": max(1, round(n * TEST_SHARE)) if test else 0,
        "val": max(1, round(n * VAL_SHARE)) if val else 0,
    }
    if n < 1 + sum(size > 0 for size in sizes.values()):
        raise ValueError(f"{n} images cannot be cut into {1 + val + test} splits")
    order = permutation(n, split_seed, "split")
    parts, start = {}, 0
    for name, size in sizes.items():
        if size:
            parts[name] = np.sort(order[start : start + size])
        start += size
    return {"train": np.sort(order[start:]), **parts}


def complete(source: Source, split_seed: int, *, scored: bool = False) -> dict[str, Arrays]:
    """The source's splits, those that it lacks cut from its training images.

    scored: nothing is trained, so that of too few images to cut all are in each split.
    """
    given = {"train": source.train, "val": source.val, "test": source.test}
    lacking = {name: given[name] is None for name in ("val", "test")}
    if any(lacking.values()) and source.train is not None:
        n = len(source.train.images)
        try:
            parts = cut(n, split_seed, **lacking)
        except ValueError:
            wanted = " and ".join(name for name, lacks in lacking.items() if lacks)
            if scored:
                return {name: arrays or source.train for name, arrays in given.items()}
            raise UserError(
                f"{source.where}: {n} image{'s' * (n != 1)} to train on, too few to cut {wanted} from; add images"
            ) from None
        given |= {name: _take(source.train, indices) for name, indices in parts.items()}
    return {name: arrays for name, arrays in given.items() if arrays is not None}


def _take(arrays: Arrays, indices: NDArray[np.int64]) -> Arrays:
    return Arrays(arrays.images[indices], None if arrays.labels is None else arrays.labels[indices])
