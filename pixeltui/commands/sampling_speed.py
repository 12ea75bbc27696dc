"""Measures cached sampling beside naive sampling and beside what the machine could do at best."""

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from pixeltui.commands.training_speed import SQUARE
from pixeltui.config import Config
from pixeltui.core import ConditionalPixelCNN, MaskedConv2d, build_model
from pixeltui.core.by_wave import WaveSampler
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.core.gpu import use
from pixeltui.core.rows import RowTrunk
from pixeltui.core.sampler import Settings, fast_sampler, naive_sample_stream
from pixeltui.core.wavefront import Wavefront
from pixeltui.train.precision import DTYPES

IMAGE = (3, 32, 32)
ROWS = 4
"""of cached sampling timed in a measurement, beside the first: a wave has to build up in it"""
REST = 0.05
"""seconds after which threads of the naive loop's do not look for more work any longer, beside cached sampling"""
METHOD = (
    "medians; cached: the first row and {rows} others a measurement, naive (one full forward a pixel): 1 pixel, both "
    "extrapolated\nto the image; not in it: the start of a stream, {first:.0f} ms where it packs the weights, "
    "{later:.0f} ms where they are packed.\n"
    "floor: the larger of multiply-adds over the rate of a {square:,} x {square:,} product and bytes of weights over "
    "the rate at\nwhich as many bytes are read, for the row's part and for each step's, all measured in turn."
)


def measure(
    config: Config, batches: list[int], repeats: int, device: torch.device, precision: str = "fp32"
) -> dict[str, Any]:
    """Images a second at each batch size, as a JSON tree; random weights, which cost the same as trained ones.

    precision: of cached sampling and of the floor; the naive loop is in fp32.
    """
    dtype = DTYPES[precision]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config, IMAGE, 256, 10).to(device).eval()
    first, later = _starts(model, dtype)
    return {
        "start_seconds": first,
        "later_start_seconds": later,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "steps": _steps(model, dtype),
        "precision": precision,
        "image": "x".join(map(str, (*IMAGE[1:], IMAGE[0]))),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "method": METHOD.format(rows=ROWS, square=SQUARE[device.type], first=1e3 * first, later=1e3 * later),
        "batches": [_measure(model, batch, repeats, dtype) for batch in batches],
    }


def _measure(model: ConditionalPixelCNN, batch: int, repeats: int, dtype: torch.dtype) -> dict[str, Any]:
    device = next(model.parameters()).device
    _, height, width = IMAGE
    row_weights, pixel_weights = weights(model)
    wave = _wave(model)
    steps = height * width if wave is None else wave.end(height - 1)
    side = SQUARE[device.type]
    square = torch.rand(side, side, device=device).to(dtype)
    size = dtype.itemsize
    row_bytes, pixel_bytes = (torch.rand(n * size // 4 + 1, device=device) for n in (row_weights, pixel_weights))
    seconds = partial(_seconds, device)
    naive, cached, floor, rates, reads = [], [], [], [], []
    _few_rows(model, batch, dtype)
    for _ in range(repeats):
        naive.append(seconds(lambda: _one_naive_pixel(model, batch)) * height * width)
        time.sleep(REST)
        first, *others = _few_rows(model, batch, dtype)
        cached.append(first + statistics.median(others) * (height - 1))
        rate = 2 * side**3 / min(seconds(lambda: torch.mm(square, square)) for _ in range(5))
        row_read, pixel_read = (min(seconds(one.sum, 4) for _ in range(5)) for one in (row_bytes, pixel_bytes))
        row_floor = max(2 * batch * width * row_weights / rate, row_read)
        step_floor = max(2 * batch * height * width / steps * pixel_weights / rate, pixel_read)
        floor.append(height * row_floor + steps * step_floor)
        rates.append(rate)
        reads.append(size * pixel_weights / pixel_read)
    ours = statistics.median(cached)
    return {
        "batch": batch,
        "images_per_second": batch / ours,
        "naive_images_per_second": batch / statistics.median(naive),
        "ratio": statistics.median(slow / fast for slow, fast in zip(naive, cached, strict=True)),
        "share_of_floor": statistics.median(best / fast for best, fast in zip(floor, cached, strict=True)),
        "matrix_gflops": statistics.median(rates) / 1e9,
        "weights_gbps": statistics.median(reads) / 1e9,
    }


def _few_rows(model: ConditionalPixelCNN, batch: int, dtype: torch.dtype) -> list[float]:
    """Seconds of the first rows of a stream, each."""
    rows = model.sample_stream(batch, seed=0, dtype=dtype)
    return [_seconds(_device(model), partial(next, rows)) for _ in range(1 + ROWS)]


def _wave(model: ConditionalPixelCNN) -> Wavefront | None:
    """That in which it draws several pixels of an image at once."""
    with torch.no_grad():
        sampler = fast_sampler(model, Settings(1))
    return sampler.trunk.front if isinstance(sampler, WaveSampler) else None


def _seconds(device: torch.device, work: Callable[[], object], times: int = 1) -> float:
    """Each of so many calls, the device's work included."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return (time.perf_counter() - began) / times


def _starts(model: ConditionalPixelCNN, dtype: torch.dtype) -> list[float]:
    """Seconds from the request for an image to the first step of its first row, of a model's first stream and of its
    second; medians of 5."""

    def start(model: ConditionalPixelCNN) -> float:
        began = time.perf_counter()
        model.sample_stream(1, seed=0, dtype=dtype)
        return time.perf_counter() - began

    times = [(start(one), start(one)) for one in (copy.deepcopy(model) for _ in range(5))]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def _steps(model: ConditionalPixelCNN, dtype: torch.dtype) -> str:
    """How a row is computed here: in torch, by the compiled steps or by the Triton kernels."""
    with torch.no_grad():
        sampler = fast_sampler(model, Settings(1, dtype=dtype))
    if sampler is not None and sampler.native is not None:
        return "compiled"
    if sampler is not None and sampler.gpu is not None:
        return "triton"
    failed = use.why_not()
    return f"torch (triton: {failed})" if failed else "torch"


def _one_naive_pixel(model: ConditionalPixelCNN, batch: int) -> None:
    known = torch.ones(IMAGE[1:], dtype=torch.bool)
    known[-1, -1] = False
    given = torch.zeros(batch, *IMAGE, dtype=torch.uint8)
    for _ in naive_sample_stream(model, batch, seed=0, given=given, known=known):
        pass


def weights(model: ConditionalPixelCNN) -> tuple[int, int]:
    """Multiply-adds a pixel of a batch of one: in what is computed a row at a time, and a pixel at a time."""
    total = sum(_live(module) for module in model.modules() if isinstance(module, nn.Conv2d | MaskedConv2d))
    if _wave(model) is not None:
        return 0, total
    trunk = model.trunk.incremental(model.label_index(None, 1, _device(model)), 1, *IMAGE[1:], torch.float32)
    if not isinstance(trunk, RowTrunk):
        return 0, total
    matrices = [trunk.first, *trunk.stack.matrices()]
    head = sum(_live(module) for module in model.head.modules() if isinstance(module, nn.Conv2d | MaskedConv2d))
    pixel = head + sum(matrix.numel() for matrix in matrices)
    return total - pixel, pixel


def _live(module: nn.Module) -> int:
    if isinstance(module, DepthwiseConv2d):
        return module.out_channels * int(module.mask.sum())
    if isinstance(module, MaskedConv2d):
        return module.in_channels * module.out_channels * int(module.mask.sum())
    return module.weight.numel() if isinstance(module, nn.Conv2d) else 0


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
