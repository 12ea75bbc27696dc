"""Training beside the naive loop, and how its time and memory grow. Usage: python benchmarks/bench_train.py [FILE]

Prints, and writes to FILE, the table of `pixeltui bench train` for the preset pixelcnn; the data pipeline alone with
every augmentation; what a checkpoint takes; and milliseconds an image against size, blocks, channels, accumulation.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from told import tell

from pixeltui.commands import training_speed
from pixeltui.commands.bench import training_text
from pixeltui.commands.naive_training import naive_batches
from pixeltui.config import Augmentations, Config, load_config
from pixeltui.core import build_model
from pixeltui.data import DataSet, Split
from pixeltui.data.augment import augment
from pixeltui.data.batches import batch_indices, step_generator
from pixeltui.train.checkpoint import save
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.update import Updater

SMALL = ("model.channels=48", "model.blocks=6", "train.batch_size=8")
GROWTH = {
    "image size": [(size, ()) for size in (8, 16, 32, 64)],
    "blocks": [(32, (f"model.blocks={blocks}",)) for blocks in (3, 6, 12)],
    "channels": [(32, (f"model.channels={channels}",)) for channels in (32, 64, 128)],
    "accumulate": [(32, ("train.batch_size=32", f"train.accumulate={parts}")) for parts in (1, 2, 4)],
}
REPEATS = 3


def updater(config: Config, size: int, device: torch.device) -> Updater:
    images = torch.randint(256, (64, 3, size, size), dtype=torch.uint8)
    split = Split(images, torch.arange(64) % 10)
    data = DataSet("noise", split, split, split, 256, tuple(map(str, range(10))), "").to(device)
    model = build_model(config, (3, size, size), 256, 10).to(device)
    return Updater(config, model, copy.deepcopy(model), data, pick_precision("auto", device))


def growth(device: torch.device) -> list[str]:
    lines = []
    for what, cases in GROWTH.items():
        updaters = [updater(load_config(overrides=[*SMALL, *overrides]), size, device) for size, overrides in cases]
        seconds: list[list[float]] = [[] for _ in cases]
        for repeat in range(REPEATS + 1):
            for index, one in enumerate(updaters):
                began = time.perf_counter()
                one.update(repeat, 1e-3)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                seconds[index].append(time.perf_counter() - began)
        for (size, overrides), one, found in zip(cases, updaters, seconds, strict=True):
            each = 1000 * statistics.median(found[1:]) / one.config.train.batch_size
            lines.append(f"{what:<11} {size:>2}x{size:<2} {' '.join(overrides):<40} {each:>8.2f} ms an image")
    return lines


def data_pipeline(device: torch.device, batch: int = 128) -> list[str]:
    augmentations = Augmentations(random_crop=4, horizontal_flip=True, color_jitter=0.1)
    data = training_speed.random_data()
    resident = data.to(device)
    naive = naive_batches(data, augmentations, batch)

    def ours(step: int) -> None:
        index = batch_indices(len(data.train), batch, 0, step).to(device)
        generator = step_generator(0, "augment", step)
        augment(resident.train.images[index], augmentations, 256, generator)

    def rate(work: Callable[[int], object]) -> float:
        began = time.perf_counter()
        for step in range(8):
            work(step)
        return 8 * batch / (time.perf_counter() - began)

    # Not in turn: workers that fill their queues would take the CPU from ours.
    rates = {"ours": [rate(ours) for _ in range(REPEATS + 1)][1:]}
    for _ in range(training_speed.PREFETCHED):
        next(naive)
    rates["naive"] = [rate(lambda _: next(naive)) for _ in range(REPEATS)]
    own, other = (statistics.median(found) for found in rates.values())
    return [
        f"data, crop, flip and jitter, batch {batch}: {own:.0f} images/s, per-image transforms in 2 workers "
        f"{other:.0f}: {own / other:.0f} times"
    ]


def checkpoints(device: torch.device) -> list[str]:
    one = updater(load_config(overrides=["train.batch_size=4"]), 32, device)
    one.update(0, 1e-3)
    written, copied = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            began = time.perf_counter()
            save(Path(folder) / "one.safetensors", one.tensors(), {})
            written.append(time.perf_counter() - began)
            began = time.perf_counter()
            for tensor in one.tensors().values():
                tensor.detach().to("cpu", copy=True)
            copied.append(time.perf_counter() - began)
        size = (Path(folder) / "one.safetensors").stat().st_size
    return [
        f"checkpoint of {size / 2**20:.0f} MiB: {1000 * statistics.median(written):.0f} ms to write and fsync; "
        f"copying its tensors alone {1000 * statistics.median(copied):.0f} ms"
    ]


def main() -> None:
    device = pick_device("auto")
    set_up(deterministic=False)
    result = training_speed.measure(load_config(), 16, REPEATS, device)
    result["peak_gib"] = training_speed.peak_memory("pixelcnn", 16, "auto")
    lines = [training_text([result], "pixelcnn"), *data_pipeline(device), *checkpoints(device)]
    lines += [
        f"medians of {REPEATS}, pixelcnn with 48 channels, 6 blocks, batch 8 unless said otherwise:",
        *growth(device),
    ]
    tell(lines)


if __name__ == "__main__":
    main()
