"""Samplers kept with the graphs that they have recorded, for later requests of the same kind and size.

Recording a row takes as long as drawing many. A later sampler's weights and empty buffers are copied into an earlier
one's, where its graph looks for them; batches are padded to a few sizes, so that there are few graphs.
"""

import weakref
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pixeltui.core.cached import CachedSampler
    from pixeltui.core.sampler import Request

MOST = 4
"""idle samplers of a model: each holds a copy of its weights"""
STEP = 64
"""images between two sizes of larger batches"""
SMALL = (1, 4, 32)
"""sizes below it: 16 images take four times as long as 32 by what cuBLAS chooses for their products (H200)"""

_idle: "weakref.WeakKeyDictionary[nn.Module, dict[Hashable, CachedSampler[Any]]]" = weakref.WeakKeyDictionary()


def records(device: torch.device) -> bool:
    """Whether samplers record graphs there, which are worth keeping."""
    return device.type == "cuda"


def size_for(batch: int) -> int:
    """1, 4, 32, 64, 128, 192, ..."""
    return next((size for size in SMALL if batch <= size), (batch + STEP - 1) // STEP * STEP)


def padded(request: "Request", size: int) -> "Request":
    """With images after the last, so that there are `size`."""
    more = size - request.images.shape[0]
    if not more:
        return request

    def longer(x: Tensor) -> Tensor:
        return torch.cat([x, x[-1:].expand(more, *x.shape[1:])])

    labels = request.labels
    if labels is not None:
        labels = torch.cat([longer(part) for part in labels.chunk(2 if request.guided else 1)])
    images, known, noise = longer(request.images), longer(request.known), longer(request.noise)
    return replace(request, images=images, known=known, noise=noise, labels=labels)


def take(model: nn.Module, kind: Hashable, fresh: "CachedSampler[Any]") -> "CachedSampler[Any]":
    """An idle sampler of this kind, made equal to a fresh one; the fresh one where there is none."""
    idle = _idle.get(model, {}).pop(kind, None)
    if idle is None:
        return fresh
    parts = [idle.trunk, idle.head, idle.gpu], [fresh.trunk, fresh.head, fresh.gpu]
    for old, new in zip(_tensors(*parts), _tensors(parts[1], parts[1]), strict=True):
        old.untyped_storage().copy_(new.untyped_storage())
    idle.request = fresh.request
    return idle


def give_back(model: nn.Module, kind: Hashable, sampler: "CachedSampler[Any]") -> None:
    """The newest of its kind is kept, and the newest kinds."""
    sampler.done = None  # it names the model, which is to go when nobody else needs it
    kinds = _idle.setdefault(model, {})
    kinds.pop(kind, None)
    kinds[kind] = sampler
    while len(kinds) > MOST:
        kinds.pop(next(iter(kinds)))


def _tensors(part: Any, like: Any) -> Iterator[Tensor]:
    """A tensor of every memory that `part` holds where `like` holds one, in the order of `like`."""
    seen: set[int] = set()

    def walk(part: Any, like: Any) -> Iterator[Tensor]:
        if isinstance(like, Tensor):
            if like.untyped_storage().data_ptr() not in seen:
                seen.add(like.untyped_storage().data_ptr())
                yield part
        elif isinstance(like, nn.Module):
            yield from walk(list(part.state_dict().values()), list(like.state_dict().values()))
        elif isinstance(like, list | tuple):
            for one, other in zip(part, like, strict=True):
                yield from walk(one, other)
        elif isinstance(like, dict):
            for key, other in like.items():
                yield from walk(part[key], other)
        elif type(like).__module__.startswith("pixeltui."):
            yield from walk(vars(part), vars(like))

    return walk(part, like)
