"""A CachedSampler's rows by the compiled steps."""

import contextlib
import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pixeltui.core.native.library import CProgram, Library, load
from pixeltui.core.native.plan import head_steps, pixel_steps, row_steps
from pixeltui.core.native.program import Steps, Unsupported, place_of
from pixeltui.core.rows import RowTrunk

if TYPE_CHECKING:
    from pixeltui.core.cached import CachedSampler

LEAST_IMAGES = 2
"""images that make a thread worth its weights' way to another core"""
LEAST_PIXELS = 8
"""the same of pixels, in what is computed for a row at once"""
PATIENCE = 300
"""microseconds lost in a row"""
FEWEST_ALONE, MOST_ALONE = 4, 512
"""rows that are not shared after one in which that was too long"""


class NativeRow:
    """Draws the row that a sampler's buffers describe."""

    def __init__(self, sampler: "CachedSampler", library: Library, lanes: int) -> None:
        """Raises Unsupported."""
        self.library, self.lanes = library, lanes
        request, trunk = sampler.request, sampler.trunk
        images, channels, _, width = request.images.shape
        packed = trunk.panels if isinstance(trunk, RowTrunk) else None
        row, pixel, head = Steps(lanes, packed), Steps(lanes, packed), Steps(lanes)
        row_steps(row, trunk)
        features = pixel_steps(pixel, trunk)
        mixture = head_steps(head, sampler.head, features, channels, by_logs=sampler.draw is not None)
        self._kept = (row, pixel, head, sampler.noise, sampler.known, sampler.row, sampler.scaled)
        self._program = CProgram(
            *(steps.array() for steps in (row, pixel, head)),
            *(len(steps.steps) for steps in (row, pixel, head)),
            *(width, images, sampler.copies, channels, sampler.levels),
            *(one.data_ptr() for one in (sampler.noise, sampler.known, sampler.row)),
            place_of(trunk.current.transpose(0, 1)),
            sampler.scaled.data_ptr(),
            *(request.guidance, request.temperature, request.top_p),
            mixture,
        )
        self.images, self.pixels = images, width * images * sampler.copies
        self.threads = torch.get_num_threads()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Without other threads of torch's: they stay awake for milliseconds after an operation, in these ones' way."""
        self.threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(self.threads)

    def draw(self, wanted: list[bool]) -> None:
        """begin_row, every pixel and its draws; wanted: the columns where something is to be drawn."""
        flags = (ctypes.c_uint8 * len(wanted))(*wanted)
        threads, groups = threads_for(self.threads, self.images, self.pixels)
        if threads > groups and not sharing.pays():
            threads = groups
        lost = self.library.row(self._program, ctypes.addressof(flags), self.lanes, threads, groups)
        if threads > groups:
            sharing.lost(lost)


def threads_for(threads: int, images: int, pixels: int) -> tuple[int, int]:
    """How many of the threads draw a row of so many pixels, and how many groups of images one of them takes through it.

    With a group for each thread none waits for another. Of fewer images they share what is computed for a row at once.
    """
    groups = max(1, min(threads, images // LEAST_IMAGES))
    return max(groups, min(threads, pixels // LEAST_PIXELS)), groups


class Sharing:
    """Whether threads share rows: not where others want the processors. A thread that loses its own in the middle of
    what it has begun makes the rest wait for milliseconds; then the next rows are left to one, twice as many each time.
    """

    def __init__(self) -> None:
        self.alone = 0
        """rows until the next attempt"""
        self.pause = FEWEST_ALONE

    def pays(self) -> bool:
        self.alone = max(self.alone - 1, 0)
        return not self.alone

    def lost(self, microseconds: int) -> None:
        if microseconds > PATIENCE:
            self.alone, self.pause = self.pause, min(2 * self.pause, MOST_ALONE)
        else:
            self.pause = FEWEST_ALONE


sharing = Sharing()
"""of this process: what else the machine does is the same for all streams"""


def native_row(sampler: "CachedSampler") -> NativeRow | None:
    """None where there is no compiled library or it lacks a part of the model."""
    library = load()
    if isinstance(library, str):
        return None
    try:
        return NativeRow(sampler, library, library.lanes)
    except Unsupported:
        return None
