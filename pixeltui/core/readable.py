"""Whether the weights of modules may be read in place of calling these: where nobody has put anything in between.

Hooks, wrappers and modules of other classes change what a call gives, and a reader of weights would pass them by.
Parametrizations do not: they compute a weight whenever it is read.
"""

import copy
from collections.abc import Iterator
from typing import TypeGuard, TypeVar

from torch import Tensor, nn
from torch.nn.modules import module as of_all
from torch.nn.utils.parametrize import is_parametrized

Part = TypeVar("Part", bound=nn.Module)
OF_TORCH = (nn.BatchNorm2d, nn.Conv2d, nn.Dropout, nn.Embedding, nn.Identity, nn.ModuleDict, nn.ModuleList)


def calls(module: nn.Module, kind: type[Part]) -> TypeGuard[Part]:
    """Whether a call of the module is one of this class's `forward` and nothing else."""
    return isinstance(module, kind) and type(module).forward is kind.forward and not _hooked(module)


def hooked(part: nn.Module) -> bool:
    """Whether a call of it or of a module in it is more than its class's `forward`."""
    return any(map(_hooked, _inside(part)))


def readable(part: nn.Module) -> bool:
    """Whether every module of it is of a class of pixeltui or of torch that is read, none hooked."""
    return all(_known(module) and not _hooked(module) for module in _inside(part))


def copied(part: Part) -> Part:
    """A deep copy in evaluation mode, with the same hooks, not copies, and with weights that a hook has computed, which
    torch does not copy."""
    memo: dict[int, object] = {}
    for module in part.modules():
        for name, value in vars(module).items():
            if name.endswith("_hooks") and value:
                memo.update((id(hook), hook) for hook in value.values())
            elif isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(part, memo).eval()


def _inside(part: nn.Module) -> Iterator[nn.Module]:
    yield part
    for name, child in part.named_children():
        if name != "parametrizations" or not is_parametrized(part):
            yield from _inside(child)


def _hooked(module: nn.Module) -> bool:
    everywhere = of_all._global_forward_hooks or of_all._global_forward_pre_hooks
    hooks = module._forward_hooks or module._forward_pre_hooks or everywhere
    return bool(hooks) or ("forward" in module.__dict__ and not _compiled(module))


def _known(module: nn.Module) -> bool:
    own = type(module).__bases__[0] if is_parametrized(module) else type(module)
    return own in OF_TORCH or own.__module__.partition(".")[0] == "pixeltui" or _compiled(module)


def _compiled(module: nn.Module) -> bool:
    """Whether it is what torch.compile makes of the module in it."""
    return "_orig_mod" in module._modules
