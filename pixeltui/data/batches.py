"""Which images a step takes: pure functions of (seed, step)."""

from functools import lru_cache

import torch
from torch import Tensor

from pixeltui.data.randomness import mix, permutation


def step_generator(seed: int, stream: str, step: int) -> torch.Generator:
    """A generator on the CPU whose numbers depend on (seed, stream, step) alone; see `pixeltui.data.randomness.mix`."""
    return torch.Generator().manual_seed(mix(seed, stream, step))


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches of n images: the incomplete last one is dropped, unless it is the only one."""
    _check(n, batch_size)
    return max(1, n // batch_size)


def batch_indices(n: int, batch_size: int, seed: int, step: int) -> Tensor:
    """int64 [min(n, batch_size)]: the images of a step, counted from 0 over all epochs."""
    epoch, batch = divmod(step, steps_per_epoch(n, batch_size))
    return _order(n, seed, epoch)[batch * batch_size : (batch + 1) * batch_size].clone()


@lru_cache(maxsize=4)
def _order(n: int, seed: int, epoch: int) -> Tensor:
    return torch.from_numpy(permutation(n, seed, "order", epoch))


def _check(n: int, batch_size: int) -> None:
    if n < 1 or batch_size < 1:
        raise ValueError(f"expected at least one image and a batch size of at least 1, got {n} and {batch_size}")
