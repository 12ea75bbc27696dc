"""Bits/dim after equal CPU time: our training loop beside the naive one, same network, images and learning rates.

    python benchmarks/equal_time.py --data IMAGES.npz --cpu-seconds 150

Three sides, one after another, each on one thread until its process has used that many seconds of CPU: the naive loop
of `pixeltui bench train` (full masked kernels, fp32, AdamW; the CPU of its two workers is not counted), ours with
AdamW too, and ours as it is, with Muon. The network is scaled down as in likelihood.py, and scored on the test split.
One JSON line a side goes to --out.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from likelihood import SHARES, WARMUP, bits_per_dim, variant_config
from torch import nn

from pixeltui.commands.naive_training import NaiveTraining
from pixeltui.commands.training_speed import peak_of_process
from pixeltui.config import Config
from pixeltui.core import build_model
from pixeltui.data import load
from pixeltui.train.optim import lr_at
from pixeltui.train.precision import pick_precision, set_up
from pixeltui.train.update import Updater

SIDES = {"naive": "train.optimizer=adamw", "ours, adamw": "train.optimizer=adamw", "ours": "train.optimizer=muon"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a .npz of images")
    parser.add_argument("--cpu-seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=SIDES, action="append", help="default: all; alone, peak_gib is its own")
    parser.add_argument("--out", type=Path, help="file that a JSON line a side is added to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    set_up(deterministic=False)
    for side in args.side or SIDES:
        _, config, _ = variant_config(f"{side}: {SIDES[side]}", args.data, args.seed)
        line = json.dumps({"side": side, **trained(side, config, args.cpu_seconds)})
        print(line, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(line + "\n")


def trained(side: str, config: Config, cpu_seconds: float) -> dict[str, float | int]:
    data, device = load(config.data), torch.device("cpu")
    torch.manual_seed(config.train.seed)
    model = build_model(config, data.image_shape, data.levels, data.num_classes)
    step: Callable[[int, float], None]
    average: nn.Module
    if side == "naive":
        naive = NaiveTraining(model, data, config.data.augmentations, config.train, device)
        average, raw = naive.average.module, naive.model

        def step(number: int, lr: float) -> None:
            for group in naive.optimizer.param_groups:
                group["lr"] = lr
            naive.step()
    else:
        ours = Updater(config, model, copy.deepcopy(model), data, pick_precision(config.train.precision, device))
        average, raw, step = ours.average, model, ours.update
    schedule = {"total_steps": SHARES, "warmup_steps": WARMUP * SHARES, "schedule": config.train.schedule}
    began, number = time.process_time(), 0
    while (share := (time.process_time() - began) / cpu_seconds) < 1:
        step(number, lr_at(int(share * SHARES), peak=config.train.lr, **schedule))
        number += 1
    peak = peak_of_process()
    mean, error = bits_per_dim(average.eval(), data.test)
    return {
        "bits_per_dim": round(mean, 4),
        "bits_per_dim_se": round(error, 4),
        "raw_bits_per_dim": round(bits_per_dim(raw.eval(), data.test)[0], 4),
        "images_seen": number * config.train.batch_size,
        "images_per_cpu_second": round(number * config.train.batch_size / cpu_seconds, 2),
        "peak_gib": round(peak, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_seconds": round(cpu_seconds),
    }


if __name__ == "__main__":
    main()
