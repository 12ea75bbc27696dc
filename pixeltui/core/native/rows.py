"""A CachedSampler's rows by the compiled steps."""

import ctypes
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
        self.images = images

    def draw(self, wanted: list[bool]) -> None:
        """begin_row, every pixel and its draws; wanted: the columns where something is to be drawn."""
        flags = (ctypes.c_uint8 * len(wanted))(*wanted)
        self.library.row(self._program, ctypes.addressof(flags), self.lanes, threads_for(self.images))


def threads_for(images: int) -> int:
    """Each takes its images through a whole row by itself: none waits for another within it."""
    return max(1, min(torch.get_num_threads(), images // LEAST_IMAGES))


def native_row(sampler: "CachedSampler") -> NativeRow | None:
    """None where there is no compiled library or it lacks a part of the model."""
    library = load()
    if isinstance(library, str):
        return None
    try:
        return NativeRow(sampler, library, library.lanes)
    except Unsupported:
        return None
