"""A row's time on a GPU: each kernel of the torch path, and the Triton kernels with each of their tiles.

Usage: python benchmarks/gpu_sampling.py [FILE]; under a minute. Without a GPU it only tries itself out, on a tiny
model: TRITON_INTERPRET=1 python benchmarks/gpu_sampling.py
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from told import tell
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from pixeltui.config import load_config
from pixeltui.core import ConditionalPixelCNN, build_model, kept
from pixeltui.core.cached import CachedSampler
from pixeltui.core.full_fp32 import full_fp32
from pixeltui.core.gpu import pixels, use
from pixeltui.core.gpu.launches import Tile
from pixeltui.core.native import compiled
from pixeltui.core.sampler import Settings, fast_sampler

GPU = torch.cuda.is_available()
BATCHES = (1, 4, 16, 32, 64, 128, 256) if GPU else (1, 2)
TILES = (
    (
        *(Tile(1, 64, 4), Tile(1, 64, 8), Tile(1, 128, 8), Tile(2, 64, 8)),
        *(Tile(4, 64, 8), Tile(4, 64, 8, ahead=False), Tile(8, 64, 8)),
    )
    if GPU
    else (Tile(1, 8, 1), Tile(2, 8, 1))
)
FEW, MANY = 8, 256
"""programs"""
ROWS = 4 if GPU else 1
KERNELS = 12
"""of the profile"""


def build() -> ConditionalPixelCNN:
    keys = ["model.architecture=two_stream", "model.channels=176"]
    if GPU:
        return build_model(load_config(overrides=keys), (3, 32, 32)).cuda().eval()
    keys += ["model.channels=8", "model.blocks=2", "model.mixtures=3"]
    return build_model(load_config(overrides=keys), (3, 8, 3)).eval()


def wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def rows_drawn(sampler: CachedSampler) -> float:
    """Milliseconds a row; the first two, which are recorded, are not counted."""
    with torch.no_grad(), full_fp32(sampler.row.device):
        for row in range(2):
            sampler.draw_row(row)
        wait()
        began = time.perf_counter()
        for row in range(2, 2 + ROWS):
            sampler.draw_row(row)
        wait()
    return 1000 * (time.perf_counter() - began) / ROWS


def sampler_of(model: ConditionalPixelCNN, batch: int, tile: Tile | None) -> CachedSampler:
    """tile None: without the kernels."""
    use.ON = tile is not None
    if tile is not None:
        pixels.tile_for = lambda _: tile
    sampler = fast_sampler(model, Settings(batch, seed=0))
    assert sampler is not None
    assert (sampler.gpu is None) == (tile is None), f"the kernels cannot be used here: {use.given_up}"
    return sampler


def worth_trying(batch: int, tile: Tile) -> bool:
    """Not a few programs of many images, nor many that each read all weights."""
    return batch <= MANY * tile.images and (tile.images == 1 or not GPU or batch >= FEW * tile.images)


def line_of(model: ConditionalPixelCNN, batch: int, tile: Tile | None, expected: list[torch.Tensor]) -> str:
    """expected: the torch path's images, in which they are put first."""
    sampler = sampler_of(model, batch, tile)
    took = rows_drawn(sampler)
    images = sampler.request.images
    if tile is None:
        expected.append(images)
    same = int((images == expected[0]).flatten(1).all(dim=1).sum())
    speed = 1000 * batch / (model.image_shape[1] * took)
    return f"{took:>9.2f} {speed:>9.1f}  {same} of {batch}"


def timings(model: ConditionalPixelCNN) -> Iterator[str]:
    """A line for each batch and tile; "same": images whose rows are the torch path's, to the last level."""
    table = pixels.tile_for
    yield f"{'batch':>5} {'tile':>20} {'ms a row':>9} {'images/s':>9}  same"
    for batch in BATCHES:
        expected: list[torch.Tensor] = []
        own = table(batch)
        for tile in (None, *(tile for tile in TILES if worth_trying(batch, tile))):
            for beside in (True, False) if tile == own else (True,):
                name = "torch" if tile is None else ",".join(map(str, tile[:3]))
                name += "" if beside else " in turn"
                name += " late" if tile is not None and not tile.ahead else ""
                pixels.BESIDE = beside
                try:
                    said = line_of(model, batch, tile, expected)
                except Exception as error:
                    said = f"{type(error).__name__}: {error}"
                yield f"{batch:>5} {name:>20} {said}"
        pixels.BESIDE = True


def kernels_of(model: ConditionalPixelCNN, batch: int, tile: Tile) -> Iterator[str]:
    """Where the time of a row goes."""
    sampler = sampler_of(model, batch, tile)
    rows_drawn(sampler)
    kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if GPU else [ProfilerActivity.CPU]
    with profile(activities=kinds) as profiled, torch.no_grad(), full_fp32(sampler.row.device):
        sampler.draw_row(2 + ROWS - 1)
        wait()
    events = [event for event in profiled.key_averages() if not GPU or event.device_type == DeviceType.CUDA]
    own = [(event.self_device_time_total if GPU else event.self_cpu_time_total, event) for event in events]
    own.sort(key=lambda one: -one[0])
    yield f"\nbatch {batch}, tile {tile}, one row: {sum(took for took, _ in own) / 1000:.2f} ms"
    for took, event in own[:KERNELS]:
        yield f"{took / 1000:>9.3f} ms {event.count:>6} x {took / event.count:>8.1f} us  {event.key[:90]}"


def whole(model: ConditionalPixelCNN) -> Iterator[str]:
    """Whole images by model.sample and the table of tiles, the second time, when its graph is there."""
    use.ON = True
    yield "\nwhole images, by the table of tiles"
    for batch in (BATCHES[0], 16, BATCHES[-1]) if GPU else BATCHES:
        model.sample(batch, seed=0)
        wait()
        began = time.perf_counter()
        model.sample(batch, seed=1)
        wait()
        took = time.perf_counter() - began
        yield f"{batch:>5} {took:>9.3f} s {batch / took:>9.1f} images/s"


def main() -> None:
    table = pixels.tile_for
    if not GPU:
        use.compiles_for = lambda _: True
        compiled.load = lambda: "not built"  # type: ignore[assignment]
    lines = [torch.cuda.get_device_name() if GPU else "interpreter", f"torch {torch.__version__}"]
    sizes, kept.size_for = kept.size_for, lambda batch: batch
    model = build()
    for line in timings(model):
        print(line, flush=True)
        lines.append(line)
    profiled = [line for batch in (BATCHES[-1], 16 if GPU else 2) for line in kernels_of(model, batch, table(batch))]
    pixels.tile_for, kept.size_for = table, sizes
    lines += [*profiled, *whole(model)]
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
