"""Cached against naive sampling, and how its time grows with the image. Usage: python benchmarks/bench_sample.py [FILE]

Prints, and writes to FILE, the table of `pixeltui bench sample` for the preset pixelcnn and, interleaved, the seconds a
pixel of cached sampling at growing image sizes.
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from told import tell

from pixeltui.commands.bench import BATCHES, as_text
from pixeltui.commands.sampling_speed import measure
from pixeltui.config import load_config
from pixeltui.core import build_model
from pixeltui.train.precision import pick_device

SIZES = (16, 32, 64)
BATCH = 4
REPEATS = 3


def growth(device: torch.device) -> list[str]:
    """Milliseconds a pixel at each image size: constant where time grows with the pixels."""
    config = load_config(preset="pixelcnn")
    streams = {size: build_model(config, (3, size, size)).to(device).sample_stream(BATCH, seed=0) for size in SIZES}
    seconds: dict[int, list[float]] = {size: [] for size in SIZES}
    for rows in streams.values():
        next(rows)
    for _ in range(REPEATS):
        for size, rows in streams.items():
            began = time.perf_counter()
            next(rows)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[size].append((time.perf_counter() - began) / size)
    return [f"{size:>3} x {size:<3} {1000 * statistics.median(seconds[size]):>8.2f} ms" for size in SIZES]


def main() -> None:
    device = pick_device("auto")
    result = measure(
        load_config(preset="pixelcnn"), [int(batch) for batch in BATCHES["sample"].split(",")], REPEATS, device
    )
    lines = [
        as_text(result, "pixelcnn"),
        f"a pixel at batch {BATCH}, by image size (medians of {REPEATS} rows):",
        *growth(device),
    ]
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
