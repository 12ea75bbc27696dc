"""What sampling holds in memory, and how long an image takes, against the image's size: `pixelcnn` at batch 4.

    python benchmarks/sampling_memory.py [--batch 4]

A process for each figure: the peak of its resident memory in MiB over what it held with the model alone, for eight rows
of sampling (a copy of the weights, as matrices and as the compiled steps read them, and buffers); for a completion that
takes in all rows but the last in one pass; for one full forward. Seconds of CPU an image from the eight rows.
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
WHAT = ("rows", "completion", "forward")
ROWS = 8


def peak() -> float:
    """MiB, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(what: str, size: int, batch: int) -> tuple[float, float]:
    """MiB, and seconds of CPU a row."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build_model(Config(), (3, size, size), 256, 10).eval()
    images = torch.zeros(batch, 3, size, size, dtype=torch.uint8)
    before, seconds = peak(), 0.0
    if what == "rows":
        rows = model.sample_stream(batch, seed=0)
        began = time.process_time()
        for _ in range(ROWS):
            next(rows)
        seconds = (time.process_time() - began) / ROWS
    elif what == "completion":
        known = torch.ones(size, size, dtype=torch.bool)
        known[-1] = False
        model.sample(batch, seed=0, given=images, known=known)
    else:
        with torch.no_grad():
            model(images, torch.zeros(batch, dtype=torch.int64))
    return peak() - before, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(*measure(args.one[0], int(args.one[1]), args.batch))
        return
    print("size" + "".join(f"{what:>12}" for what in WHAT) + "     s/image    ms/pixel", flush=True)
    for size in SIZES:
        line, row = f"{size:>4}", 0.0
        for what in WHAT:
            command = [sys.executable, __file__, "--batch", str(args.batch), "--one", what, str(size)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            line, row = line + f"{float(said[0]):>12.0f}", row + float(said[1])
        seconds = row * size / args.batch
        print(line + f"{seconds:>12.3f}{seconds / size**2 * 1e3:>12.4f}", flush=True)


if __name__ == "__main__":
    main()
