"""How time and memory grow: training and sampling against image size, blocks, channels, batch and micro-batches.

    python benchmarks/growth.py [--device cpu] [--out FILE.csv] [KEY=VALUE ...]

The preset pixelcnn with 48 channels, 6 blocks, batch 8, one thread, unless said otherwise by a row or by KEY=VALUE.
Times an image are medians. On a CPU each row is measured in two processes of its own, one that trains and one that
samples: times are those of the process's own CPU, which other work on the machine hardly moves, peaks of the whole
process. On CUDA times are of the clock, once steps are recorded, and peaks of the GPU's memory. `idle`: with the model
built.
"""

import argparse
import copy
import csv
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pixeltui.commands.training_speed import peak_of_process
from pixeltui.config import Config, load_config
from pixeltui.core import build_model
from pixeltui.data import DataSet, Split
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.recorded import WARM_UP
from pixeltui.train.update import Updater

SMALL = ("model.channels=48", "model.blocks=6", "train.batch_size=8")
CASES: list[tuple[str, int, tuple[str, ...]]] = [
    *(("image size", size, ()) for size in (8, 16, 32, 64)),
    *(("blocks", 32, (f"model.blocks={blocks}",)) for blocks in (3, 12, 24)),
    *(("channels", 32, (f"model.channels={channels}",)) for channels in (32, 64, 128)),
    *(("batch", 32, (f"train.batch_size={batch}",)) for batch in (2, 16, 32)),
    *(("micro-batches", 32, ("train.batch_size=32", f"train.accumulate={parts}")) for parts in (2, 4)),
    *(
        ("checkpointing", 32, (f"train.batch_size={batch}", "train.checkpoint_activations=true"))
        for batch in (8, 16, 32)
    ),
]
TRAINING = {"micro-batches", "checkpointing"}
"""groups that say nothing of sampling"""
COLUMNS = ("group", "size", "keys", "train_ms", "train_peak_gib", "sample_ms", "sample_peak_gib", "idle_gib")
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="a CSV file")
    parser.add_argument("--only", choices=["train", "sample"], help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=32, help=argparse.SUPPRESS)
    parser.add_argument("keys", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    device = pick_device(args.device)
    if args.only:
        torch.set_num_threads(1)
        print(*measured(args.only, load_config(overrides=[*SMALL, *args.keys]), args.size, device))
        return
    rows = []
    print(("{:<14} {:>5} {:<55}" + " {:>16}" * 5).format(*COLUMNS))
    for group, size, overrides in CASES:
        words = [*args.keys, *overrides]
        train = measured_alone("train", size, device, words)
        sample = ["", "", ""] if group in TRAINING else measured_alone("sample", size, device, words)
        row = [group, str(size), " ".join(words), *train[:2], *sample[:2], train[2]]
        rows.append(row)
        print(("{:<14} {:>5} {:<55}" + " {:>16}" * 5).format(*row), flush=True)
    if args.out:
        with args.out.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])


def measured_alone(what: str, size: int, device: torch.device, keys: list[str]) -> list[str]:
    """ms an image, peak GiB, idle GiB."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return measured(what, load_config(overrides=[*SMALL, *keys]), size, device)
    words = [sys.executable, __file__, "--only", what, "--size", str(size), "--device", str(device), *keys]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def measured(what: str, config: Config, size: int, device: torch.device) -> list[str]:
    set_up(deterministic=False)
    torch.manual_seed(0)
    model = build_model(config, (3, size, size), 256, 10).to(device)
    batch = config.train.batch_size
    if what == "sample":
        idle = peak(device)
        model.eval()
        times = [seconds(lambda: model.sample(batch, seed=0), device) for _ in range(REPEATS + 1)][1:]
    else:
        images = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8)
        split = Split(images, torch.arange(batch) % 10)
        data = DataSet("noise", split, split, split, 256, tuple(map(str, range(10))), "").to(device)
        updater = Updater(config, model, copy.deepcopy(model), data, pick_precision("auto", device))
        idle = peak(device)
        first = WARM_UP + 2 if device.type == "cuda" else 1
        steps = range(first + REPEATS)
        times = [seconds(lambda step=step: updater.update(step, 1e-3), device) for step in steps][first:]
    return [f"{1000 * statistics.median(times) / batch:.2f}", f"{peak(device):.3f}", f"{idle:.3f}"]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began
    began = time.process_time()
    work()
    return time.process_time() - began


def peak(device: torch.device) -> float:
    """GiB so far."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else peak_of_process()


if __name__ == "__main__":
    main()
