"""Sampling from a trunk that computes each activation once: what the orders of drawing have in common.

A stream keeps the weights that the model has when it begins. Shapes: B images, N = B or, with guidance, 2 B, W columns,
C channels.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from pixeltui.core.full_fp32 import drawing
from pixeltui.core.gpu.launches import MixtureKernel
from pixeltui.core.gpu.pixels import GpuPixels
from pixeltui.core.native.compiled import NativeSteps
from pixeltui.core.parts import Head, IncrementalHead, IncrementalTrunk, WaveTrunk, scale_levels
from pixeltui.core.readable import copied
from pixeltui.core.replayed import Replayed

if TYPE_CHECKING:
    from pixeltui.core.sampler import Request

AnyTrunk = TypeVar("AnyTrunk", bound=IncrementalTrunk | WaveTrunk)
Draw = Callable[[Tensor, Tensor], Tensor]
"""Levels int64 [B] from log-probabilities [N, L] and noise [B]"""
FILLED_PIXELS = 2**15
"""of known rows that are taken in at once: 32 images of 32x32"""


class AnyHead(IncrementalHead):
    """A head that does not offer `incremental`, by its level_log_probs."""

    def __init__(self, head: Head) -> None:
        self.head = copied(head)

    def begin(self, features: Tensor) -> None:
        self.features = features.to(next(self.head.parameters(), features).dtype)
        self.earlier = torch.empty(len(features), 0, dtype=torch.int64, device=features.device)

    def log_probs(self, channel: int) -> Tensor:
        return self.head.level_log_probs(self.features, self.earlier)

    def observe(self, channel: int, levels: Tensor) -> None:
        self.earlier = torch.cat([self.earlier, levels[:, None]], dim=1)


class CachedSampler(ABC, Generic[AnyTrunk]):
    """Draws the rows of a request, one after another. Static buffers, so that on CUDA what is done again and again is
    one graph, recorded once and replayed."""

    native: NativeSteps | None
    """the compiled steps, where they know every part"""
    gpu: GpuPixels | MixtureKernel | None
    """Triton kernels, where they know the parts"""

    def __init__(
        self,
        trunk: AnyTrunk,
        head: IncrementalHead,
        request: "Request",
        levels: int,
        draw: Draw | None,
    ) -> None:
        """draw: how to draw from log-probabilities; None: by the head's own `draw`."""
        self.batch = request.images.shape[0]
        """images that were asked for: the request may have been padded"""
        self.trunk, self.head, self.request, self.levels, self.draw = trunk, head, request, levels, draw
        self.copies = 2 if request.guided else 1
        device = request.images.device
        columns, pixels = self.at_hand()
        shape = columns, request.images.shape[1], pixels
        self.noise = torch.zeros(shape, dtype=torch.float32, device=device)
        self.known = torch.zeros(shape, dtype=torch.bool, device=device)
        self.row = torch.zeros(shape, dtype=torch.int64, device=device)
        """levels at hand: those known, later all"""
        self.scaled = scale_levels(torch.arange(levels, device=device), levels).to(trunk.current.dtype)
        self.taken = 0
        """rows before it are taken in, or are of no use to later ones"""
        self.again = Replayed(device)
        self.done: Callable[[CachedSampler[Any]], None] | None = None
        """what is to be told that no more rows are asked for"""

    @abstractmethod
    def at_hand(self) -> tuple[int, int]:
        """Columns and pixels of each whose levels are at hand: of `noise`, `known` and `row` [columns, C, pixels]."""

    @abstractmethod
    def draw_row(self, row: int) -> None:
        """Fills in what is not known of a row of the request's images."""

    @abstractmethod
    def begin(self) -> None:
        """Before the first row of a request."""

    def stream(self) -> Iterator[tuple[Tensor, int]]:
        """Yields (images so far, rows done) after each row."""
        try:
            yield from self._rows()
        except GeneratorExit:
            raise  # between two rows
        except BaseException:
            self.done = None  # what it has recorded may not be whole
            raise
        finally:
            if self.done is not None:
                self.done(self)

    def _rows(self) -> Iterator[tuple[Tensor, int]]:
        images, drawn = self.request.images, self.request.rows
        self.begin()
        above = self.trunk.rows_above
        self.taken = max(drawn[0] - above, 0) if drawn and above is not None else 0
        for row in range(images.shape[2]):
            with drawing(images.device):
                if row in drawn:
                    if row > self.taken:
                        self.fill(self.taken, row)
                    self.taken = max(self.taken, row + 1)
                with contextlib.nullcontext() if self.native is None else self.native.alone():
                    if row in drawn:
                        self.draw_row(row)
                    so_far = images[: self.batch].clone()
            yield so_far, row + 1

    def fill(self, first: int, end: int) -> None:
        """Takes in rows that are known, as many at once as are worth their memory: mostly all of them."""
        images = self.request.images
        at_once = max(1, FILLED_PIXELS // (self.copies * images.shape[0] * images.shape[3]))
        for row in range(first, end, at_once):
            levels = images[:, :, row : min(row + at_once, end)].permute(0, 2, 3, 1).long()
            self.trunk.fill_rows(row, self._repeated(self.scaled[levels]))

    def _draw_pixel(self, column: int, features: Tensor) -> None:
        row, channels = self.row[column], self.row.shape[1]
        self.head.begin(features.float())
        for channel in range(channels):
            noise = self.noise[column, channel]
            if self.draw is None:
                levels = self.head.draw(channel, noise)
            else:
                levels = self.draw(self.head.log_probs(channel), noise)
            if self.request.any_known:
                levels = torch.where(self.known[column, channel], row[channel], levels)
            row[channel] = levels
            if channel + 1 < channels:
                self.head.observe(channel, self._repeated(levels))

    def _repeated(self, x: Tensor) -> Tensor:
        return x if self.copies == 1 else torch.cat([x, x])
