"""A model out of a run's checkpoint, ready to sample and to score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import torch

from pixeltui.config import Config
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.errors import UserError, did_you_mean
from pixeltui.store.header import DamagedCheckpoint
from pixeltui.store.rundir import RunDir
from pixeltui.train import state
from pixeltui.train.checkpoint import CheckpointStore


@dataclass(frozen=True)
class LoadedModel:
    model: ConditionalPixelCNN
    config: Config
    step: int
    checkpoint: str
    """file name"""
    weights: Literal["ema", "raw"]
    classes: tuple[str, ...]
    data: dict[str, Any]
    """name, checksum, classes, image_shape and levels of the data that it was trained on"""


def load_model(
    run: RunDir,
    *,
    checkpoint: str = "best",
    weights: Literal["ema", "raw"] = "ema",
    device: torch.device,
    warn: Callable[[str], None],
) -> LoadedModel:
    """The model of a checkpoint "best", "last" or a step, in evaluation mode on `device`.

    A damaged "best" or "last" is passed over for the newest one that is whole, and `warn` told. Raises UserError where
    there is none, DamagedCheckpoint where it cannot be trusted.
    """
    path, (tensors, tree) = CheckpointStore(run, on_damaged=warn).read(checkpoint)
    data = tree["data"]
    try:
        config = msgspec.convert(tree["config"], Config)
    except msgspec.ValidationError as error:
        raise DamagedCheckpoint(f"{path}: its config cannot be read: {error}") from None
    model = build_model(config, tuple(data["image_shape"]), data["levels"], len(data["classes"]))
    state.load_module("model" if weights == "raw" else "ema", model, tensors)
    model.to(device).eval()
    return LoadedModel(model, config, tree["step"], path.name, weights, tuple(data["classes"]), data)


def class_labels(wanted: str, classes: tuple[str, ...]) -> list[int]:
    """Label numbers of "cat,dog" or "3,5"; UserError with the nearest names for an unknown one."""
    if not classes:
        raise UserError("the run's data has no labels: leave --label out")
    by_name = {name.lower(): index for index, name in enumerate(classes)}
    labels = []
    for part in (part.strip() for part in wanted.split(",")):
        if part.lower() in by_name:
            labels.append(by_name[part.lower()])
        elif part.isdecimal() and int(part) < len(classes):
            labels.append(int(part))
        else:
            raise UserError(f"no class {part!r}{did_you_mean(part, classes)}")
    return labels
