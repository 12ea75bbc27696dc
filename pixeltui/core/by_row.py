"""Sampling by an IncrementalTrunk: row by row, and in a row pixel by pixel."""

from typing import Any

import torch

from pixeltui.core.cached import CachedSampler
from pixeltui.core.gpu.pixels import GpuPixels, gpu_pixels
from pixeltui.core.native.rows import NativeRow
from pixeltui.core.parts import IncrementalTrunk


class RowSampler(CachedSampler[IncrementalTrunk]):
    """A row at a time, all columns of it one after another."""

    native: NativeRow | None
    gpu: GpuPixels | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.native = NativeRow.of(self) if self.row.device.type == "cpu" else None
        self.gpu = gpu_pixels(self)

    def at_hand(self) -> tuple[int, int]:
        batch, _, _, width = self.request.images.shape
        return width, batch

    def begin(self) -> None:
        """Nothing: every row brings its own."""

    def draw_row(self, row: int) -> None:
        request = self.request
        self.noise.copy_(request.noise[:, :, row].permute(2, 1, 0))
        self.row.copy_(request.images[:, :, row].permute(2, 1, 0))
        self.known.copy_(request.known[:, :, row].permute(2, 1, 0))
        self.trunk.set_row(row)
        if self.row.is_cuda:
            self.again.run(lambda: self._steps([True] * len(self.row)))
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
