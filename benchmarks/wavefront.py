"""Would a wavefront over rows pay? Usage: python benchmarks/wavefront.py [PRESET]

A pixel may be drawn as soon as those in its field are known: where the row above is seen to r columns on the right, row
i + 1 may start r + 1 pixels behind row i, and all rows that are under way share a step. Prints r and the number of
steps of each preset, and, for a single stack, times an exact prototype of that beside the two samplers that there are.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.config import load_config
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import Settings, fast_sampler, noise_of
from pixeltui.core.single_stack import SingleStackRows

BATCHES = (1, 2, 4)
REPEATS = 3
SHAPES = {"quick": ((1, 8, 8), 17)}
"""of images and their levels, where a preset is made for others than 32x32x3 of 256"""


def model_of(preset: str) -> ConditionalPixelCNN:
    shape, levels = SHAPES.get(preset, ((3, 32, 32), 256))
    torch.manual_seed(0)
    return build_model(load_config(preset=preset), shape, levels, 10).eval()


def pixels_behind(model: ConditionalPixelCNN) -> int | None:
    """Pixels that a row must stay behind the one above it, by gradients; None where it must wait for its end."""
    if model.trunk.rows_above is None:
        return None
    rows, width = 5, 161
    x = torch.rand(1, model.image_shape[0], rows, width, dtype=torch.float64, requires_grad=True)
    trunk = copy.deepcopy(model.trunk).double()  # a path through every block is worth less than the smallest float
    features = trunk(x, model.label_index(None, 1, x.device))
    (gradient,) = torch.autograd.grad(features[0, :, -1, width // 2].sum(), x)
    seen = gradient[0].abs().amax(dim=0) > 0
    reaches = [int(seen[-1 - up].nonzero().max()) - width // 2 for up in range(1, rows)]
    behind = max(-(-(reach + 1) // up) for up, reach in enumerate(reaches, 1))
    return behind if behind < model.image_shape[2] else None


class Wavefront:
    """A SingleStack without attention. Keeps whole images of every layer's input, where a product would keep rows."""

    def __init__(self, model: ConditionalPixelCNN, batch: int, lag: int) -> None:
        self.model, self.batch, self.lag = model, batch, lag
        _, self.height, self.width = model.image_shape
        trunk = model.trunk.incremental(model.label_index(None, batch, torch.device("cpu")), batch, 1, 1, torch.float32)
        assert isinstance(trunk, SingleStackRows)
        self.trunk, self.blocks = trunk, trunk.stack.blocks
        self.half = trunk.image.reach
        self.first = torch.cat([trunk.first_above, trunk.first])
        self.kernels = [torch.cat([*b.above.flatten(0, 1), *b.left, b.centre]) for b in self.blocks]
        self.reach = len(self.blocks[0].left)
        self.taps = [(-self.reach + row, column) for row in range(self.reach) for column in range(2 * self.reach + 1)]
        self.taps += [(0, column) for column in range(self.reach + 1)]

    def sample(self, seed: int) -> Tensor:
        channels, batch, half = self.model.image_shape[0], self.batch, self.half
        head: Any = self.model.head.incremental()
        noise = torch.stack([noise_of(seed, i, self.model.image_shape) for i in range(batch)]).permute(2, 3, 1, 0)
        images = torch.zeros(self.height, self.width, channels, batch, dtype=torch.int64)
        pixels = torch.zeros(self.height + half, self.width + 2 * half, batch, channels)
        size = self.height + self.reach, self.width + 2 * self.reach
        layers = torch.zeros(len(self.blocks), *size, batch, self.trunk.stack.channels)
        levels = self.model.levels
        for step in range(self.width + (self.height - 1) * self.lag):
            rows = torch.arange(max(0, -(-(step - self.width + 1) // self.lag)), min(self.height, step // self.lag + 1))
            columns = step - rows * self.lag
            features = self._features(rows, columns, pixels, layers)
            head.begin(features)
            for channel in range(channels):
                drawn = head.draw(channel, noise[rows, columns, channel].flatten())
                images[rows, columns, channel] = drawn.view(len(rows), batch)
                if channel + 1 < channels:
                    head.observe(channel, drawn)
            pixels[rows + half, columns + half] = scale_levels(images[rows, columns], levels).transpose(1, 2)
        return images.permute(3, 2, 0, 1).to(torch.uint8)

    def _features(self, rows: Tensor, columns: Tensor, pixels: Tensor, layers: Tensor) -> Tensor:
        """[n B, D] of n pixels."""
        half = self.half
        window = [pixels[rows + r, columns + c] for r in range(half) for c in range(2 * half + 1)]
        window += [pixels[rows + half, columns + c] for c in range(half)]
        h = torch.cat(window, dim=2) @ self.first + self.trunk.bias
        for number, (block, kernel) in enumerate(zip(self.blocks, self.kernels, strict=True)):
            x = layers[number]
            x[rows + self.reach, columns + self.reach] = h
            near = torch.cat([x[rows + self.reach + r, columns + c] for r, c in self.taps], dim=2).flatten(0, 1)
            bias = block.bias.expand(self.batch, -1).repeat(len(rows), 1)
            a, b = torch.addmm(bias, near, kernel).chunk(2, dim=1)
            gated = F.pad(a.tanh() * b.sigmoid(), (0, 1), value=1.0)
            h = (h.flatten(0, 1) + gated @ block.out).view_as(h)
        return h.flatten(0, 1)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def by_rows(model: ConditionalPixelCNN, batch: int, *, compiled: bool) -> Tensor:
    sampler = fast_sampler(model, Settings(batch, seed=0))
    assert sampler is not None
    if not compiled:
        sampler.native = None
    for images, _ in sampler.stream():
        result = images
    return result


@torch.no_grad()
def compare(model: ConditionalPixelCNN, behind: int) -> None:
    for batch in BATCHES:
        wave = Wavefront(model, batch, behind)
        same = (wave.sample(0) == by_rows(model, batch, compiled=False)).float().mean()
        methods: dict[str, Callable[[], object]] = {
            "wavefront in torch": lambda: wave.sample(0),  # noqa: B023
            "rows in torch": lambda: by_rows(model, batch, compiled=False),  # noqa: B023
            "rows compiled": lambda: by_rows(model, batch, compiled=True),  # noqa: B023
        }
        times: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(REPEATS):
            for name, method in methods.items():
                times[name].append(seconds(method))
        figures = ", ".join(f"{name} {statistics.median(each):.2f} s" for name, each in times.items())
        print(f"batch {batch}: {figures}; {same:.2%} of the sub-pixels agree")


def main() -> None:
    for preset in ("quick", "baseline", "pixelcnn", "large"):
        model = model_of(preset)
        height, width = model.image_shape[1:]
        behind = pixels_behind(model)
        if behind is None:
            print(f"{preset}: a row must wait for the end of the one above: {height * width} steps as before")
        else:
            steps = width + (height - 1) * behind
            print(f"{preset}: a row stays {behind} pixels behind: {steps} steps instead of {height * width}")
        if behind is not None and preset == (sys.argv[1] if len(sys.argv) > 1 else "baseline"):
            compare(model, behind)


if __name__ == "__main__":
    main()
