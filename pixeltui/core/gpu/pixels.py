"""A sampler's pixels by the Triton kernels: one for a trunk's blocks, one for a mixture's draws.

The torch path is a launch or more for every norm, product and gate, some 160 a pixel, and a GPU waits for each. What
hangs on the rows above and on the pixel to the left stays in torch: few launches, for all blocks at once.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from pixeltui.core.gpu import use
from pixeltui.core.gpu.launches import MixtureKernel, Tile, TrunkKernel
from pixeltui.core.parts import Unsupported
from pixeltui.core.rows import RowTrunk

if TYPE_CHECKING:
    from pixeltui.core.by_row import RowSampler
    from pixeltui.core.by_wave import WaveSampler

BESIDE = True
"""whether what the next pixel takes from its left is computed beside the draws"""
TRUNK_TILES = {32: Tile(1, 64, 4), 128: Tile(1, 128, 8), 2**31: Tile(2, 64, 8)}
"""by batches up to, as measured on an H200 (benchmarks/gpu_sampling.py): a program reads all weights, so that 128
programs are as many as the cache serves at its best"""
HEAD_TILE = Tile(1, 64, 8, ahead=False)


def tile_for(batch: int) -> Tile:
    return next(tile for most, tile in TRUNK_TILES.items() if batch <= most)


class GpuPixels:
    """The pixels of the row that a sampler's buffers describe."""

    def __init__(self, sampler: "RowSampler", tile: Tile, head_tile: Tile = HEAD_TILE) -> None:
        """Raises Unsupported."""
        if not isinstance(sampler.trunk, RowTrunk):
            raise Unsupported(type(sampler.trunk).__name__)
        self.trunk = TrunkKernel(sampler.trunk, tile)
        self.mixture: MixtureKernel | None = None
        """None: the draws are torch's"""
        if sampler.draw is None:
            with contextlib.suppress(Unsupported):
                self.mixture = MixtureKernel(sampler.head, sampler, self.trunk.features, head_tile)
        device = sampler.row.device
        self.beside: torch.cuda.Stream | None = None
        if BESIDE and device.type == "cuda":
            self.beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def row(self, mixture: MixtureKernel, width: int) -> None:
        """Every pixel of a row that has begun, and its draws."""
        for column in range(width):
            self.trunk.pixel(column, begun=column > 0)
            if column + 1 == width:
                mixture.draw(column)
                continue
            with self._meanwhile(column + 1):
                mixture.draw(column)

    @contextlib.contextmanager
    def _meanwhile(self, column: int) -> Iterator[None]:
        """What a pixel takes from its left does not wait for what is launched within, nor the other way round."""
        if self.beside is None:
            self.trunk.stack.begin_pixel(column)
            yield
            return
        current = torch.cuda.current_stream(self.beside.device)
        self.beside.wait_stream(current)
        try:
            with torch.cuda.stream(self.beside):
                self.trunk.stack.begin_pixel(column)
            yield
        finally:  # or what is freed after an exception would still be written to
            current.wait_stream(self.beside)


def gpu_pixels(sampler: "RowSampler") -> GpuPixels | None:
    """None where triton is not there, the kernels lack a part of the model, or do not compile."""
    if not use.usable(sampler.row.device):
        return None
    try:
        pixels = GpuPixels(sampler, tile_for(sampler.trunk.current.shape[0]))
    except Unsupported:
        return None

    def draw() -> None:
        pixels.trunk.pixel(0)
        if pixels.mixture is not None:
            pixels.mixture.draw(0)

    return pixels if _runs(draw, [pixels.trunk, pixels.mixture], sampler.row.device) else None


def gpu_mixture(sampler: "WaveSampler") -> MixtureKernel | None:
    """A wave's draws; its trunk has kernels of its own (gpu.wave), or torch's. None as above."""
    if not use.usable(sampler.row.device) or sampler.draw is not None:
        return None
    try:
        mixture = MixtureKernel(sampler.head, sampler, sampler.trunk.features, HEAD_TILE)
    except Unsupported:
        return None
    return mixture if _runs(lambda: mixture.draw(0), [mixture], sampler.row.device) else None


def _runs(draw: Callable[[], object], kernels: list[TrunkKernel | MixtureKernel | None], device: torch.device) -> bool:
    """Whether the kernels can be compiled and fit. What `draw` draws is written over by what is drawn first."""
    kind = (device, *(option for kernel in kernels if kernel is not None for option in kernel.options.items()))
    return use.tried(kind, device, lambda: (draw(), True)) is not None
