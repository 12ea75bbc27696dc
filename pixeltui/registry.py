"""Every name that a config may use for a part, and the class or function behind it.

To add a part: write its file, add its line here. Nothing is imported until it is built, so that a config is checked
without torch.
"""

import importlib
from typing import Any

# model.architecture: nn.Module classes, trunks from images to features (pixeltui.core.parts)
ARCHITECTURES = {
    "depthwise": "pixeltui.core.depthwise:DepthwiseStack",
    "single_stack": "pixeltui.core.single_stack:SingleStack",
    "two_stream": "pixeltui.core.two_stream:TwoStream",
}

# model.head: nn.Module classes, heads from features to a distribution over levels (pixeltui.core.parts)
HEADS = {
    "categorical": "pixeltui.core.heads.categorical:CategoricalHead",
    "dmol": "pixeltui.core.heads.dmol:LogisticMixtureHead",
}

# model.norm: nn.Module classes that take the number of channels
NORMS = {
    "batch": "torch.nn:BatchNorm2d",
    "layer": "pixeltui.core.layers:LayerNorm",
    "rms": "pixeltui.core.layers:RMSNorm",
    "none": "torch.nn:Identity",
}

# model.gate: functions of features [B, n D, H, W], n being 1 or 2, to [B, D, H, W]
GATES = {
    "none": "pixeltui.core.layers:silu",
    "silu": "pixeltui.core.layers:silu_gate",
    "tanh": "pixeltui.core.fused:tanh_gate",
}

# data.name: functions from the [data] config to a pixeltui.data.Source; a path to a folder or .npz needs no name
DATASETS = {
    "digits": "pixeltui.data.digits:load",
    "cifar10": "pixeltui.data.torchvision_sets:cifar10",
    "cifar100": "pixeltui.data.torchvision_sets:cifar100",
    "mnist": "pixeltui.data.torchvision_sets:mnist",
    "fashion_mnist": "pixeltui.data.torchvision_sets:fashion_mnist",
    "svhn": "pixeltui.data.torchvision_sets:svhn",
}

# ui.keys: the names of actions
ACTIONS = "pixeltui.ui.key_table:IDS"


def part(names: dict[str, str], name: str, kind: str) -> Any:
    """What one of the tables above has by a name. Raises ValueError, which lists the names that there are."""
    if name not in names:
        raise ValueError(f"expected {kind} to be one of {', '.join(names)}, got {name!r}")
    return resolve(names[name])


def resolve(target: str) -> Any:
    """The object at "package.module:name"."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
