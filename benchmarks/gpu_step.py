"""A training step of the default on a GPU: how long it takes, how long the CPU takes to ask for it, and its kernels.

Usage: python benchmarks/gpu_step.py [FILE]; two minutes, most of them compiling. Without a GPU it only tries itself
out, on a tiny model.
"""

import copy
import sys
import time
from pathlib import Path

import torch
from gpu_sampling import GPU, wait
from told import tell
from torch.profiler import ProfilerActivity, profile

from pixeltui.commands.training_speed import random_data
from pixeltui.config import load_config
from pixeltui.core import build_model
from pixeltui.core.gpu import use
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.update import Updater

DEVICE = pick_device("auto")
STEPS, BEST, FIRST = (20, 4, 5) if GPU else (1, 1, 1)
WIDTH = 8192 if GPU else 64
SIZE = [] if GPU else ["model.channels=8", "model.blocks=2", "model.linear_skip=4"]
KERNELS = 40
RUNS = ((16, False), (64, False), (64, True), (256, True), (512, True)) if GPU else ((2, False),)
"""batch, and whether compiled; compiled ones are told with their kernels"""


def updater(batch: int, *, compiled: bool) -> Updater:
    config = load_config(overrides=[*SIZE, f"train.batch_size={batch}"])
    set_up(deterministic=False)
    torch.compiler.reset()
    data = random_data().to(DEVICE)
    model = build_model(config, data.image_shape, data.levels, data.num_classes).to(DEVICE)
    average = copy.deepcopy(model)
    if compiled:
        model.compile()
    return Updater(config, model, average, data, pick_precision("auto", DEVICE))


def timed(own: Updater, first: int, steps: int) -> tuple[float, float]:
    """Seconds until so many steps are done, and until they are asked for."""
    began = time.perf_counter()
    for step in range(first, first + steps):
        own.update(step, 1e-4)
    asked = time.perf_counter() - began
    wait()
    return time.perf_counter() - began, asked


def kernels(own: Updater) -> list[str]:
    """What a step's kernels take, the longest first."""
    with profile(activities=[ProfilerActivity.CUDA if GPU else ProfilerActivity.CPU]) as found:
        timed(own, 1000, FIRST)
    rows = [
        (
            getattr(one, "self_device_time_total" if GPU else "self_cpu_time_total") / FIRST / 1000,
            one.count / FIRST,
            one,
        )
        for one in found.key_averages()
    ]
    rows.sort(key=lambda row: -row[0])
    whole = f"  kernels {sum(row[0] for row in rows):.2f} ms, {sum(row[1] for row in rows):.0f} of them"
    return [whole, *(f"  {took:8.3f} ms {count:7.1f}  {one.key[:100]}" for took, count, one in rows[:KERNELS])]


def product_rate() -> float:
    """Operations a second of a square product in bf16."""
    left, right = (torch.randn(WIDTH, WIDTH, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    took = []
    for _ in range(5):
        wait()
        began = time.perf_counter()
        for _ in range(10):
            left @ right
        wait()
        took.append(time.perf_counter() - began)
    return 10 * 2 * WIDTH**3 / min(took)


def main() -> None:
    lines = [f"{torch.cuda.get_device_name() if GPU else 'CPU'}, a product: {product_rate() / 1e12:.1f} TFLOP/s"]
    for batch, compiled in RUNS:
        own = updater(batch, compiled=compiled)
        begun, _ = timed(own, 0, FIRST)
        seconds, asked = min(timed(own, FIRST + turn * STEPS, STEPS) for turn in range(BEST))
        ms, asked_ms = 1000 * seconds / STEPS, 1000 * asked / STEPS
        how = f"batch {batch}, {'compiled' if compiled else 'as it is'}"
        lines.append(f"{how}: {ms:.2f} ms, asked for in {asked_ms:.2f}, {batch / ms * 1000:.0f} images/s")
        lines[-1] += f", {begun:.0f} s to the first {FIRST} steps"
        print(lines[-1], file=sys.stderr, flush=True)
        lines += kernels(own) if compiled or not GPU else []
    lines += [f"not compiled: {kind}: {why}" for kind, why in use.given_up.items()]
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
