"""A WaveSampler's steps by the compiled steps."""

from typing import TYPE_CHECKING

import torch

from pixeltui.core.depthwise_wave import DepthwiseWave
from pixeltui.core.native.compiled import NativeSteps
from pixeltui.core.native.library import CProgram, Library
from pixeltui.core.native.plan import head_steps, wave_steps
from pixeltui.core.native.program import Steps, place_of
from pixeltui.core.parts import Unsupported

if TYPE_CHECKING:
    from pixeltui.core.by_wave import WaveSampler


class NativeWave(NativeSteps):
    """Draws the pixels that a sampler's wave has."""

    least_pixels = 3
    tolerance = 0.3
    """threads meet some fifty times a step, with shares that are not quite the same"""

    def __init__(self, sampler: "WaveSampler", library: Library, lanes: int) -> None:
        """Raises Unsupported."""
        super().__init__(sampler, library, lanes)
        request, trunk = sampler.request, sampler.trunk
        if type(trunk) is not DepthwiseWave:
            raise Unsupported(type(trunk).__name__)
        self.images, channels = request.images.shape[:2]
        row, pixel, head = Steps(lanes), Steps(lanes, trunk.panels), Steps(lanes)
        features = wave_steps(pixel, trunk)
        mixture = head_steps(head, sampler.head, features, channels, by_logs=sampler.draw is not None)
        self.known = sampler.all_known
        self.wanted = torch.zeros(len(self.known), dtype=torch.uint8)
        self._kept = (row, pixel, head, sampler.all_noise, sampler.levels_drawn, sampler.scaled)
        self._program = CProgram(
            *(steps.array() for steps in (row, pixel, head)),
            *(len(steps.steps) for steps in (row, pixel, head)),
            *(trunk.front.width, self.images, sampler.copies, channels, sampler.levels),
            *(trunk.front.tracks, trunk.front.lag),
            *(one.data_ptr() for one in (sampler.all_noise, self.known, sampler.levels_drawn)),
            place_of(trunk.image[:, trunk.half :].transpose(0, 1)),
            sampler.scaled.data_ptr(),
            *(request.guidance, request.temperature, request.top_p),
            mixture,
        )
        self.pixels = sampler.copies * sampler.row.shape[2]

    def begin(self) -> None:
        """After the levels, and which of them are known, have been written."""
        self.wanted.copy_((~self.known).flatten(1).any(dim=1))

    def draw(self, rows: tuple[int, int], steps: tuple[int, int]) -> None:
        """What a wave over the rows, from one up to another, has from a step up to another."""
        wanted = self.wanted.data_ptr()
        self.on_threads(
            self.images,
            self.pixels,
            lambda *many: self.library.wave(self._program, wanted, rows, steps, self.lanes, *many),
        )
