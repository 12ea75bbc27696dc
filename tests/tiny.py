"""A config so small that training takes no time."""

from pathlib import Path

import torch

TINY = (
    f"train.deterministic={str(torch.cuda.is_available()).lower()}",  # many tests compare runs bit for bit
    "model.architecture=two_stream",  # the default's, of which some tests know the parts
    "model.channels=8",
    "model.blocks=1",
    "model.first_kernel=3",
    "train.batch_size=16",
    "train.warmup_epochs=0",
    "sample.count=4",
    "sample.every=0",
    "sample.temperature=1.0",
    "sample.guidance=1.0",
    "log.every=1",
)


def tiny_arguments(tiny_npz: Path) -> list[str]:
    overrides = (f"data.name={tiny_npz}", *TINY)
    return ["--preset", "quick", *(word for override in overrides for word in ("--set", override))]
