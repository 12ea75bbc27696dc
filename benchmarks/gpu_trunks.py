"""The trunks at full size beside one another on a GPU: a training step, as it is and compiled, and samples.

Usage: python benchmarks/gpu_trunks.py [FILE]; some three minutes, most of it compiling. Without a GPU it only tries
itself out, on tiny models. What they are worth: likelihood.py --device cuda --full-size with the same keys.
"""

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from gpu_sampling import GPU, wait
from told import tell
from torch import Tensor

from pixeltui.commands.training_speed import random_data
from pixeltui.config import load_config
from pixeltui.core import build_model
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.update import Updater

TRUNKS = {
    "two_stream": 176,
    "single_stack": 240,
    "depthwise": 224,
}
"""channels for 7.0 M parameters"""
BATCH = 64 if GPU else 2
STEPS = 20 if GPU else 1
SAMPLED = (1, 16, 64, 256) if GPU else (1,)
DEVICE = pick_device("auto")


def shifted_sums(self: DepthwiseConv2d, x: Tensor) -> Tensor:
    """DepthwiseConv2d.forward as a sum over taps, which a compiler can make one kernel of, with the norm after it."""
    half = self.kernel_size[0] - 1
    padded = F.pad(x, (half, half, half, 0))
    weight = self.weight[:, 0].to(x.dtype)
    y = self.bias.to(x.dtype)[:, None, None] if self.bias is not None else x.new_zeros(1, 1, 1)
    for row, column in self.mask.nonzero().tolist():
        part = padded[:, :, row : row + x.shape[2], column : column + x.shape[3]]
        y = y + part * weight[:, row, column, None, None]
    return y


def config_of(architecture: str, channels: int) -> list[str]:
    sizes = [f"model.channels={channels}"] if GPU else ["model.channels=8", "model.blocks=2"]
    return [f"model.architecture={architecture}", f"train.batch_size={BATCH}", *sizes]


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
    plain: Callable[[DepthwiseConv2d, Tensor], Tensor] = DepthwiseConv2d.forward
    for architecture, channels in TRUNKS.items():
        keys = config_of(architecture, channels)
        ways: list[tuple[str, bool, Callable[[DepthwiseConv2d, Tensor], Tensor]]] = [("as it is", False, plain)]
        ways.append(("compiled", True, plain))
        if architecture == "depthwise":
            ways.append(("compiled, sums over taps", True, shifted_sums))
        for name, compiled, forward in ways:
            DepthwiseConv2d.forward = forward  # type: ignore[method-assign]
            step, begun = step_ms(keys, compiled=compiled)
            lines.append(f"{architecture} {channels}, {name}: {step:.1f} ms a step after {begun:.0f} s")
        DepthwiseConv2d.forward = plain  # type: ignore[method-assign]
        speeds = ", ".join(f"{batch}: {sampled(keys, batch):.4g}" for batch in SAMPLED)
        lines.append(f"{architecture} {channels}, images/s sampled at {speeds}")
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
