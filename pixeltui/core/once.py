"""What is made of a module's weights, once for as long as these are the same.

A version counter does not tell: fused optimizers and writes through `.data` or numpy pass it by, and a stale matrix
would draw from a model that is no longer there. So a copy of the weights is kept, and compared bit for bit.
"""

import weakref
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

T = TypeVar("T")
PLAIN = (bool, int, float, str, tuple)
"""themselves: a NamedTuple holds the draws of dropout's masks"""
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Made(NamedTuple):
    kind: Hashable
    weights: list[Tensor]
    result: Any


_made: "weakref.WeakKeyDictionary[nn.Module, Made]" = weakref.WeakKeyDictionary()
"""the newest of a module"""


def once(module: nn.Module, kind: Hashable, make: Callable[[], T]) -> T:
    """What `make` makes of the module's tensors and plain attributes: anew only where one has changed.

    The result must neither be written to nor name the module. On a device that records graphs, whose memory later
    weights are copied into, and where comparing would take as long as packing, always anew; so with parametrizations,
    which may compute a weight from anything.
    """
    parts = [*module.modules()]
    if next(module.parameters()).device.type != "cpu" or any(map(is_parametrized, parts)):
        return make()
    weights = [*module.parameters(), *module.buffers()]
    weights += [one for part in parts for one in vars(part).values() if isinstance(one, Tensor)]
    kind = kind, settings(module)
    made = _made.get(module)
    if made is not None and made.kind == kind and _same(made.weights, weights):
        result: T = made.result
        return result
    copies = [one.detach().clone() for one in weights]
    result = make()
    _made[module] = Made(kind, copies, result)
    return result


def settings(module: nn.Module) -> Hashable:
    """Names, classes and plain attributes of a module and of those in it: what else than weights is read of them."""
    return tuple((name, type(part), _plain(part)) for name, part in module.named_modules(remove_duplicate=False))


def _plain(part: nn.Module) -> str:
    return repr({name: value for name, value in vars(part).items() if type(value) in PLAIN and name != "training"})


def _same(copies: list[Tensor], weights: list[Tensor]) -> bool:
    return len(copies) == len(weights) and all(map(_same_bits, copies, weights))


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.device != other.device or one.shape != other.shape:
        return False
    bits = BITS[one.element_size()]
    return torch.equal(one.view(bits), other.detach().view(bits))
