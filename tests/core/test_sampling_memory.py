"""What sampling holds grows with a row of the image, not with the image."""

from collections.abc import Callable
from typing import Any

import pytest
from sampled import Fast
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN
from pixeltui.core.sampler import Settings, fast_sampler

Tiny = Callable[..., ConditionalPixelCNN]


def buffers(part: Any) -> dict[int, int]:
    """Bytes by address of all tensors that a sampler's part holds."""
    if isinstance(part, Tensor):
        storage = part.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
    if type(part).__module__.startswith("pixeltui.") and not isinstance(part, tuple):
        children = vars(part).values()
    return {address: size for child in children for address, size in buffers(child).items()}


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("head", list(Fast.HEADS))
def test_memory_grows_with_the_rows_and_not_with_the_image(tiny: Tiny, architecture: str, head: str) -> None:
    def held(height: int, width: int) -> int:
        model = tiny((3, height, width), 8, architecture=architecture, head=head, channels=32)
        sampler = fast_sampler(model, Settings(4, seed=0))
        assert sampler is not None
        for row in range(height):
            sampler.draw_row(row)
        return sum(buffers([sampler.trunk, sampler.head, sampler.row, sampler.noise]).values())

    assert held(24, 6) == held(6, 6)
    assert held(6, 24) > held(6, 6), "the test sees the buffers"
