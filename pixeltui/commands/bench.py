"""`pixeltui bench`: speed side by side with the naive method, of the console, and compressed size with likelihood."""

import argparse
from collections.abc import Callable
from typing import Any

from pixeltui.commands import options
from pixeltui.errors import UsageError, printable_lines
from pixeltui.store.summary import json_document

BATCHES = {"train": "16", "sample": "1,16,64"}
OF_SPEED = ("train", "sample", "ui")
"""what is measured where no kind is named"""
Measured = tuple[Any, str]
"""a JSON tree, and the same for people"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)  # as behind the kind
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", help=f"default: {', '.join(OF_SPEED)} in turn")
    train = _kind(kinds, "train", _train, "images a second, beside full masked kernels in fp32 fed image by image")
    sample = _kind(kinds, "sample", _sample, "images a second, cached beside one full forward a pixel")
    for speed in (train, sample):
        speed.add_argument("--preset", default="pixelcnn", metavar="NAME", help="model to measure (default: pixelcnn)")
        of_batch = f"images at once (default: {BATCHES['train' if speed is train else 'sample']})"
        speed.add_argument("--batch", metavar="B[,B...]", help=of_batch)
        of_repeats = "measurements, of which medians are shown"
        speed.add_argument("--repeats", type=options.whole(least=1), default=3, metavar="N", help=of_repeats)
        options.add_device(speed)
    options.add_precision(sample)
    of_console = "the console beside headless training: images a second, keys, bytes, start-up, many and long runs"
    console = _kind(kinds, "ui", _ui, of_console)
    of_load = "model that trains meanwhile, on the built-in digits (default: quick)"
    console.add_argument("--preset", default="quick", metavar="NAME", help=of_load)
    console.add_argument("--repeats", type=options.whole(least=1), default=3, metavar="N", help=of_repeats)
    options.add_device(console)
    codec = _kind(
        kinds, "codec", _codec, "size of compressed held-out images beside their bits/dim, decoded bit for bit"
    )
    of_run = "default: the newest finished run; where there is none, a small model of the built-in digits is trained"
    codec.add_argument("run", nargs="?", metavar="RUN", help=of_run)
    of_images = "images of the test split (default: 64, more where they are small)"
    codec.add_argument("--images", type=options.whole(least=1), metavar="N", help=of_images)
    batch = options.whole(least=1, most=1024)  # codec.MOST
    codec.add_argument("--batch", type=batch, default=64, metavar="B", help="images coded at once, up to 1,024")
    options.add_checkpoint(codec)


def _kind(kinds: Any, name: str, do: Callable[[argparse.Namespace], Measured], meaning: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=meaning, description=meaning, allow_abbrev=False)
    parser.set_defaults(do=do)
    of_json = "one JSON document on stdout"
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=of_json)
    options.add_common(parser, hidden=True)
    return parser


def run(args: argparse.Namespace) -> int:
    if args.kind is not None:
        result, text = args.do(args)
    else:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        parts: dict[str, Measured] = {}
        for kind in OF_SPEED:
            words = parser.parse_args([kind])
            parts[kind] = words.do(words)
        result = {kind: tree for kind, (tree, _) in parts.items()}
        text = "\n\n".join(text for _, text in parts.values())
    print(json_document(result) if args.json else text)
    return 0


def _train(args: argparse.Namespace) -> Measured:
    batches = _batches(args)
    from pixeltui.commands import training_speed
    from pixeltui.config import load_config
    from pixeltui.train.precision import pick_device

    config, device = load_config(preset=args.preset), pick_device(args.device)
    results = []
    for batch in batches:
        result = training_speed.measure(config, batch, args.repeats, device)
        results.append({**result, "peak_gib": training_speed.peak_memory(args.preset, batch, args.device)})
    return results, training_text(results, args.preset)


def _sample(args: argparse.Namespace) -> Measured:
    batches = _batches(args)
    from pixeltui.commands.sampling_speed import measure
    from pixeltui.config import load_config
    from pixeltui.train.precision import pick_device

    result = measure(load_config(preset=args.preset), batches, args.repeats, pick_device(args.device), args.precision)
    return result, as_text(result, args.preset)


def _ui(args: argparse.Namespace) -> Measured:
    from pixeltui.commands import console_speed, console_speed_text

    result = console_speed.measure(args.preset, args.repeats, (f"train.device={args.device}",))
    return result, console_speed_text.as_text(result)


def _codec(args: argparse.Namespace) -> Measured:
    from pixeltui.commands import codec_size

    result = codec_size.measure(args)
    return result, printable_lines(codec_size.as_text(result))


def _batches(args: argparse.Namespace) -> list[int]:
    """Raises UsageError."""
    text = args.batch or BATCHES[args.kind]
    try:
        batches = [int(batch) for batch in text.split(",")]
    except ValueError:
        raise UsageError(f"--batch {text}: expected numbers of images, such as 1,16,64") from None
    if min(batches) < 1:
        raise UsageError(f"--batch {text}: expected 1 image or more")
    return batches


def training_text(results: list[dict[str, Any]], preset: str) -> str:
    """A table, and how it was measured."""
    first = results[0]
    lines = [
        f"training, {preset}, {first['parameters'] / 1e6:.2f} M parameters, {first['image']}, "
        f"{first['gflop_per_image']:.1f} GFLOP an image, {first['device']}, "
        f"{options.counted(first['threads'], 'thread')}, {first['precision']}",
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
        f"{options.counted(result['threads'], 'thread')}, {result['precision']}, steps {result['steps']}",
        f"{'batch':>5}  {'images/s':>9}  {'naive':>9}  {'ratio':>8}  {'of the floor':>12}  {'GFLOP/s':>8}  {'GB/s':>6}",
    ]
    lines += [
        f"{row['batch']:>5}  {row['images_per_second']:>9.3g}  {row['naive_images_per_second']:>9.2g}  "
        f"{row['ratio']:>7.0f}x  {row['share_of_floor']:>12.0%}  {row['matrix_gflops']:>8.0f}  "
        f"{row['weights_gbps']:>6.0f}"
        for row in result["batches"]
    ]
    if any(row["share_of_floor"] > 1 for row in result["batches"]):
        lines.append("faster than the floor: something else had the processors in between; measure on an idle machine")
    return "\n".join([*lines, result["method"]])
