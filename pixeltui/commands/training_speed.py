"""Measures training beside the naive way to train the same network, and beside what the machine could do at best."""

import copy
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils.flop_counter import FlopCounterMode

from pixeltui.commands.naive_training import NaiveTraining
from pixeltui.config import Config, load_config
from pixeltui.core import PixelCNNLoss, build_model
from pixeltui.data import DataSet, Split
from pixeltui.train.precision import (
    DTYPES,
    STEPS_WORTH_COMPILING,
    compile_for,
    pick_device,
    pick_precision,
    set_up,
)
from pixeltui.train.update import Updater

IMAGE = (3, 32, 32)
IMAGES = 2048
STEPS = {"cpu": 1, "cuda": 5}
"""timed in a measurement: on a CPU one takes seconds"""
SQUARE = {"cpu": 1024, "cuda": 8192}
"""rows of the product that tells the matrix rate: smaller ones do not fill a GPU"""
PREFETCHED = 5
"""batches that naive workers may have ready, which cost nothing to take"""
METHOD = (
    "medians of {repeats} measurements of {steps} step(s), both sides in turn; random images. naive: full masked\n"
    "kernels, fp32, images changed one by one in 2 worker processes, weights updated and averaged one by one.\n"
    "matrix rate: of a {square:,} x {square:,} product in our precision; the share counts our network's products alone."
)


def random_data() -> DataSet:
    """uint8 noise in ten classes, of which every image costs the same as a real one."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, *IMAGE), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(IMAGES) % 10)
    return DataSet("noise", split, split, split, 256, tuple(map(str, range(10))), "")


class Sides:
    """Our updater and the naive loop, on the same network, data and batch."""

    def __init__(self, config: Config, device: torch.device) -> None:
        set_up(config.train.precision, deterministic=False)
        data = random_data()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(config, IMAGE, 256, 10)
        self.config, self.device = config, device
        self.precision = pick_precision(config.train.precision, device)
        own = copy.deepcopy(model).to(device)
        average = copy.deepcopy(own)
        steps, deterministic = STEPS_WORTH_COMPILING, config.train.deterministic
        self.compiled = compile_for(own, config.train.compile, device, steps=steps, deterministic=deterministic)
        self.ours = Updater(config, own, average, data.to(device), self.precision)
        self.naive = NaiveTraining(model, data, config.data.augmentations, config.train, device)
        self.done = 0

    def our_step(self) -> None:
        self.ours.update(self.done, self.config.train.lr)
        self.done += 1


def measure(config: Config, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Images a second of both sides, and where our time goes, as a JSON tree."""
    config = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, batch_size=batch))
    sides = Sides(config, device)
    times = _times(sides, repeats)
    median = {name: statistics.median(found) for name, found in times.items()}
    ours, steps = sides.ours, STEPS[device.type]
    flops, rate = step_flops(sides), 2 * SQUARE[device.type] ** 3 / min(times["matrix"])
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "precision": sides.precision.name,
        "compile": sides.compiled,
        "batch": batch,
        "image": "x".join(map(str, (*IMAGE[1:], IMAGE[0]))),
        "parameters": sum(parameter.numel() for parameter in ours.model.parameters()),
        "images_per_second": batch / median["step"],
        "naive_images_per_second": batch / median["naive_step"],
        "ratio": statistics.median(n / o for n, o in zip(times["naive_step"], times["step"], strict=True)),
        "data_ratio": median["naive_data"] / median["data"],
        "data_share": median["data"] / median["step"],
        "optimizer_ms": 1000 * median["optimizer"],
        "ema_ms": 1000 * median["ema"],
        "gflop_per_image": flops / batch / 1e9,
        "matrix_gflops": rate / 1e9,
        "share_of_matrix_rate": flops / median["step"] / rate,
        "method": METHOD.format(repeats=repeats, steps=steps, square=SQUARE[device.type]),
    }


def _times(sides: Sides, repeats: int) -> dict[str, list[float]]:
    """Seconds of each piece of work, `repeats` times, all in turn."""
    device, ours = sides.device, sides.ours

    def seconds(work: Callable[[], object], times: int) -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(times):
            work()
        _wait(device)
        return (time.perf_counter() - began) / times

    for warm in (sides.our_step, sides.our_step, sides.naive.step, sides.naive.step):
        warm()
    square = torch.rand((SQUARE[device.type],) * 2, device=device, dtype=DTYPES[sides.precision.name])
    times: dict[str, list[float]] = {}
    steps = STEPS[device.type]
    works: dict[str, tuple[Callable[[], object], int]] = {
        "step": (sides.our_step, steps),
        "naive_step": (sides.naive.step, steps),
        "data": (lambda: ours.batch(sides.done), 10),
        "naive_data": (lambda: next(sides.naive.batches), 10),
        "optimizer": (lambda: _optimizer_step(ours), 5),
        "ema": (lambda: ours.ema.update(10**6, sides.config.train.ema_decay), 5),
        "matrix": (lambda: torch.mm(square, square), 10),
    }
    for _ in range(repeats):
        for name, (work, count) in works.items():
            for _ in range(PREFETCHED if name == "naive_data" else 0):
                work()
            times.setdefault(name, []).append(seconds(work, count))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _optimizer_step(ours: Updater) -> None:
    """Gradients of zero cost what others cost; the weights are not used any more as they were."""
    for parameter in ours.model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    ours.optimizer.step()


def step_flops(sides: Sides) -> int:
    """Floating-point operations of the products in a forward and backward pass of our network."""
    images, labels = sides.ours.batch(0)
    mapping = {torch.ops.aten.convolution_backward: _backward_flops}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, sides.precision.autocast():
        PixelCNNLoss()(sides.ours.model, images, labels).nats_per_dim.backward()
    sides.ours.optimizer.zero_grad()
    return int(counter.get_total_flops())


def _backward_flops(grad: torch.Size, x: torch.Size, weight: torch.Size, *rest: Any, **_: Any) -> int:
    """Of a convolution, from the shapes of its arguments: the counter's own formula takes groups for dense."""
    wanted = rest[-1]
    return int(2 * grad[0] * math.prod(grad[2:]) * math.prod(weight) * (wanted[0] + wanted[1]))


def peak_memory(preset: str, batch: int, device: str) -> dict[str, float]:
    """Peak GiB of two steps of each side, each in a process of its own: on CUDA of the GPU, else of the process."""
    found = {}
    for side in ("ours", "naive"):
        words = [sys.executable, "-m", "pixeltui.commands.training_speed", side, preset, str(batch), device]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found[side] = float(done.stdout.split()[-1])
    return found


def peak_of_process() -> float:
    """GiB. Not by getrusage where there is a choice: Linux hands down to a program the peak of what started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30


def _print_peak(side: str, preset: str, batch: str, device_name: str) -> None:
    device = pick_device(device_name)
    config = load_config(preset=preset, overrides=[f"train.batch_size={batch}"])
    sides = Sides(config, device)
    for _ in range(2):
        sides.our_step() if side == "ours" else sides.naive.step()
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated(device) / 2**30)
        return
    print(peak_of_process())


if __name__ == "__main__":
    _print_peak(*sys.argv[1:])
