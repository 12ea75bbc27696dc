"""Samples while training: a generator on a copy of the EMA weights, advanced between steps."""

import copy
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pixeltui.config import Sample
from pixeltui.core import ConditionalPixelCNN
from pixeltui.events import DrawSample


def labels_in_turn(model: ConditionalPixelCNN, count: int, chosen: Sequence[int] | None = None) -> list[int]:
    """`count` labels: the chosen ones, else every class, in turn; none where the model knows no classes."""
    options = chosen or range(model.num_classes)
    return [options[i % len(options)] for i in range(count)] if options else []


class LiveSample:
    """Images being drawn from the weights as they were at `step`. Training's random numbers are not touched."""

    def __init__(self, model: ConditionalPixelCNN, sample: Sample, wish: DrawSample, *, step: int) -> None:
        weights = copy.deepcopy(model)
        count = wish.count or sample.count
        temperature = wish.temperature or sample.temperature
        self.step = step
        self.labels = labels_in_turn(weights, count, wish.labels)
        self.images = torch.zeros(count, *weights.image_shape, dtype=torch.uint8)
        self.rows_done = 0
        self.done = False
        self.seconds = 0.0
        self.settings = {
            "step": step,
            "weights": "ema",
            "count": count,
            "labels": self.labels,
            "temperature": temperature,
            "top_p": sample.top_p,
            "guidance": sample.guidance,
            "seed": sample.seed,
        }
        device = next(weights.parameters()).device
        self._rows: Iterator[tuple[Tensor, int]] = weights.sample_stream(
            count,
            labels=torch.tensor(self.labels, device=device) if self.labels else None,
            temperature=temperature,
            top_p=sample.top_p,
            guidance=sample.guidance,
            seed=sample.seed,
        )

    def advance(self) -> None:
        """Draws one more row of every image; `images` uint8 [N, C, H, W] on the CPU then holds it."""
        began = time.perf_counter()
        row = next(self._rows, None)
        if row is None:
            self.done = True
        else:
            self.images, self.rows_done = row[0].cpu(), row[1]
            self.done = self.rows_done == self.images.shape[2]
        self.seconds += time.perf_counter() - began
