"""Everything that is found out about a checkpoint. Shapes: N images, M samples, uint8 [., C, H, W]; all on the CPU."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pixeltui.core import inspect
from pixeltui.core.inspect.layers import score_stream
from pixeltui.data import Split
from pixeltui.train.evaluate import diverged
from pixeltui.train.live import labels_in_turn
from pixeltui.train.load import LoadedModel

FIELD_IMAGES = 4
CHECKED = 4
"""images that the sampler is checked on"""
SAMPLES = 16

FUTURE = "changing the future, to see whether the past moves"
BESIDE = "the sampler beside the naive loop"

Progress = Callable[[str, float], None]
"""what is being done, and the share that is done"""


@dataclass(frozen=True)
class Findings:
    images: Tensor
    labels: Tensor | None
    """int64 [N]"""
    bits: Tensor
    """fp32 [N, C, H, W], of every sub-pixel"""
    layers: list[inspect.LayerStatistics]
    maps: list[inspect.FeatureMaps]
    """of the first image"""
    field: inspect.Field
    causality: inspect.Causality
    sampler: inspect.SamplerCheck
    samples: Tensor
    """drawn at temperature 1, without guidance, every class in turn"""
    sample_labels: list[int]
    sample_bits: Tensor
    """fp32 [M, C, H, W]"""
    seconds: float


def inspect_model(loaded: LoadedModel, split: Split, *, seed: int = 0, progress: Progress | None = None) -> Findings:
    """Of all images of the split. Raises UserError where the model gives no numbers."""
    began = time.perf_counter()
    tell = progress or (lambda text, share: None)
    model = loaded.model
    device = next(model.parameters()).device
    images = split.images.to(device)
    labels = split.labels.to(device) if split.labels is not None and model.num_classes else None
    few = None if labels is None else labels[:FIELD_IMAGES]

    scored = []
    with inspect.Recorder(model, len(images)) as recorder:
        for part in score_stream(model, images, labels):
            scored.append(part)
            tell(f"scoring {len(images)} images", 0.3 * sum(map(len, scored)) / len(images))
    bits = torch.cat(scored)
    if not bool(bits.isfinite().all()):
        raise diverged()
    tell("feature maps", 0.3)
    maps = inspect.feature_maps(model, images[0], None if labels is None else labels[0])
    tell("receptive field", 0.32)
    field = inspect.receptive_field(model, images[:FIELD_IMAGES], few)
    causality = inspect.check_causality(model, images, labels, progress=lambda share: tell(FUTURE, 0.4 + 0.25 * share))
    own = torch.tensor(labels_in_turn(model, CHECKED), device=device) if model.num_classes else None
    sampler = inspect.check_sampler(
        model, own, count=CHECKED, seed=seed, progress=lambda share: tell(BESIDE, 0.65 + 0.2 * share)
    )
    tell(f"drawing {SAMPLES} images", 0.85)
    in_turn = labels_in_turn(model, SAMPLES)
    own = torch.tensor(in_turn, device=device) if in_turn else None
    samples = model.sample(SAMPLES, own, seed=seed)
    sample_bits = inspect.score(model, samples, own)
    tell("done", 1.0)
    return Findings(
        images=images.cpu(),
        labels=None if labels is None else labels.cpu(),
        bits=bits,
        layers=recorder.statistics(),
        maps=maps,
        field=field,
        causality=causality,
        sampler=sampler,
        samples=samples.cpu(),
        sample_labels=in_turn,
        sample_bits=sample_bits,
        seconds=time.perf_counter() - began,
    )
