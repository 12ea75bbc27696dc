"""Activation checkpointing (Chen et al. 2016): a block's inputs are kept, what it makes of them is computed twice."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from pixeltui.core.dropout import Dropout


def recomputed(block: nn.Module, *inputs: Tensor | None) -> Any:
    """What block(*inputs) gives, bit for bit, gradients too; nothing inside of the block is kept for them.

    The second pass draws the same dropout and leaves running statistics alone, which the first has moved.
    """
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    # A compiler traces no contexts: it gets them only where they do something.
    contexts: dict[str, Any] = {"context_fn": lambda: (contextlib.nullcontext(), _still(norms))} if norms else {}
    # Masks of images with seeds lie in memory: no generator is asked, which torch before 2.10 cannot record.
    draws = any(isinstance(layer, Dropout) and layer.drops and layer.draws is None for layer in block.modules())
    return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=draws, **contexts)


@contextlib.contextmanager
def _still(norms: list[_BatchNorm]) -> Iterator[None]:
    """Within, these norms take the batch's statistics as in training, and their running ones stay as they are."""
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm, count in zip(norms, counts, strict=True):
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
