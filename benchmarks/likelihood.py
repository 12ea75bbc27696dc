"""Variants of a model after equal work, or as many images: bits/dim on images that were not trained on.

    python benchmarks/likelihood.py --data IMAGES.npz --cpu-seconds 420 pixelcnn baseline "adamw: train.optimizer=adamw"
    python benchmarks/likelihood.py --data IMAGES.npz --images-seen 6000 --list benchmarks/variants.txt --out LINES
    python benchmarks/likelihood_table.py LINES

A variant is a preset's name, or "NAME: KEY=VALUE ..." on top of the preset pixelcnn (or of `preset=...`). All are
scaled down alike (SCALED), but not with --full-size, which is for a GPU: `--device cuda --full-size --images-seen N`.
Keys are a config's, with the names of parts_tried.py too, or those of Tries. Each trains on one thread until its
process has used that many seconds of CPU, its start-up and the scoring not counted, or until it has seen so many
images: other work on the machine does not disturb that. The learning rate follows the share of the budget that is used.
The data is split as in training; `--split val` is for choosing, `--split test` for reporting.
`--curve` also scores 256 of the images along the way, at budgets twice as large each time. One JSON line a variant goes
to --out.
"""

import argparse
import copy
import json
import math
import sys
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import parts_tried
import torch
from optimizers_tried import change
from torch.utils.flop_counter import FlopCounterMode

from pixeltui.config import Config, load_config, preset_names
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.data import DataSet, Split, load
from pixeltui.train import muon
from pixeltui.train.evaluate import image_nats
from pixeltui.train.optim import Ema, lr_at
from pixeltui.train.precision import pick_device, pick_precision, set_up
from pixeltui.train.update import Updater

SCALED = ["model.blocks=6", "train.batch_size=8", "train.ema_decay=0.99"]
SCALED_DECAY = "train.weight_decay=0.1"
"""of presets with Muon: their steps are a fifteenth of the preset's"""
SCALED_CHANNELS = {"depthwise": 80, "single_stack": 48}
"""by architecture, 64 of others; blocks of others take more products, and a gate twice as many"""
SHARES = 10_000
"""steps of the schedule, in shares of the budget"""
WARMUP = 0.05
CURVE_IMAGES = 256
MOMENTUM = muon.MOMENTUM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a .npz of images")
    parser.add_argument("--cpu-seconds", type=float, default=420.0)
    parser.add_argument("--images-seen", type=int, help="the budget in training images, instead of in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full-size", action="store_true", help="blocks, channels and batch as the preset has them")
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--curve", action="store_true", help="bits/dim along the way too")
    parser.add_argument("--out", type=Path, help="file that a JSON line a variant is added to")
    parser.add_argument("--list", type=Path, help="a file of variants, one a line; # begins a remark")
    parser.add_argument("variants", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts_tried.register()
    lines = args.list.read_text().splitlines() if args.list else []
    for variant in [*args.variants, *(line for line in lines if line and not line.startswith("#"))]:
        name, config, tries = variant_config(variant, args.data, args.seed, scaled=not args.full_size)
        result = {"variant": name, "seed": args.seed, "split": args.split}
        budget, device = Budget(args.cpu_seconds, args.images_seen), pick_device(args.device)
        data = load(config.data)
        data = with_flips_as_classes(data) if tries.flips else data
        result |= train(config, tries, data.to(device), budget, args.split, args.curve)
        line = json.dumps(result)
        print(line, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(line + "\n")


@dataclass(frozen=True)
class Tries:
    """What no key of a config does."""

    decay: str = ""
    """linear: to 0 after the warm-up; late: constant, then linear to 0 over the last 40 %; otherwise train.schedule"""
    muon: str = ""
    """a change of Muon (optimizers_tried.py)"""
    momentum: str = ""
    """of Muon, instead of its 0.95"""
    averages: str = ""
    """decays of further averages, "0.98,0.99", each scored too"""
    warmup: str = ""
    """share of the budget, instead of WARMUP"""
    flips: str = ""
    """condition: mirrored images are trained on as classes of their own, not as more of the same"""

    def lr(self, share: float, config: Config) -> float:
        warmup = float(self.warmup or WARMUP)
        if not self.decay or share < warmup:
            schedule = {"total_steps": SHARES, "warmup_steps": warmup * SHARES, "schedule": config.train.schedule}
            return lr_at(int(share * SHARES), peak=config.train.lr, **schedule)
        length = 1 - warmup if self.decay == "linear" else 0.4
        return config.train.lr * min(1.0, (1 - share) / length)


def variant_config(variant: str, data: str, seed: int, *, scaled: bool = True) -> tuple[str, Config, Tries]:
    name, _, keys = variant.partition(":")
    overrides = dict(key.split("=", 1) for key in keys.split())
    preset = overrides.pop("preset", name if name in preset_names() else "pixelcnn")
    chosen = load_config(preset=preset)
    architecture = overrides.get("model.architecture", chosen.model.architecture)
    tries = Tries(**{field.name: overrides.pop(field.name, "") for field in fields(Tries)})
    own = [f"{key}={value}" for key, value in overrides.items()]
    sizes = [*SCALED, f"model.channels={SCALED_CHANNELS.get(architecture, 64)}"] if scaled else []
    sizes += [SCALED_DECAY] if scaled and chosen.train.optimizer == "muon" else []
    return name, load_config(preset=preset, overrides=[*sizes, f"data.name={data}", f"train.seed={seed}", *own]), tries


def with_flips_as_classes(data: DataSet) -> DataSet:
    """Each training image and, in a class of mirrored ones, its mirror image; images to score keep their classes."""
    images, labels = data.train.images, data.train.labels
    assert labels is not None
    both = Split(torch.cat([images, images.flip(3)]), torch.cat([labels, labels + data.num_classes]))
    return replace(data, train=both, classes=(*data.classes, *(f"{name}, mirrored" for name in data.classes)))


@dataclass
class Budget:
    cpu_seconds: float
    images: int | None
    began: float = 0.0

    def used(self, images: int) -> float:
        """The share that is used, after so many images."""
        if self.images is not None:
            return images / self.images
        return (time.process_time() - self.began) / self.cpu_seconds


def train(config: Config, tries: Tries, data: DataSet, budget: Budget, split: str, curve: bool) -> dict[str, Any]:
    """Trains for so long; bits/dim of EMA and raw weights on the split, with the standard error of the first, and of
    the EMA on as many images that were trained on."""
    torch.manual_seed(config.train.seed)
    device = data.train.images.device
    set_up(config.train.precision, deterministic=False)
    model = build_model(config, data.image_shape, data.levels, data.num_classes).to(device)
    precision = pick_precision(config.train.precision, device)
    updater = Updater(config, model, copy.deepcopy(model), data, precision)
    if isinstance(updater.optimizer, muon.MuonAdamW):
        change(updater.optimizer, model, tries.muon)
    muon.MOMENTUM = float(tries.momentum or MOMENTUM)
    averages = {float(decay): Ema(model, copy.deepcopy(model)) for decay in tries.averages.split(",") if decay}
    images = data.val if split == "val" else data.test
    few = images.spread(CURVE_IMAGES)
    marks = [0.5**k for k in range(5, 0, -1)] if curve else []
    points: list[tuple[float, float]] = []
    budget.began, began, step, size = time.process_time(), time.perf_counter(), 0, config.train.batch_size
    while (share := budget.used(step * size)) < 1:
        if marks and share >= marks[0]:
            paused = time.process_time()
            points.append((marks.pop(0), round(bits_per_dim(updater.average, few)[0], 4)))
            print(f"{points[-1]} after {step * size} images", file=sys.stderr, flush=True)
            budget.began += time.process_time() - paused
        updater.update(step, tries.lr(share, config))
        for decay, average in averages.items():
            average.update(step, decay)
        step += 1
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.process_time() - budget.began if device.type == "cpu" else time.perf_counter() - began
    mean, error = bits_per_dim(updater.average, images)
    more = {str(decay): round(bits_per_dim(each.average, images)[0], 4) for decay, each in averages.items()}
    return {
        "bits_per_dim": round(mean, 4),
        "bits_per_dim_se": round(error, 4),
        "raw_bits_per_dim": round(bits_per_dim(model, images)[0], 4),
        "train_bits_per_dim": round(bits_per_dim(updater.average, data.train.spread(len(images)))[0], 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "gflop_per_image": round(forward_gflop(updater.average, data), 4),
        "images_seen": step * size,
        "images": len(images),
        "cpu_seconds" if device.type == "cpu" else "seconds": round(seconds),
        **({"curve": points} if curve else {}),
        **({"averages": more} if more else {}),
    }


def forward_gflop(model: ConditionalPixelCNN, data: DataSet) -> float:
    """Of one image, two operations a multiply-add."""
    labels = None if data.train.labels is None else data.train.labels[:1]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(data.train.images[:1], labels)
    return counter.get_total_flops() / 1e9


def bits_per_dim(model: ConditionalPixelCNN, images: Split) -> tuple[float, float]:
    """Mean over the images, and its standard error."""
    bits = image_nats(model, images, batch_size=32) / math.log(2)
    return float(bits.mean()), float(bits.std()) / math.sqrt(len(bits))


if __name__ == "__main__":
    main()
