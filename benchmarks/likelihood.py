"""Variants of a model after equal work of the processor: bits/dim on images that were not trained on.

    python benchmarks/likelihood.py --data IMAGES.npz --cpu-seconds 420 pixelcnn baseline "adamw: train.optimizer=adamw"

A variant is a preset's name, or "NAME: KEY=VALUE ..." on top of the preset pixelcnn (or of `preset=...`). All are
scaled down alike (SCALED). Each trains on one thread until its process has used that many seconds of CPU, its start-up
and the scoring not counted; the learning rate follows the share of them that is used. The data is split as in
training; `--split val` is for choosing, `--split test` for reporting. One JSON line a variant goes to --out.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch

from pixeltui.config import Config, load_config, preset_names
from pixeltui.core import build_model
from pixeltui.data import DataSet, load
from pixeltui.train.evaluate import image_nats
from pixeltui.train.optim import lr_at
from pixeltui.train.precision import pick_precision
from pixeltui.train.update import Updater

SCALED = ["model.channels=48", "model.blocks=6", "train.batch_size=8", "train.ema_decay=0.995"]
SHARES = 10_000
"""steps of the schedule, in shares of the budget"""
WARMUP = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a .npz of images")
    parser.add_argument("--cpu-seconds", type=float, default=420.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--out", type=Path, help="file that a JSON line a variant is added to")
    parser.add_argument("variants", nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for variant in args.variants:
        name, config = variant_config(variant, args.data, args.seed)
        result = {"variant": name, "seed": args.seed, "split": args.split}
        result |= train(config, load(config.data), args.cpu_seconds, args.split)
        line = json.dumps(result)
        print(line, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(line + "\n")


def variant_config(variant: str, data: str, seed: int) -> tuple[str, Config]:
    name, _, keys = variant.partition(":")
    overrides = dict(key.split("=", 1) for key in keys.split())
    preset = overrides.pop("preset", name if name in preset_names() else "pixelcnn")
    own = [f"{key}={value}" for key, value in overrides.items()]
    return name, load_config(preset=preset, overrides=[*SCALED, f"data.name={data}", f"train.seed={seed}", *own])


def train(config: Config, data: DataSet, cpu_seconds: float, split: str) -> dict[str, float | int]:
    """Trains for so long; bits/dim of EMA and raw weights on the split, with the standard error of the first."""
    torch.manual_seed(config.train.seed)
    model = build_model(config, data.image_shape, data.levels, data.num_classes)
    precision = pick_precision(config.train.precision, torch.device("cpu"))
    updater = Updater(config, model, copy.deepcopy(model), data, precision)
    began, step = time.process_time(), 0
    while (share := (time.process_time() - began) / cpu_seconds) < 1:
        schedule = {"total_steps": SHARES, "warmup_steps": WARMUP * SHARES, "schedule": config.train.schedule}
        updater.update(step, lr_at(int(share * SHARES), peak=config.train.lr, **schedule))
        step += 1
    images = data.val if split == "val" else data.test
    ema, raw = (image_nats(one, images, batch_size=32) / math.log(2) for one in (updater.average, model))
    return {
        "bits_per_dim": round(float(ema.mean()), 4),
        "bits_per_dim_se": round(float(ema.std()) / math.sqrt(len(ema)), 4),
        "raw_bits_per_dim": round(float(raw.mean()), 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "images_seen": step * config.train.batch_size,
        "images": len(ema),
        "cpu_seconds": round(cpu_seconds),
    }


if __name__ == "__main__":
    main()
