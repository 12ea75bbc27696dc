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

SCHEMA = 1
Side = Annotated[int, Meta(ge=1, le=256)]

Loaded = tuple[dict[str, Tensor], dict[str, Any]]
"""tensors by name, and the tree"""


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()}


def load_module(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies tensors into the module. Raises DamagedCheckpoint where names or shapes do not fit."""
    own = {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise DamagedCheckpoint(f"its {prefix} weights do not fit the run's model: {error}") from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"optimizer/{index}/{name}": t for index, own in state.items() for name, t in own.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Moments and step counts from the checkpoint; the hyper-parameters stay those of the config."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/", 2)
            state.setdefault(int(index), {})[key] = tensor
    whole = optimizer.state_dict()
    parameters = sum(len(group["params"]) for group in whole["param_groups"])
    if state and set(state) != set(range(parameters)):
        raise DamagedCheckpoint(f"it holds optimizer state of {len(state)} parameters, the model has {parameters}")
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


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


class _DataFacts(msgspec.Struct):
    name: str
    checksum: str
    classes: tuple[str, ...]
    image_shape: tuple[Side, Side, Side]
    levels: Annotated[int, Meta(ge=2, le=256)]


class _Tree(msgspec.Struct):
    """What `tree_of` makes, as far as it is relied on."""

    step: Annotated[int, Meta(ge=0)]
    config: Config
    progress: dict[str, float | None]
    scaler: dict[str, float]
    data: _DataFacts


def check_tree(tree: dict[str, Any]) -> Config:
    """The config in a checkpoint's tree. Raises DamagedCheckpoint where the tree is none that `tree_of` makes.

    Checksums guard against accidents; somebody else's file may hold anything under right ones.
    """
    try:
        return msgspec.convert(tree, _Tree).config
    except msgspec.ValidationError as error:
        raise DamagedCheckpoint(f"the checkpoint's description cannot be used: {printable(error)}") from None


def check_size(model: nn.Module, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Whether the tensors are the model's, which may be on the meta device: before memory is taken for it.

    Raises DamagedCheckpoint.
    """
    expected = {f"{prefix}/{name}": tensor.shape for name, tensor in model.state_dict().items()}
    own = {name: tensor.shape for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
    if own != expected:
        odd = sorted(name for name in own.keys() | expected.keys() if own.get(name) != expected.get(name))
        raise DamagedCheckpoint(f"its weights do not fit the model that it describes: {printable(odd[0])}")


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
