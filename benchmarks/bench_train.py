"""Training beside the naive loop, and what belongs to it.

    python benchmarks/bench_train.py [--device cuda] [--batch 16,64] [--out FILE]

The table of `pixeltui bench train`; the data pipeline alone with every augmentation; what a checkpoint takes. How time
and memory grow: growth.py. Likelihood after equal time: equal_time.py.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from told import tell

from pixeltui.commands import training_speed
from pixeltui.commands.bench import training_text
from pixeltui.commands.naive_training import naive_batches
from pixeltui.config import Augmentations, Config, load_config
from pixeltui.core import build_model
from pixeltui.data.augment import augment
from pixeltui.data.batches import batch_indices, step_generator
from pixeltui.train.checkpoint import save
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.update import Updater

REPEATS = 3
CIFAR10 = 50 * 45_000
"""images of 50 epochs"""


def data_pipeline(device: torch.device, batch: int = 128) -> list[str]:
    augmentations = Augmentations(random_crop=4, horizontal_flip=True, color_jitter=0.1)
    data = training_speed.random_data()
    resident = data.to(device)
    naive = naive_batches(data, augmentations, batch)

    def ours(step: int) -> None:
        index = batch_indices(len(data.train), batch, 0, step).to(device)
        generator = step_generator(0, "augment", step)
        augment(resident.train.images.index_select(0, index), augmentations, 256, generator)

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


def few_images(config: Config) -> Config:
    return msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, batch_size=4))


def checkpoints(config: Config, device: torch.device) -> list[str]:
    model = build_model(config, training_speed.IMAGE, 256, 10).to(device)
    data = training_speed.random_data().to(device)
    one = Updater(few_images(config), model, copy.deepcopy(model), data, pick_precision("auto", device))
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", default="pixelcnn")
    parser.add_argument("--batch", default="16", metavar="B[,B...]")
    parser.add_argument("--out", type=Path, help="file that the text goes to")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    device = pick_device(args.device)
    set_up(deterministic=False)
    config, results = load_config(preset=args.preset, overrides=args.set), []
    for batch in map(int, args.batch.split(",")):
        result = training_speed.measure(config, batch, REPEATS, device)
        results.append({**result, "peak_gib": training_speed.peak_memory(args.preset, batch, args.device)})
    hours = [f"{CIFAR10 / row['images_per_second'] / 3600:.2f} h at batch {row['batch']}" for row in results]
    tell(
        [
            training_text(results, args.preset),
            f"50 epochs of CIFAR-10's 45,000 images at these speeds: {', '.join(hours)}",
            *data_pipeline(device),
            *checkpoints(config, device),
        ],
        args.out,
    )


if __name__ == "__main__":
    main()
