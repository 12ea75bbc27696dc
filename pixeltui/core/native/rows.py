"""A RowSampler's rows by the compiled steps."""

import ctypes
from typing import TYPE_CHECKING

from pixeltui.core.native.compiled import NativeSteps
from pixeltui.core.native.library import CProgram, Library
from pixeltui.core.native.plan import head_steps, pixel_steps, row_steps
from pixeltui.core.native.program import Steps, place_of
from pixeltui.core.rows import RowTrunk

if TYPE_CHECKING:
    from pixeltui.core.by_row import RowSampler


class NativeRow(NativeSteps):
    """Draws the row that a sampler's buffers describe."""

    least_pixels = 8

    def __init__(self, sampler: "RowSampler", library: Library, lanes: int) -> None:
        """Raises Unsupported."""
        super().__init__(sampler, library, lanes)
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
            *(width, images, sampler.copies, channels, sampler.levels, 1, 0),
            *(one.data_ptr() for one in (sampler.noise, sampler.known, sampler.row)),
            place_of(trunk.current.transpose(0, 1)),
            sampler.scaled.data_ptr(),
            *(request.guidance, request.temperature, request.top_p),
            mixture,
        )
        self.images, self.pixels = images, width * images * sampler.copies

    def draw(self, wanted: list[bool]) -> None:
        """begin_row, every pixel and its draws; wanted: the columns where something is to be drawn."""
        flags = (ctypes.c_uint8 * len(wanted))(*wanted)
        address = ctypes.addressof(flags)
        self.on_threads(
            self.images, self.pixels, lambda *many: self.library.row(self._program, address, self.lanes, *many)
        )
