"""Sampling by a WaveTrunk: a pixel of every row that is under way at a step (core.wavefront).

Shapes: as in core.cached; T tracks, P = H W pixels of an image.
"""

from typing import Any

import torch

from pixeltui.core.cached import CachedSampler
from pixeltui.core.gpu.launches import MixtureKernel
from pixeltui.core.gpu.pixels import gpu_mixture
from pixeltui.core.native.waves import NativeWave
from pixeltui.core.parts import WaveTrunk
from pixeltui.core.replayed import put


class WaveSampler(CachedSampler[WaveTrunk]):
    """`draw_row` goes on until its row is drawn: those below it are then under way."""

    native: NativeWave | None
    gpu: MixtureKernel | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        batch, channels, height, width = self.request.images.shape
        device, shape = self.row.device, (height * width + 1, channels, batch)
        self.all_noise = torch.zeros(shape, dtype=torch.float32, device=device)
        """of every pixel, the last for tracks that have none"""
        self.all_known = torch.zeros(shape, dtype=torch.bool, device=device)
        self.levels_drawn = torch.zeros(shape, dtype=torch.int64, device=device)
        steps = self.trunk.front.end(height - 1)
        self.places = torch.zeros(steps, self.trunk.front.tracks, dtype=torch.int64, device=device)
        """of the rows under way: pixel of each track at each step"""
        self.columns = torch.zeros_like(self.places)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        """the step, in the device's memory"""
        self.begin()
        self.native = NativeWave.of(self) if device.type == "cpu" else None
        self.gpu = gpu_mixture(self)

    def at_hand(self) -> tuple[int, int]:
        return 1, self.trunk.front.tracks * self.request.images.shape[0]

    def begin(self) -> None:
        self.first = self.end = self.step = 0

    def draw_row(self, row: int) -> None:
        request, width = self.request, self.trunk.front.width
        if not self.first <= row < self.end:
            self._begin_rows(row)
        until = self.trunk.front.end(row - self.first)
        if self.native is not None:
            self.native.draw((self.first, self.end), (self.step, until))
        else:
            for _ in range(self.step, until):
                if self.row.is_cuda:
                    self.again.run(self._step)
                else:
                    self._step()
        self.step = until
        drawn = self.levels_drawn[row * width : (row + 1) * width]
        request.images[:, :, row] = drawn.permute(2, 1, 0).to(torch.uint8)

    def _begin_rows(self, first: int) -> None:
        """A wave over this row and those that follow; of known ones between them as few as are cheaper so than taken in
        by themselves, for which the wave would have to end."""
        request, front = self.request, self.trunk.front
        end = first + 1
        for row in request.rows:
            if end <= row < end + front.tracks:
                end = row + 1
        self.first, self.end, self.step = first, end, 0
        self.taken = end
        own = slice(first * front.width, end * front.width)
        for ours, theirs in (
            (self.all_noise, request.noise),
            (self.all_known, request.known),
            (self.levels_drawn, request.images),
        ):
            ours[own] = theirs[:, :, first:end].permute(2, 3, 1, 0).flatten(0, 1).to(ours.dtype)
        if self.native is not None:
            self.native.begin()
            return
        places = front.places(first, end)
        self.places[: len(places)] = torch.where(places < 0, len(self.all_noise) - 1, places)
        self.columns[: len(places)] = self.trunk.columns_of(places)
        self.at.zero_()

    def _step(self) -> None:
        places, columns = self.places.index_select(0, self.at)[0], self.columns.index_select(0, self.at)[0]
        for ours, whole in ((self.noise, self.all_noise), (self.known, self.all_known), (self.row, self.levels_drawn)):
            ours[0] = whole[places].transpose(0, 1).flatten(1)
        features = self.trunk.pixels(columns)
        if self.gpu is not None:
            self.gpu.draw(0)
        else:
            self._draw_pixel(0, features)
            self.trunk.current[:, 0] = self._repeated(self.scaled[self.row[0]].t())
        drawn = self.row[0].view(self.row.shape[1], len(places), -1).transpose(0, 1)
        put(self.levels_drawn, places, drawn)
        self.trunk.take(columns)
        self.at += 1
