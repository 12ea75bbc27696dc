"""The trunks at full size beside one another on a GPU: a training step, as it is and compiled, and samples.

Usage: python benchmarks/gpu_trunks.py [FILE]; some three minutes, most of it compiling. Without a GPU it only tries
itself out, on tiny models. What they are worth: likelihood.py --device cuda --full-size with the same keys.
"""

import copy
import sys
import time
from pathlib import Path

import torch
from gpu_sampling import GPU, wait
from told import tell

from pixeltui.commands.training_speed import random_data
from pixeltui.config import load_config
from pixeltui.core import build_model
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.update import Updater

TRUNKS = {
    "depthwise, the default": [],
    "depthwise, 13 blocks": ["model.blocks=13", "model.channels=256"],
    "two streams": ["model.architecture=two_stream", "model.blocks=17", "model.channels=176"],
    "single stack": ["model.architecture=single_stack", "model.blocks=17", "model.channels=240"],
}
"""of 7 M parameters"""
BATCH = 64 if GPU else 2
STEPS = 20 if GPU else 1
SAMPLED = (1, 16, 64, 256, 1024) if GPU else (1,)
DEVICE = pick_device("auto")


def step_ms(keys: list[str], *, compiled: bool) -> tuple[float, float]:
    """Milliseconds a step, and seconds until the first five are done."""
    config = load_config(overrides=keys)
    set_up(deterministic=False)
    torch.compiler.reset()
    data = random_data().to(DEVICE)
    model = build_model(config, (3, 32, 32), 256, 10).to(DEVICE)
    average = copy.deepcopy(model)
    if compiled:
        model.compile()
    updater = Updater(config, model, average, data, pick_precision("auto", DEVICE))

    def run(first: int, steps: int) -> float:
        began = time.perf_counter()
        for step in range(first, first + steps):
            updater.update(step, 1e-4)
        wait()
        return time.perf_counter() - began

    begun = run(0, 5)
    return 1000 * run(5, STEPS) / STEPS, begun


def sampled(keys: list[str], batch: int) -> float:
    """Whole images a second, the second time, when what is recorded is there."""
    model = build_model(load_config(overrides=keys), (3, 32, 32), 256, 10).to(DEVICE).eval()
    for seed in range(2):
        began = time.perf_counter()
        model.sample(batch, labels=[k % 10 for k in range(batch)], seed=seed)
        wait()
    return batch / (time.perf_counter() - began)


def main() -> None:
    lines = [f"{torch.cuda.get_device_name() if GPU else 'cpu'}, batch {BATCH}"]
    for name, keys in TRUNKS.items():
        keys = [*keys, f"train.batch_size={BATCH}", *([] if GPU else ["model.channels=8", "model.blocks=2"])]
        for compiled in (False, True):
            step, begun = step_ms(keys, compiled=compiled)
            lines.append(f"{name}, {'compiled' if compiled else 'as it is'}: {step:.1f} ms a step after {begun:.0f} s")
        speeds = ", ".join(f"{batch}: {sampled(keys, batch):.4g}" for batch in SAMPLED)
        lines.append(f"{name}, images/s sampled at {speeds}")
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
