"""The Triton kernels of 1x1 convolutions, with each of their tiles, beside cuBLAS: training's and a wave's.

Usage: python benchmarks/gpu_products.py [FILE]; a few minutes, most of them compiling. Without a GPU it only tries
itself out, on tiny products: TRITON_INTERPRET=1 python benchmarks/gpu_products.py
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from gpu_sampling import GPU, wait
from told import tell
from torch import Tensor

from pixeltui.core.gpu import feed_forward, wave
from pixeltui.core.gpu.use import ProductTile

DEVICE = "cuda" if GPU else "cpu"
HALF = torch.bfloat16 if GPU else torch.float16
CHANNELS, INSIDE = (224, 896) if GPU else (8, 32)
TRAINED = (2**16, 2**18) if GPU else (64,)
"""pixels of a step: 64 and 256 images of 32x32"""
DRAWN = (8, 32, 128, 256, 512, 2048, 8192) if GPU else (16,)
TILES = (
    *(ProductTile(128, 128, 64, 8, 3), ProductTile(128, 128, 64, 4, 3), ProductTile(128, 256, 64, 8, 3)),
    *(ProductTile(64, 128, 64, 4, 4), ProductTile(128, 128, 32, 8, 4)),
)
SMALL_TILES = (
    *(ProductTile(16, 32, 64, 4, 3), ProductTile(16, 32, 128, 4, 3), ProductTile(64, 16, 128, 4, 3)),
    *(ProductTile(64, 32, 64, 4, 3), ProductTile(64, 64, 64, 4, 3), ProductTile(64, 64, 64, 4, 4)),
    *(ProductTile(128, 128, 32, 8, 3), ProductTile(128, 128, 64, 8, 3)),
)
TURNS = 20 if GPU else 1
BEST = 4


def took(work: Callable[[], object]) -> float:
    """Microseconds, the median of five times many; on a GPU as one graph, so that launches are not what is timed."""
    for _ in range(2):
        work()
    repeated = _recorded(work) if GPU else work
    times = []
    for _ in range(5):
        wait()
        began = time.perf_counter()
        repeated()
        wait()
        times.append(time.perf_counter() - began)
    return 1e6 * sorted(times)[2] / TURNS


def _recorded(work: Callable[[], object]) -> Callable[[], None]:
    wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(TURNS):
            work()
    return graph.replay


def drawn(*shape: int, dtype: torch.dtype = HALF) -> Tensor:
    return torch.randn(*shape, device=DEVICE).to(dtype)


def by_tile(name: str, tiles: tuple[ProductTile, ...], work: Callable[[ProductTile], object]) -> str:
    """The best tiles, with their times."""
    times = []
    for tile in tiles:
        try:
            times.append((took(lambda tile=tile: work(tile)), tuple(tile)))
        except Exception as error:
            print(f"{name}, {tuple(tile)}: {type(error).__name__}: {error}", file=sys.stderr)
    best = sorted(times)[:BEST]
    return f"{name:>34}: " + "; ".join(f"{time:.1f} {','.join(map(str, tile))}" for time, tile in best)


def trained(pixels: int) -> Iterator[str]:
    x, to, inside, active = (drawn(pixels, size) for size in (CHANNELS, CHANNELS, INSIDE, INSIDE))
    into, out, y = drawn(INSIDE, CHANNELS), drawn(CHANNELS, INSIDE), torch.empty_like(to)
    biases = drawn(INSIDE, dtype=torch.float32), drawn(CHANNELS, dtype=torch.float32)

    def of(tile: ProductTile, *tensors: Tensor, silu: bool) -> None:
        feed_forward.TILE = feed_forward.OTHER_TILE = tile
        feed_forward._product(*tensors, silu=silu)

    yield by_tile("into, with silu", TILES, lambda tile: of(tile, x, into, biases[0], inside, active, silu=True))
    yield by_tile("out, with residual", TILES, lambda tile: of(tile, active, out, biases[1], y, to, silu=False))
    yield f"{'gradient of silu':>34}: {took(lambda: feed_forward._silu_gradient(active, inside)):.1f}"
    for name, work in {
        "cuBLAS into": lambda: torch.mm(x, into.t(), out=inside),
        "cuBLAS out, with residual": lambda: torch.addmm(to, active, out.t(), out=y),
        "silu alone": lambda: torch.nn.functional.silu(inside),
        "a copy": lambda: active.copy_(inside),
    }.items():
        yield f"{name:>34}: {took(work):.1f}"


def of_wave(pixels: int) -> Iterator[str]:
    blocks = wave.WaveBlocks.__new__(wave.WaveBlocks)
    blocks.pixels, blocks.h = pixels, torch.zeros(pixels, CHANNELS, device=DEVICE)
    one = torch.ones(1, device=DEVICE)
    for name, terms, columns in (("into", CHANNELS, INSIDE), ("out", INSIDE, CHANNELS)):
        x, matrix = (drawn(*shape, dtype=torch.float32) for shape in ((pixels, terms), (terms, columns)))
        halves, split = (x.half(), x.half()), wave.Split.of(matrix / 100)
        result = None if name == "out" else (x.new_empty(pixels, columns).half(), x.new_empty(pixels, columns).half())
        bias = torch.zeros(columns, device=DEVICE)

        def work(tile: ProductTile) -> None:
            blocks._product(halves, split, bias, (split.scale, one), result, tile)  # noqa: B023  # called at once

        yield by_tile(f"wave, {name}", SMALL_TILES, work)
        yield f"{f'cuBLAS {name}, fp32':>34}: {took(lambda x=x, matrix=matrix: x @ matrix):.1f}"


def main() -> None:
    lines = [f"{torch.cuda.get_device_name() if GPU else 'cpu'}; {CHANNELS} features, {INSIDE} inside; us, tile"]
    for pixels in TRAINED:
        lines += [f"{pixels} pixels of a step", *trained(pixels)]
    for pixels in DRAWN:
        lines += [f"{pixels} pixels drawn", *of_wave(pixels)]
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
