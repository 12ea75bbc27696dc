"""What sampling holds in memory, and how long an image takes, against the image's size: `pixelcnn` at batch 4.

    python benchmarks/sampling_memory.py [--batch 4]

A process for each size, peaks of its resident memory in MiB over what it held with the model packed: after eight rows;
after a completion, which takes in all rows but the last in one pass; after one full forward. Seconds of CPU an image
from the eight rows.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch

from pixeltui.config import Config
from pixeltui.core import build_model

SIZES = (8, 16, 32, 64)
ROWS = 8


def peak() -> float:
    """MiB, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(size: int, batch: int) -> str:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build_model(Config(), (3, size, size), 256, 10).eval()
    rows = model.sample_stream(batch, seed=0)
    packed = peak()
    began = time.process_time()
    for _ in range(ROWS):
        next(rows)
    seconds = (time.process_time() - began) / ROWS * size / batch
    drawn = peak()
    known = torch.ones(size, size, dtype=torch.bool)
    known[-1] = False
    model.sample(batch, seed=0, given=torch.zeros(batch, 3, size, size, dtype=torch.uint8), known=known)
    completed = peak()
    with torch.no_grad():
        model(torch.zeros(batch, 3, size, size, dtype=torch.uint8), torch.zeros(batch, dtype=torch.int64))
    figures = [value - packed for value in (drawn, completed, peak())]
    milliseconds = seconds / size**2 * 1e3
    return f"{size:>4}" + "".join(f"{value:>12.1f}" for value in figures) + f"{seconds:>12.3f}{milliseconds:>12.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.size:
        print(measure(args.size, args.batch))
        return
    print("size  MiB, rows  completion     forward     s/image    ms/pixel", flush=True)
    for size in SIZES:
        subprocess.run([sys.executable, __file__, "--batch", str(args.batch), "--size", str(size)], check=True)


if __name__ == "__main__":
    main()
