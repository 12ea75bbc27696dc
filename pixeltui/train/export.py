"""A model to give away: weights and config in one safetensors file, and a card that says what they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from pixeltui import __version__
from pixeltui.config import as_dict
from pixeltui.errors import UserError, printable
from pixeltui.store.files import replacing, write_atomic
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import summarize
from pixeltui.train.load import LoadedModel, load_model

CARD = """\
# {run}

A PixelCNN trained with pixeltui {version} on {data}: images of {height}x{width} pixels, {channels} channels,
{levels} levels, {classes} classes. {parameters:,} parameters, {weights} weights of step {step}.

| | bits/dim |
| --- | --- |
| validation, best | {val} |
| test | {test} |

```python
import json, msgspec, safetensors.torch as st, safetensors
from pixeltui.config import Model
from pixeltui.core import build_model
about = {{k: json.loads(v) for k, v in safetensors.safe_open("{file}", "pt").metadata().items()}}
config = msgspec.convert(about["model"], Model)
model = build_model(config, about["image_shape"], about["levels"], len(about["classes"]))
model.load_state_dict(st.load_file("{file}"))
images = model.eval().sample(batch_size=16)  # uint8 [16, {channels}, {height}, {width}]
```

Classes: {names}
"""


def export(
    run: RunDir, out: Path, *, checkpoint: str, weights: Literal["ema", "raw"], warn: Callable[[str], None]
) -> Path:
    """Writes the weights to `out` and the card beside it; returns the card's path. Raises UserError, OSError."""
    loaded = load_model(run, checkpoint=checkpoint, weights=weights, device=torch.device("cpu"), warn=warn)
    about = {
        "model": as_dict(loaded.config)["model"],
        "image_shape": loaded.data["image_shape"],
        "levels": loaded.data["levels"],
        "classes": list(loaded.classes),
        "step": loaded.step,
    }
    tensors = {name: tensor.clone().contiguous() for name, tensor in loaded.model.state_dict().items()}
    try:
        with replacing(out) as temporary:
            save_file(tensors, temporary, {key: json.dumps(value) for key, value in about.items()})
    except SafetensorError as error:
        raise UserError(f"{printable(out)} could not be written: {error}") from None
    card = out.with_suffix(".md")
    write_atomic(card, CARD.format(**_facts(run, loaded), file=out.name).encode())
    return card


def _facts(run: RunDir, loaded: LoadedModel) -> dict[str, Any]:
    summary = summarize(run.path)
    channels, height, width = loaded.data["image_shape"]

    def bits(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.4f}"

    return {
        "run": run.name,
        "version": __version__,
        "data": loaded.data["name"],
        "channels": channels,
        "height": height,
        "width": width,
        "levels": loaded.data["levels"],
        "classes": len(loaded.classes),
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "weights": "EMA" if loaded.weights == "ema" else "raw",
        "step": loaded.step,
        "val": bits(summary.best_val_bits_per_dim),
        "test": bits(summary.test_bits_per_dim),
        "names": ", ".join(loaded.classes) or "none",
    }
