"""The sampler that draws a request: in waves where the trunk can, else row by row."""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pixeltui.core import kept
from pixeltui.core.by_row import RowSampler
from pixeltui.core.by_wave import WaveSampler
from pixeltui.core.cached import AnyHead, CachedSampler, Draw
from pixeltui.core.once import settings

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN
    from pixeltui.core.sampler import Request


def cached_sampler(
    model: "ConditionalPixelCNN", request: "Request", draw: Draw | None, dtype: torch.dtype | None
) -> CachedSampler[Any] | None:
    """None where the trunk offers neither `in_waves` nor `incremental`."""
    batch, _, height, width = request.images.shape
    records = kept.records(request.images.device)
    request = kept.padded(request, kept.size_for(batch)) if records else request
    copies = 2 if request.guided else 1
    repeated = copies * request.images.shape[0]
    dtype = dtype or next(model.trunk.parameters()).dtype
    wave = model.trunk.in_waves(request.labels, request.images.shape[0], width, copies, dtype)
    trunk = wave or model.trunk.incremental(request.labels, repeated, height, width, dtype)
    if trunk is None:
        return None
    head = model.head.incremental() or AnyHead(model.head)
    rest = head, request, model.levels, draw
    sampler: CachedSampler[Any] = RowSampler(trunk, *rest) if wave is None else WaveSampler(wave, *rest)
    if records:
        kind = (
            repeated,
            request.guided,
            request.temperature,
            request.top_p,
            request.guidance,
            request.any_known,
            dtype,
            sampler.gpu is None,
            None if wave is None else wave.recorded,
            settings(model.trunk),
            settings(model.head),
        )
        sampler = kept.take(model, (*kind, request.images.device), sampler)
        sampler.done = partial(kept.give_back, model, (*kind, request.images.device))
    sampler.batch = batch
    return sampler
