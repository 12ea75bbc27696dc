"""What of a config cannot be, though each value is in the range of its key: unknown names, values that do not fit."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pixeltui import registry, toml
from pixeltui.errors import did_you_mean
from pixeltui.events import LARGEST

if TYPE_CHECKING:
    from pixeltui.config import Config

ONE_STACK = ("depthwise", "single_stack")
"""architectures whose first kernel does not see the pixel itself"""
MOST: dict[str, int | float] = {
    "data.split_seed": 2**64 - 1,
    "model.channels": 8192,
    "model.blocks": 1000,
    "model.linear_skip": 8192,
    "model.mixtures": 1000,
    "train.epochs": 10**9,
    "train.steps": 10**15,
    "train.batch_size": 2**20,
    "train.lr": LARGEST,
    "train.muon_lr": LARGEST,
    "train.seed": 2**64 - 1,
    "train.eval_every": 10**15,
    "train.checkpoint_every": 10**15,
    "train.keep": 10**15,
    "sample.every": 10**15,
    "sample.count": 2**20,
    "sample.seed": 2**64 - 1,
    "log.every": 10**15,
}
"""by key: more than anybody means, and as much as torch, the log or memory holds; not in the types: older runs open"""
DEVICE = re.compile(r"auto|(cpu|cuda)(:\d{1,4})?")
PERIOD = re.compile(r"(\d{1,15}) ?(steps?|epochs?)")


def impossible(config: "Config") -> Iterator[tuple[str, str]]:
    """(key, why) of each."""
    model, train, data = config.model, config.train, config.data
    for key, name, valid in (
        ("model.architecture", model.architecture, registry.ARCHITECTURES),
        ("model.head", model.head, registry.HEADS),
        ("model.norm", model.norm, registry.NORMS),
        ("model.gate", model.gate, registry.GATES),
    ):
        if name not in valid:
            yield key, f"there is no {name!r}{did_you_mean(name, valid)}"
    if data.name not in registry.DATASETS and not _like_path(data.name):
        yield "data.name", f"no data set and no path {data.name!r}{did_you_mean(data.name, registry.DATASETS)}"
    for name in config.ui.keys:
        actions = registry.resolve(registry.ACTIONS)
        if name not in actions:
            yield f"ui.keys.{name}", f"there is no action {name!r}{did_you_mean(name, actions)}"
    if not DEVICE.fullmatch(train.device):
        yield "train.device", f"there is no {train.device!r}: expected auto, cpu, cuda or cuda:N"
    if data.levels == 1:
        yield "data.levels", "1 level holds no information: 2 to 256, or 0 to read it off the data"
    for key, size in (("model.kernel", model.kernel), ("model.first_kernel", model.first_kernel)):
        if size % 2 == 0 or size > 63:
            yield key, f"expected an odd number up to 63, got {size}"
    if model.architecture in ONE_STACK and model.first_kernel < 3:
        yield "model.first_kernel", f"of {model.architecture} a first kernel of 1 sees nothing: 3 or more"
    if beyond := [block for block in model.attention.after if block > model.blocks]:
        yield "model.attention.after", f"there is no block {beyond[0]}: model.blocks is {model.blocks}"
    if twice := [block for block, count in Counter(model.attention.after).items() if count > 1]:
        yield "model.attention.after", f"block {twice[0]} is named twice"
    if model.attention.after and model.channels % model.attention.heads:
        yield "model.attention.heads", f"{model.attention.heads} does not divide model.channels, {model.channels}"
    if not train.steps and not train.epochs:
        yield "train.epochs", "train.steps and train.epochs are both 0: nothing to train"
    if train.batch_size % train.accumulate:
        yield "train.accumulate", f"{train.accumulate} does not divide train.batch_size, {train.batch_size}"
    for key, period in (
        ("train.eval_every", train.eval_every),
        ("train.checkpoint_every", train.checkpoint_every),
        ("sample.every", config.sample.every),
    ):
        if isinstance(period, str) and not PERIOD.fullmatch(period):
            yield key, f'expected steps, as in 500, or "2 epochs"; got {period!r}'
    for key, number in toml.numbers(config):
        if isinstance(number, float) and not math.isfinite(number):
            yield key, f"expected a finite number, got {number}"
        elif key in MOST and number > MOST[key]:
            yield key, f"expected at most {MOST[key]}, got {number}"


def _like_path(name: str) -> bool:
    try:
        return any(mark in name for mark in "/\\~.") or (name != "" and Path(name).exists())
    except OSError:  # it is too long for one
        return False
