"""A model to give away: weights and config in one safetensors file, and a card that says what they are."""

import json
import math
import os
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pixeltui import __version__
from pixeltui.config import Config, Train, as_dict
from pixeltui.core import ConditionalPixelCNN
from pixeltui.errors import UserError, printable
from pixeltui.events import Evaluated
from pixeltui.store.files import open_regular, replacing, write_atomic
from pixeltui.store.header import DamagedCheckpoint
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import readable
from pixeltui.store.view import read_view
from pixeltui.train.load import LoadedModel, built, load_model
from pixeltui.train.state import DataFacts

CARD = """\
---
library_name: pixeltui
pipeline_tag: unconditional-image-generation
tags: [pixelcnn, autoregressive, likelihood]
---

# {run}

A PixelCNN of {parameters:,} parameters that draws and scores images of {height}x{width} pixels, {channels} channel(s)
and {levels} levels, trained on {data} with pixeltui {version}. {weights} weights of step {step:,}.

| | bits/dim | nats/dim | perplexity | images |
| --- | --- | --- | --- | --- |
{figures}

± one standard error over images. They compare with figures of the same images and levels only.

## Load, draw, score

With pixeltui installed:

```python
import torch
from pixeltui.train.export import load_exported
model, about = load_exported("{file}")
labels = {labels}
images = model.sample(batch_size=16, labels=labels, temperature=0.9, seed=0)
```

`model` is a `torch.nn.Module` in evaluation mode, on the CPU; `images` is uint8 [16, {channels}, {height}, {width}],
values from 0 to {top}; `-model.log_prob(images, labels).mean()` is their nats/dim. `about` has config, classes and
the data's checksum. Without pixeltui the file is plain safetensors: weights by name, and JSON in its metadata.

Classes, in the order of their labels: {names}.

## How it was trained

{facts}
"""


def export(
    run: RunDir, out: Path, *, checkpoint: str, weights: Literal["ema", "raw"], warn: Callable[[str], None]
) -> Path:
    """Writes the weights to `out` and the card beside it; returns the card's path. Raises UserError, OSError."""
    card = out.with_suffix(".md")
    if os.path.lexists(card) and not _is_card(card):
        raise UserError(f"{printable(card)} is there, and no model card of an export: choose another --out")
    loaded = load_model(run, checkpoint=checkpoint, weights=weights, device=torch.device("cpu"), warn=warn)
    config = as_dict(loaded.config)
    about = {
        "model": config["model"],
        "image_shape": loaded.data["image_shape"],
        "levels": loaded.data["levels"],
        "classes": list(loaded.classes),
        "step": loaded.step,
        "weights": loaded.weights,
        "data": {key: loaded.data[key] for key in ("name", "checksum")},
        "config": config,
    }
    tensors = {name: tensor.clone().contiguous() for name, tensor in loaded.model.state_dict().items()}
    try:
        with replacing(out) as temporary:
            save_file(tensors, temporary, {key: json.dumps(value) for key, value in about.items()})
    except SafetensorError as error:
        raise UserError(f"{printable(out)} could not be written: {error}") from None
    write_atomic(card, _card(run, loaded, out.name).encode(errors="replace"))
    return card


def load_exported(path: str | Path, device: str = "cpu") -> tuple[ConditionalPixelCNN, dict[str, Any]]:
    """The model of an exported file, in evaluation mode, and what the file says about it.

    about: config and its model table, image_shape (C, H, W), levels, classes, step, weights and data. Nothing in the
    file is executed. Raises UserError where it is no such file.
    """
    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            about = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            tensors = {f"model/{name}": file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        config = msgspec.convert(about["config"], Config)
        msgspec.convert({**about["data"], **about}, DataFacts)
        model = built(config, about, "model", tensors)
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, DamagedCheckpoint, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{printable(path)} is no model that pixeltui exported: {reason}") from None
    return model.to(device).eval(), about


def _card(run: RunDir, loaded: LoadedModel, file: str) -> str:
    channels, height, width = loaded.data["image_shape"]
    classes = len(loaded.classes) if loaded.model.num_classes else 0
    return CARD.format(
        run=_inert(run.name),
        version=__version__,
        data=_inert(loaded.data["name"]),
        channels=channels,
        height=height,
        width=width,
        levels=loaded.data["levels"],
        top=loaded.data["levels"] - 1,
        parameters=sum(p.numel() for p in loaded.model.parameters()),
        weights="EMA" if loaded.weights == "ema" else "Raw",
        step=loaded.step,
        figures="\n".join(_figures(run, loaded)),
        file=file,
        labels=f"torch.arange(16) % {classes}" if classes else "None",
        names=", ".join(map(_inert, loaded.classes)) or "none",
        facts="\n".join(f"- {name}: {_inert(value)}" for name, value in _facts(run, loaded).items()),
    )


def _inert(text: object) -> str:
    """Text of others in Markdown, which passes tags on to browsers."""
    return escape(printable(text), quote=False)


def _is_card(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            beginning = CARD[: CARD.index("pipeline_tag")].encode()  # so far all cards are alike
            return file.read(len(beginning)) == beginning
    except OSError:
        return False


def _figures(run: RunDir, loaded: LoadedModel) -> list[str]:
    """Rows of what was measured with these very weights."""
    view, _ = read_view(run.events_path)
    are_best = loaded.weights == "ema" and view.best is not None and view.best.step == loaded.step
    measured = [
        e
        for e in view.evaluations
        if e.weights == loaded.weights
        and (e.step == loaded.step if e.checkpoint is None else are_best and e.step >= loaded.step)
    ]
    newest = {e.split: e for e in measured if e.bits_per_dim is not None}
    rows = [_row(newest[split]) for split in ("train", "val", "test") if split in newest]
    return rows or ["| not measured with these weights | | | | |"]


def _row(e: Evaluated) -> str:
    bits_se = e.bits_per_dim_se
    bits = f"{e.bits_per_dim:.4f}" + ("" if bits_se is None else f" ± {bits_se:.4f}")
    nats = f"{e.nats_per_dim:.4f}" + ("" if bits_se is None else f" ± {bits_se * math.log(2):.4f}")
    name = {"train": "training", "val": "validation", "test": "test"}[e.split]
    return f"| {name} | {bits} | {nats} | {readable(e.perplexity, 3)} | {e.images:,} |"


def _optimizer(train: Train) -> str:
    if train.optimizer == "muon":
        return f"muon, learning rate {train.muon_lr:g}, beside adamw, {train.lr:g}"
    return f"{train.optimizer}, learning rate {train.lr:g}"


def _facts(run: RunDir, loaded: LoadedModel) -> dict[str, Any]:
    meta, train = run.meta(), loaded.config.train
    versions = ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items())
    facts = {
        "data": f"{loaded.data['name']}, sha-256 {loaded.data['checksum']}",
        "preset": loaded.config.preset,
        "command": meta.get("command"),
        "optimizer": f"{_optimizer(train)}, batch size {train.batch_size}, seed {train.seed}",
        "device": meta.get("device"),
        "versions": versions,
        "git commit": meta.get("git", {}).get("commit"),
        "note": meta.get("note"),
    }
    return {name: value for name, value in facts.items() if value}
