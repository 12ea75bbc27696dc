"""`pixeltui bench`: the speed of this machine, side by side with the naive method."""

import argparse
import json
from typing import Any

from pixeltui.commands import options
from pixeltui.errors import UsageError

KINDS = ("sample",)
BATCHES = (1, 16, 64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="sample: images a second, cached beside one full forward a pixel")
    parser.add_argument("--preset", default="pixelcnn", metavar="NAME", help="model to measure (default: pixelcnn)")
    parser.add_argument("--batch", default=",".join(map(str, BATCHES)), metavar="B[,B...]", help="images at once")
    parser.add_argument(
        "--repeats",
        type=options.whole(least=1),
        default=3,
        metavar="N",
        help="measurements, of which medians are shown",
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    from pixeltui.commands.sampling_speed import measure
    from pixeltui.config import load_config
    from pixeltui.train.precision import pick_device

    try:
        batches = [int(batch) for batch in args.batch.split(",")]
    except ValueError:
        raise UsageError(f"--batch {args.batch}: expected numbers of images, such as 1,16,64") from None
    if min(batches) < 1:
        raise UsageError(f"--batch {args.batch}: expected 1 image or more")
    config = load_config(preset=args.preset)
    result = measure(config, batches, args.repeats, pick_device(args.device))
    print(json.dumps(result, indent=2) if args.json else as_text(result, args.preset))
    return 0


def as_text(result: dict[str, Any], preset: str) -> str:
    """A table, and what of it is measured and what extrapolated."""
    lines = [
        f"sampling, {preset}, {result['parameters'] / 1e6:.2f} M parameters, {result['image']}, {result['device']}, "
        f"{result['threads']} threads, steps {result['steps']}",
        f"{'batch':>5}  {'images/s':>9}  {'naive':>9}  {'ratio':>8}  {'of the floor':>12}  {'GFLOP/s':>8}  {'GB/s':>6}",
    ]
    lines += [
        f"{row['batch']:>5}  {row['images_per_second']:>9.3g}  {row['naive_images_per_second']:>9.2g}  "
        f"{row['ratio']:>7.0f}x  {row['share_of_floor']:>12.0%}  {row['matrix_gflops']:>8.0f}  "
        f"{row['weights_gbps']:>6.0f}"
        for row in result["batches"]
    ]
    return "\n".join([*lines, result["method"]])
