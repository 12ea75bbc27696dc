"""`pixeltui bench`: the speed of this machine, side by side with the naive method."""

import argparse
import json
from typing import Any

from pixeltui.commands import options
from pixeltui.errors import UsageError

KINDS = {
    "train": "images a second, beside full masked kernels in fp32 fed image by image",
    "sample": "images a second, cached beside one full forward a pixel",
}
BATCHES = {"train": "16", "sample": "1,16,64"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()))
    parser.add_argument("--preset", default="pixelcnn", metavar="NAME", help="model to measure (default: pixelcnn)")
    parser.add_argument("--batch", metavar="B[,B...]", help="images at once (default: 16 to train, 1,16,64 to sample)")
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
    from pixeltui.config import load_config
    from pixeltui.train.precision import pick_device

    text = args.batch or BATCHES[args.kind]
    try:
        batches = [int(batch) for batch in text.split(",")]
    except ValueError:
        raise UsageError(f"--batch {text}: expected numbers of images, such as 1,16,64") from None
    if min(batches) < 1:
        raise UsageError(f"--batch {text}: expected 1 image or more")
    config, device = load_config(preset=args.preset), pick_device(args.device)
    if args.kind == "sample":
        from pixeltui.commands.sampling_speed import measure

        result = measure(config, batches, args.repeats, device)
        print(json.dumps(result, indent=2) if args.json else as_text(result, args.preset))
        return 0
    from pixeltui.commands import training_speed

    results = []
    for batch in batches:
        result = training_speed.measure(config, batch, args.repeats, device)
        results.append({**result, "peak_gib": training_speed.peak_memory(args.preset, batch, args.device)})
    print(json.dumps(results, indent=2) if args.json else training_text(results, args.preset))
    return 0


def training_text(results: list[dict[str, Any]], preset: str) -> str:
    """A table, and how it was measured."""
    first = results[0]
    lines = [
        f"training, {preset}, {first['parameters'] / 1e6:.2f} M parameters, {first['image']}, "
        f"{first['gflop_per_image']:.1f} GFLOP an image, {first['device']}, {first['threads']} threads, "
        f"{first['precision']}",
        f"{'batch':>5}  {'images/s':>8}  {'naive':>6}  {'ratio':>6}  {'of the matrix rate':>18}  {'data ratio':>10}  "
        f"{'optimizer':>9}  {'EMA':>7}  {'peak GiB':>8}  {'naive':>6}",
    ]
    lines += [
        f"{row['batch']:>5}  {row['images_per_second']:>8.2f}  {row['naive_images_per_second']:>6.2f}  "
        f"{row['ratio']:>5.2f}x  {row['share_of_matrix_rate']:>18.0%}  {row['data_ratio']:>9.0f}x  "
        f"{row['optimizer_ms']:>6.1f} ms  {row['ema_ms']:>4.1f} ms  {row['peak_gib']['ours']:>8.2f}  "
        f"{row['peak_gib']['naive']:>6.2f}"
        for row in results
    ]
    return "\n".join([*lines, first["method"]])


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
