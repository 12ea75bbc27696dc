"""Sampling from a trunk and a head that offer `incremental`: each activation is computed once.

A stream keeps the weights that the model has when it begins. Shapes: B images, N = B or, with guidance, 2 B, W columns,
C channels.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixeltui.core import kept
from pixeltui.core.full_fp32 import full_fp32
from pixeltui.core.gpu.pixels import gpu_pixels
from pixeltui.core.native.rows import native_row
from pixeltui.core.parts import Head, IncrementalHead, IncrementalTrunk, scale_levels

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN
    from pixeltui.core.sampler import Request

Draw = Callable[[Tensor, Tensor], Tensor]
"""Levels int64 [B] from log-probabilities [N, L] and noise [B]"""
FILLED_PIXELS = 2**15
"""of known rows that are taken in at once: 32 images of 32x32"""


class AnyHead(IncrementalHead):
    """A head that does not offer `incremental`, by its level_log_probs."""

    def __init__(self, head: Head) -> None:
        self.head = copy.deepcopy(head).eval()

    def begin(self, features: Tensor) -> None:
        self.features = features
        self.earlier = torch.empty(len(features), 0, dtype=torch.int64, device=features.device)

    def log_probs(self, channel: int) -> Tensor:
        return self.head.level_log_probs(self.features, self.earlier)

    def observe(self, channel: int, levels: Tensor) -> None:
        self.earlier = torch.cat([self.earlier, levels[:, None]], dim=1)


class CachedSampler:
    """Draws the rows of a request. Static buffers, so that on CUDA a row is one graph, recorded once and replayed."""

    def __init__(
        self,
        trunk: IncrementalTrunk,
        head: IncrementalHead,
        request: "Request",
        levels: int,
        draw: Draw | None,
        rows_above: int | None,
    ) -> None:
        """draw: how to draw from log-probabilities; None: by the head's own `draw`. rows_above: as Trunk's."""
        self.batch = request.images.shape[0]
        """images that were asked for: the request may have been padded"""
        self.trunk, self.head, self.request, self.levels, self.draw = trunk, head, request, levels, draw
        batch, channels, _, width = request.images.shape
        self.copies = 2 if request.guided else 1
        device = request.images.device
        self.noise = torch.zeros(width, channels, batch, device=device)
        self.known = torch.zeros(width, channels, batch, dtype=torch.bool, device=device)
        self.row = torch.zeros(width, channels, batch, dtype=torch.int64, device=device)
        """levels of the current row: those known, later all"""
        self.scaled = scale_levels(torch.arange(levels, device=device), levels).to(trunk.current.dtype)
        self.rows_above = rows_above
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side: torch.cuda.Stream | None = None
        """what is recorded is recorded on it, and warmed up; of this device, where torch's own may be of another"""
        self.done: Callable[[CachedSampler], None] | None = None
        """what is to be told that no more rows are asked for"""
        self.native = native_row(self) if device.type == "cpu" else None
        """the compiled steps, where they know every part"""
        self.gpu = gpu_pixels(self)
        """kernels for the pixels of a row, where they know the trunk"""

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
        known_from = 0  # rows before it are taken in, or of no use
        if drawn and self.rows_above is not None:
            known_from = max(drawn[0] - self.rows_above, 0)
        for row in range(images.shape[2]):
            with torch.no_grad(), full_fp32(images.device):
                if row in drawn:
                    if row > known_from:
                        self.fill(known_from, row)
                    known_from = row + 1
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

    def draw_row(self, row: int) -> None:
        """Fills in what is not known of a row of the request's images."""
        request = self.request
        self.noise.copy_(request.noise[:, :, row].permute(2, 1, 0))
        self.row.copy_(request.images[:, :, row].permute(2, 1, 0))
        self.known.copy_(request.known[:, :, row].permute(2, 1, 0))
        self.trunk.set_row(row)
        if self.row.is_cuda:
            self._replay()
        else:
            wanted = (~self.known).flatten(1).any(dim=1).tolist()
            if self.native is None:
                self._steps(wanted)
            else:
                self.native.draw(wanted)
                self.trunk.end_row()
        request.images[:, :, row] = self.row.permute(2, 1, 0).to(torch.uint8)

    def _steps(self, to_draw: list[bool]) -> None:
        self.trunk.begin_row()
        if self.gpu is not None and self.gpu.mixture is not None:
            self.gpu.row(self.gpu.mixture, len(to_draw))
            self.trunk.end_row()
            return
        for column, drawn in enumerate(to_draw):
            features = self.trunk.pixel(column) if self.gpu is None else self.gpu.trunk.pixel(column)
            if drawn:
                self._draw_pixel(column, features)
            scaled = self.scaled[self.row[column]].t()
            self.trunk.current[:, column] = self._repeated(scaled)
        self.trunk.end_row()

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

    def _replay(self) -> None:
        """The row's steps as one CUDA graph; the first row runs as it is, for what must not be recorded."""
        everything, device = [True] * len(self.row), self.row.device
        if self.side is None:
            self.side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            current = torch.cuda.current_stream(device)
            self.side.wait_stream(current)
            try:
                with torch.cuda.stream(self.side):
                    self._steps(everything)
            finally:  # or what is freed after an exception would still be written to
                current.wait_stream(self.side)
            return
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            recording = torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local")
            with torch.cuda.device(device), recording:
                self._steps(everything)
            self.graph = graph
        self.graph.replay()


def cached_sampler(
    model: "ConditionalPixelCNN", request: "Request", draw: Draw | None, dtype: torch.dtype | None
) -> CachedSampler | None:
    """None where the trunk does not offer `incremental`."""
    batch, _, height, width = request.images.shape
    records = kept.records(request.images.device)
    request = kept.padded(request, kept.size_for(batch)) if records else request
    repeated = request.images.shape[0] * (2 if request.guided else 1)
    dtype = dtype or next(model.trunk.parameters()).dtype
    trunk = model.trunk.incremental(request.labels, repeated, height, width, dtype)
    if trunk is None:
        return None
    head = model.head.incremental() or AnyHead(model.head)
    sampler = CachedSampler(trunk, head, request, model.levels, draw, model.trunk.rows_above)
    if records:
        kind = (
            repeated,
            request.guided,
            request.temperature,
            request.top_p,
            request.guidance,
            request.any_known,
            dtype,
            sampler.gpu is None,
        )
        sampler = kept.take(model, (*kind, request.images.device), sampler)
        sampler.done = partial(kept.give_back, model, (*kind, request.images.device))
    sampler.batch = batch
    return sampler
