"""Drawing on demand, for the commands and the console: images of a checkpoint, sweeps of temperatures, completions."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pixeltui.data.grid import write_samples
from pixeltui.errors import UsageError, UserError, printable
from pixeltui.store.files import own_folder
from pixeltui.store.rundir import RunDir
from pixeltui.train.evaluate import diverged
from pixeltui.train.live import labels_in_turn
from pixeltui.train.load import LoadedModel, class_labels
from pixeltui.train.precision import DTYPES

PLAIN: Final = 1e3
"""a weight below which sums stay far within what fp32 holds"""
CHUNK: Final = 256
"""images drawn at once: more take memory, and little less time"""


@dataclass(frozen=True)
class Plan:
    """What is to be drawn: `count` images a temperature, with the same noise at each."""

    count: int
    labels: list[int]
    """of the `count` images; none for unconditional ones"""
    temperatures: tuple[float, ...]
    top_p: float
    guidance: float
    seed: int
    given: Tensor | None = None
    """uint8 [count, C, H, W], of which the levels are kept where `known`, bool [H, W]"""
    known: Tensor | None = None
    precision: str = "fp32"
    """a name of DTYPES; with another than fp32 the images are not exactly the model's"""

    def all_labels(self) -> list[int]:
        """Of all images, temperature by temperature."""
        return self.labels * len(self.temperatures)

    def names(self, classes: Sequence[str]) -> list[str]:
        """Of all images: "cat"; of a sweep "T0.7 cat", or "T0.7" without labels."""
        names = [str(classes[label]) for label in self.all_labels()]
        if len(self.temperatures) == 1:
            return names
        temperatures = [f"T{temperature:g}" for temperature in self.temperatures for _ in range(self.count)]
        return [f"{t} {name}" for t, name in zip(temperatures, names, strict=True)] if names else temperatures

    def settings(self, loaded: LoadedModel) -> dict[str, Any]:
        """What produces the same images again."""
        several = len(self.temperatures) > 1
        temperature = {"temperatures": list(self.temperatures)} if several else {"temperature": self.temperatures[0]}
        return {
            "checkpoint": loaded.checkpoint,
            "step": loaded.step,
            "weights": loaded.weights,
            "count": self.count * len(self.temperatures),
            "labels": self.all_labels(),
            **temperature,
            "top_p": self.top_p,
            "guidance": self.guidance,
            "seed": self.seed,
            "precision": self.precision,
        }


def make_plan(
    loaded: LoadedModel,
    *,
    count: int | None = None,
    label: str | None = None,
    temperatures: Sequence[float] = (),
    top_p: float | None = None,
    guidance: float | None = None,
    seed: int | None = None,
    precision: str = "fp32",
) -> Plan:
    """Left out: the run's own [sample] config. label: "cat,dog" or "3,5", in turn; None: every class.

    Raises UserError for a class that there is not, UsageError for labels where the model knows none.
    """
    config = loaded.config.sample
    chosen = chosen_labels(loaded, label)
    count = count or (max(len(chosen), config.count) if chosen else config.count)
    return Plan(
        count=count,
        labels=labels_in_turn(loaded.model, count, chosen),
        temperatures=tuple(temperatures) or (config.temperature,),
        top_p=config.top_p if top_p is None else top_p,
        guidance=config.guidance if guidance is None else guidance,
        seed=config.seed if seed is None else seed,
        precision=precision,
    )


def completion_plan(
    loaded: LoadedModel, originals: Tensor, own: Sequence[int | None], known: Tensor, each: int, **options: Any
) -> Plan:
    """`each` completions of every image, uint8 [N, C, H, W], kept where `known`; options: as for `make_plan`.

    Without a `label` an image has its own class, where that is known; else none, where the model was trained to do
    without (label dropout), or every class in turn.
    """
    plan = make_plan(loaded, count=len(originals) * each, **options)
    labels = plan.labels
    if options.get("label"):
        labels = labels_in_turn(loaded.model, each, chosen_labels(loaded, options["label"])) * len(originals)
    elif loaded.model.num_classes and all(label is not None for label in own):
        labels = [label for label in own if label is not None for _ in range(each)]
    elif loaded.model.label_dropout > 0:
        labels = []
    given = originals.repeat_interleave(each, dim=0)
    return replace(plan, labels=labels, given=given, known=known)


def chosen_labels(loaded: LoadedModel, label: str | None) -> list[int]:
    """Of "cat,dog"; none for None. Raises as `make_plan`."""
    if label is None:
        return []
    labels = class_labels(label, loaded.classes)
    if not loaded.model.num_classes:
        raise UsageError("--label: the model is unconditional (model.conditional = false)")
    return labels


def draw(loaded: LoadedModel, plan: Plan) -> Iterator[tuple[Tensor, int, int]]:
    """Yields (images so far, rows done, rows in all) after each row: uint8 [temperatures x count, C, H, W] on the CPU,
    all temperatures of a row at the same time. Raises UserError where the model gives no numbers."""
    model, count = loaded.model, plan.count
    height = model.image_shape[1]
    device = next(model.parameters()).device
    _check_finite(loaded, plan, device)
    images = torch.zeros(len(plan.temperatures), count, *model.image_shape, dtype=torch.uint8)
    chunks = range(0, count, CHUNK)
    for number, start in enumerate(chunks):
        part = slice(start, min(start + CHUNK, count))
        streams = [
            model.sample_stream(
                part.stop - start,
                labels=torch.tensor(plan.labels[part], device=device) if plan.labels else None,
                temperature=temperature,
                top_p=plan.top_p,
                guidance=plan.guidance,
                seed=plan.seed,
                given=None if plan.given is None else plan.given[part].to(device),
                known=None if plan.known is None else plan.known.to(device),
                first_index=start,
                dtype=None if plan.precision == "fp32" else DTYPES[plan.precision],
            )
            for temperature in plan.temperatures
        ]
        for rows in zip(*streams, strict=True):
            for one, (partial, _) in zip(images, rows, strict=True):
                one[part] = partial.cpu()
            yield images.flatten(0, 1), number * height + rows[0][1], len(chunks) * height


@torch.no_grad()
def _check_finite(loaded: LoadedModel, plan: Plan, device: torch.device) -> None:
    """Whether an image has a likelihood, where weights are so large that it may have none: levels would be drawn all
    the same, of no distribution."""
    largest = torch.stack(torch._foreach_norm([*loaded.model.parameters()], torch.inf)).max()
    if largest < PLAIN:
        return
    image = torch.zeros(1, *loaded.model.image_shape, dtype=torch.uint8) if plan.given is None else plan.given[:1]
    label = torch.tensor(plan.labels[:1], device=device) if plan.labels else None
    if not bool(loaded.model.log_prob(image.to(device), label).isfinite().all()):
        raise diverged()


def masked(images: Tensor, known: Tensor, levels: int) -> Tensor:
    """uint8 [N, C, H, W] to look at, a dim chequerboard where the pixels are not `known`, bool [H, W]."""
    height, width = known.shape
    odd = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    return torch.where(known, images, ((1 + odd) * (levels - 1) // 5).to(torch.uint8))


def keep(
    run: RunDir, images: Tensor, *, levels: int, names: Sequence[str], columns: int | None, settings: dict[str, Any]
) -> Path:
    """Writes a sheet of images uint8 [N, C, H, W], and `settings`, which produced them, into the run's samples/.

    Console and report show what is there. Raises UserError.
    """
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    path = run.samples_dir / f"drawn-{stamp}.png"
    while path.exists():
        number += 1
        path = run.samples_dir / f"drawn-{stamp}-{number}.png"
    settings = {"run": run.name, **settings, "names": list(names), "count": len(images)}
    try:
        own_folder(run.samples_dir).mkdir(exist_ok=True)
        write_samples(path, images, levels=levels, names=names, columns=columns, settings=settings)
    except OSError as error:
        raise UserError(f"{printable(path)} could not be written: {error.strerror or error}") from None
    return path
