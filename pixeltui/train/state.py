"""The whole state of a training run as named tensors and a JSON tree, and back.

tensors: model/NAME, ema/NAME, optimizer/INDEX/NAME, metrics/NAME; the tree: everything else.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from pixeltui.config import Config
from pixeltui.data import DataSet
from pixeltui.errors import printable
from pixeltui.store.header import DamagedCheckpoint
from pixeltui.train.optim import moments_of

SCHEMA = 1
Side = Annotated[int, Meta(ge=1, le=256)]
Place = Annotated[int, Meta(ge=-1)]

Loaded = tuple[dict[str, Tensor], dict[str, Any]]
"""tensors by name, and the tree"""


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()}


def load_module(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies tensors into the module. Raises DamagedCheckpoint where names, shapes or types do not fit."""
    check_tensors(prefix, module_tensors(prefix, module), tensors)
    module.load_state_dict({name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if _under(prefix, name)})


def check_tensors(prefix: str, expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Whether those under the prefix are what is expected there, values apart. Raises DamagedCheckpoint."""
    own, known = _outline(prefix, tensors), _outline(prefix, expected)
    odd = sorted(name for name in own.keys() | known.keys() if own.get(name) != known.get(name))
    if odd:
        raise DamagedCheckpoint(f"its {prefix} does not fit the model: {printable(odd[0])}")


def _outline(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items() if _under(prefix, name)}


def _under(prefix: str, name: str) -> bool:
    return name.startswith(f"{prefix}/")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer/{index}/{name}": t for index, own in state.items() for name, t in own.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Moments and step counts from the checkpoint; the hyper-parameters stay those of the config."""
    check_optimizer(optimizer, tensors)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if _under("optimizer", name):
            _, index, key = name.split("/", 2)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def check_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Whether the state is that of each of its parameters, or of none yet. Raises DamagedCheckpoint."""
    expected = {}
    for index, (parameter, moments) in enumerate(moments_of(optimizer)):
        expected[f"optimizer/{index}/step"] = torch.zeros(())
        expected |= {f"optimizer/{index}/{name}": parameter for name in moments}
    if any(_under("optimizer", name) for name in tensors):
        check_tensors("optimizer", expected, tensors)


class Means:
    """Running means on the device, so that no step waits for a number to arrive on the CPU."""

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._names = names
        self._sums = torch.zeros(len(names), 2, dtype=torch.float64, device=device)

    def add(self, values: Tensor, weight: Tensor) -> None:
        """values [len(names)], which count where weight [] is not 0."""
        values = torch.where(weight > 0, values.double(), 0.0)
        self._sums += torch.stack([values * weight, weight.double().expand_as(values)], dim=1)

    def take(self) -> dict[str, float | None]:
        """The means since the last call; None where nothing counted. Waits for the device."""
        rows: list[list[float]] = self._sums.tolist()
        self._sums.zero_()
        return {name: total / n if n else None for name, (total, n) in zip(self._names, rows, strict=True)}

    @property
    def state(self) -> Tensor:
        return self._sums

    def load(self, state: Tensor) -> None:
        self._sums.copy_(state)


@dataclass
class Progress:
    """What the loop must remember beside tensors. `..._at`: the last step at which that was done, -1 for never."""

    lr: float
    """peak of the schedule"""
    step: int = 0
    epoch_at: int = 0
    evaluated_at: int = -1
    sampled_at: int = -1
    saved_at: int = -1
    best_step: int = -1
    best_bits_per_dim: float = math.inf

    def dump(self) -> dict[str, Any]:
        """For JSON, which has no infinity."""
        return {name: None if value == math.inf else value for name, value in vars(self).items()}

    def take(self, tree: Mapping[str, Any]) -> None:
        """Becomes what was dumped; what is not known is passed over."""
        for field in dataclasses.fields(self):
            if field.name in tree:
                value = tree[field.name]
                setattr(self, field.name, math.inf if value is None else value)


class _Progress(msgspec.Struct):
    """What `Progress` dumps; an older version knew less."""

    lr: Annotated[float, Meta(ge=0)]
    step: Annotated[int, Meta(ge=0)]
    epoch_at: Annotated[int, Meta(ge=0)] = 0
    evaluated_at: Place = -1
    sampled_at: Place = -1
    saved_at: Place = -1
    best_step: Place = -1
    best_bits_per_dim: float | None = None


class DataFacts(msgspec.Struct):
    """What a checkpoint or an exported model says of the data that it was trained on."""

    name: str
    checksum: str
    classes: tuple[str, ...]
    image_shape: tuple[Side, Side, Side]
    levels: Annotated[int, Meta(ge=2, le=256)]


class _Tree(msgspec.Struct):
    """What `tree_of` makes, as far as it is relied on."""

    step: Annotated[int, Meta(ge=0)]
    config: Config
    progress: _Progress
    scaler: dict[str, float]
    data: DataFacts


def check_tree(tree: dict[str, Any]) -> Config:
    """The config in a checkpoint's tree. Raises DamagedCheckpoint where the tree is none that `tree_of` makes.

    Checksums guard against accidents; somebody else's file may hold anything under right ones.
    """
    try:
        return msgspec.convert(tree, _Tree).config
    except msgspec.ValidationError as error:
        raise DamagedCheckpoint(f"its description cannot be used: {printable(error)}") from None


def tree_of(config: dict[str, Any], progress: Progress, data: DataSet, scaler: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "step": progress.step,
        "config": config,
        "progress": progress.dump(),
        "scaler": scaler,
        "data": {
            "name": data.name,
            "checksum": data.checksum,
            "classes": list(data.classes),
            "image_shape": list(data.image_shape),
            "levels": data.levels,
        },
    }
