"""A model out of a run's checkpoint, ready to sample and to score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import torch

from pixeltui.config import Config
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.data import DataSet
from pixeltui.errors import UserError, did_you_mean, printable
from pixeltui.store.header import DamagedCheckpoint
from pixeltui.store.rundir import RunDir
from pixeltui.train import state
from pixeltui.train.checkpoint import named
from pixeltui.train.checkpoint_store import CheckpointStore

HARMLESS = 100_000_000
"""parameters that no checkpoint has to vouch for"""


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, and where its weights come from."""

    model: ConditionalPixelCNN
    config: Config
    step: int
    checkpoint: str
    """file name"""
    weights: Literal["ema", "raw"]
    classes: tuple[str, ...]
    data: dict[str, Any]
    """name, checksum, classes, image_shape and levels of the data that it was trained on"""

    def check(self, data: DataSet) -> None:
        """Raises UserError where the images of the run's data are no longer such as it was trained on."""
        came, trained = (list(data.image_shape), data.levels), (self.data["image_shape"], self.data["levels"])
        if came != trained:
            expected, got = (f"{'x'.join(map(str, shape))} with {levels} levels" for shape, levels in (trained, came))
            raise UserError(
                f"{printable(data.name)} is no longer what the run was trained on: the model expects images of "
                f"{expected}, got {got} (channels x height x width)"
            )


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
    with named(path):
        config = _where_data_are_now(run, state.check_tree(tree))
    data = tree["data"]
    try:
        with named(path):
            model = built(config, data, "model" if weights == "raw" else "ema", tensors)
    except ValueError as error:
        raise UserError(
            f"{printable(path)}: no model can be built of its config: {printable(error)}; a part of your own has to be "
            "registered first, see examples/own_head.py"
        ) from None
    model.to(device).eval()
    return LoadedModel(model, config, tree["step"], path.name, weights, tuple(map(printable, data["classes"])), data)


def built(
    config: Config, data: Mapping[str, Any], prefix: str, tensors: Mapping[str, torch.Tensor]
) -> ConditionalPixelCNN:
    """The model of the tensors under a prefix, on the CPU; data: its image_shape, levels and classes, checked.

    Takes no memory for what the tensors do not vouch for. Raises DamagedCheckpoint where they are not the model's,
    ValueError where no model can be built of its config.
    """
    if _largest_size(config, data) > max(HARMLESS, 64 * sum(tensor.numel() for tensor in tensors.values())):
        _check_outline(config, data, prefix, tensors)
    model = _of(config, data)
    state.load_module(prefix, model, tensors)
    return model


def _of(config: Config, data: Mapping[str, Any]) -> ConditionalPixelCNN:
    return build_model(config, tuple(data["image_shape"]), data["levels"], len(data["classes"]))


def _where_data_are_now(run: RunDir, config: Config) -> Config:
    """The config, with the place of the data as the run has it by now: they may have been moved since."""
    try:
        data = run.config(resumed=True).data
    except UserError:
        return config
    return msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, name=data.name, root=data.root))


def _largest_size(config: Config, data: Mapping[str, Any]) -> int:
    """Parameters that a model of this config has at most."""
    model = config.model
    blocks = 16 * (model.blocks + 4) * model.channels * (model.channels * model.kernel**2 + len(data["classes"]))
    ends = model.channels * (model.first_kernel**2 + 4096 + 64 * model.mixtures)
    return blocks + 16 * ends


def _check_outline(config: Config, data: Mapping[str, Any], prefix: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Whether the tensors are the model's, before memory is taken for it: a stranger's config may claim any size.

    Costs more than a second of imports, which is why models of common sizes go without. Raises DamagedCheckpoint.
    """
    try:
        if config.model.blocks > len(tensors):
            raise ValueError(f"{config.model.blocks} blocks in {len(tensors)} tensors")
        with torch.device("meta"):
            outline = _of(config, data)
        state.check_tensors(prefix, state.module_tensors(prefix, outline), tensors)
    except (ValueError, RuntimeError, UserError) as error:
        raise DamagedCheckpoint(f"it describes a model that cannot be: {printable(error)}") from None


def class_labels(wanted: str, classes: tuple[str, ...]) -> list[int]:
    """Label numbers of "cat,dog" or "3,5"; UserError with the nearest names for an unknown one."""
    if not classes:
        raise UserError("the run's data has no labels: leave --label out")
    whole = _class_label(wanted, classes)
    if whole is not None:
        return [whole]
    labels = []
    for part in map(str.strip, wanted.split(",")):
        label = _class_label(part, classes)
        if label is None:
            near = f"; there are 0 to {len(classes) - 1}" if part.isdecimal() else did_you_mean(part[:80], classes)
            raise UserError(f"no class {printable(part)[:80]!r}{near}")
        labels.append(label)
    return labels


def _class_label(name: str, classes: tuple[str, ...]) -> int | None:
    """Of the class of this name, else of the only one where case is passed over, else of a number."""
    if name in classes:
        return classes.index(name)
    alike = [index for index, other in enumerate(classes) if other.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    number = name.lstrip("0") or "0"
    if name.isdecimal() and len(number) <= len(str(len(classes))) and int(number) < len(classes):
        return int(number)
    return None
