"""A wave's draws on a GPU: the head's products within the kernel, a pixel or a few to a program, or by torch for all.

Usage: python benchmarks/gpu_wave_head.py [--two-steps] [FILE]; two minutes. The kernel there is reads the head's
weights once for each pixel, a gigabyte a step at batch 256; what draws from parameters that are there reads none.
--two-steps: a level is looked for among every 16th edge first, as in torch: 16 times fewer logistics, and more pixels
of a program fit its registers. Without a GPU it only tries itself out, on a tiny model:
TRITON_INTERPRET=1 python benchmarks/gpu_wave_head.py
"""

import copy
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from gpu_sampling import GPU, wait
from told import tell

from pixeltui.config import load_config
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.core.gpu import launches, pixels, use
from pixeltui.core.gpu.kernels import mixture
from pixeltui.core.gpu.launches import MixtureKernel, Tile
from pixeltui.core.native import compiled

BATCHES = (16, 64, 256, 1024) if GPU else (2,)
TURNS = 3 if GPU else 1
WITHIN = (Tile(1, 64, 8, ahead=False), Tile(2, 64, 8, ahead=False), Tile(4, 64, 8, ahead=False))
AFTER = (Tile(1, 64, 4), Tile(1, 64, 8), Tile(2, 64, 8), Tile(4, 64, 8))
SMALL = (Tile(2, 8, 1),)


@triton.jit
def mass_at(edge_at, weights, minus_mean, inverse):
    """[T, E]: the mixture's mass below edges [T, E]; its parameters [T, BK]."""
    at = (minus_mean * inverse)[:, :, None] + inverse[:, :, None] * edge_at[:, None, :]
    return tl.sum(weights[:, :, None] / (1.0 + tl.exp(-at)), axis=1)


@triton.jit
def level_in_two_steps(noise, there, weights, minus_mean, inverse, edge_at, LEVELS: tl.constexpr, BL: tl.constexpr):
    """mixture.level_at, by every 16th edge and then those between two of them."""
    FINE: tl.constexpr = BL if BL < 16 else 16
    segments, steps = tl.arange(0, BL // FINE), tl.arange(0, FINE)
    by_segment = tl.reshape(edge_at, [BL // FINE, FINE])
    threshold = tl.load(noise, mask=there, other=0.0)[:, None]
    ends = tl.sum(tl.where((steps == FINE - 1)[None, :], by_segment, 0.0), axis=1)
    mass = mass_at(ends[None, :], weights, minus_mean, inverse)
    passed = (mass <= threshold) & (segments * FINE + FINE - 1 < LEVELS - 1)[None, :]
    segment = tl.sum(passed.to(tl.int32), axis=1)
    here = segments[None, :, None] == segment[:, None, None]
    within = tl.sum(tl.where(here, by_segment[None, :, :], 0.0), axis=1)
    mass = mass_at(within, weights, minus_mean, inverse)
    number = segment[:, None] * FINE + steps[None, :]
    passed = (mass <= threshold) & (number < LEVELS - 1) & (steps < FINE - 1)[None, :]
    return segment * FINE + tl.sum(passed.to(tl.int32), axis=1)


@triton.jit(do_not_specialize=["column", "images"])
def mixture_draws(
    column,
    images,
    params,
    edges,
    cells,
    noise,
    known,
    row,
    current,
    stride_current,
    stride_column,
    sharpness,
    least,
    width,
    K: tl.constexpr,
    BK: tl.constexpr,
    KINDS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    IN_ORDER: tl.constexpr,
    T: tl.constexpr,
    BP: tl.constexpr,
    BL: tl.constexpr,
):
    """As mixture_pixel, with params [B, KINDS BK] already there."""
    image = tl.program_id(0) * T + tl.arange(0, T)
    at = tl.arange(0, BP)[None, :]
    P: tl.constexpr = KINDS * BK
    found = tl.load(params + image[:, None] * P + at, mask=(image < images)[:, None] & (at < P), other=0.0)
    found = tl.reshape(found, [T, BP // BK, BK])
    limits = (sharpness, least, width)
    scaled = (current, stride_current, stride_column)
    mixture.draws(
        found, noise, known, row, scaled, edges, cells, column, images, limits, K, CHANNELS, LEVELS, IN_ORDER, BL
    )


class ByProducts(MixtureKernel):
    def __init__(self, head: Any, sampler: Any, features: torch.Tensor, tile: Tile) -> None:
        super().__init__(head, sampler, features, tile)
        self.features, self.head = features, head
        names = ("K", "BK", "KINDS", "CHANNELS", "LEVELS", "IN_ORDER", "T", "BP", "BL", "num_warps")
        self.drawing = {name: self.options[name] for name in names}
        *rest, current, _, stride_current, stride_column, sharpness, least, width = self.arguments
        self.rest = (*rest[6:], current, stride_current, stride_column, sharpness, least, width)

    def draw(self, column: int) -> None:
        hidden = F.silu(torch.addmm(self.head.hidden_bias, self.features, self.head.hidden))
        params = torch.addmm(self.bias, hidden, self.out)
        if self.head.near is not None:
            params.addmm_(self.features[:, -self.head.skipped :], self.near)
        mixture_draws[self.grid](column, self.images, params, *self.rest, **self.drawing)


def build() -> ConditionalPixelCNN:
    if GPU:
        return build_model(load_config(), (3, 32, 32), 256, 10).cuda().eval()
    keys = ["model.channels=8", "model.blocks=2", "model.mixtures=3"]
    return build_model(load_config(overrides=keys), (3, 2, 3), 8, 10).eval()


def sampled(
    model: ConditionalPixelCNN, batch: int, kind: type[MixtureKernel], tile: Tile
) -> tuple[float, torch.Tensor]:
    """Images/s, the best after the first time, which records the step, and the images."""
    pixels.MixtureKernel, pixels.HEAD_TILE = kind, tile  # type: ignore[misc]
    model = copy.deepcopy(model)  # which has no recorded steps of another's yet
    times = []
    for _ in range(1 + TURNS):
        wait()
        began = time.perf_counter()
        images = model.sample(batch, labels=[k % 10 for k in range(batch)], seed=1)
        wait()
        times.append(time.perf_counter() - began)
    assert not use.given_up, use.given_up
    return batch / min(times[1:]), images


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--two-steps"]
    if len(words) < len(sys.argv) - 1:
        mixture.level_at = level_in_two_steps  # before anything is compiled
    if not GPU:
        use.compiles_for = lambda _: True
        compiled.load = lambda: "not built"  # type: ignore[assignment]
    lines = [torch.cuda.get_device_name() if GPU else "interpreter", mixture.level_at.fn.__name__]
    model = build()
    tried = [
        (name, kind, tile)
        for name, kind, tiles in (("within", launches.MixtureKernel, WITHIN), ("after", ByProducts, AFTER))
        for tile in (tiles if GPU else SMALL)
    ]
    for batch in BATCHES:
        expected = None
        for name, kind, tile in tried:
            row = f"{batch:>5} {name:>6} {','.join(map(str, tile[:3])):>8}"
            try:
                speed, images = sampled(model, batch, kind, tile)
            except Exception as error:
                use.given_up.clear()
                lines.append(f"{row} {type(error).__name__}: {error}")
                continue
            expected = images if expected is None else expected
            same = int((images == expected).flatten(1).all(dim=1).sum())
            lines.append(f"{row} {speed:>9.1f} images/s  {same} of {batch} the same")
            print(lines[-1], flush=True)
    tell(lines, Path(words[0]) if words else None)


if __name__ == "__main__":
    main()
