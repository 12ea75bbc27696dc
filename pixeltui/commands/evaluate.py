"""`pixeltui eval`: the likelihood of a split under a checkpoint."""

import argparse
import json
import sys
from typing import Any

import msgspec

from pixeltui.commands import options
from pixeltui.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: test")
    parser.add_argument("--data", metavar="PATH", help="other data of the same shape and levels: a name or a path")
    options.add_checkpoint(parser)
    parser.add_argument("--batch-size", type=options.whole(least=1), metavar="N", help="images a forward pass")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from pixeltui.data import DataSet, load
    from pixeltui.store.rundir import find_run
    from pixeltui.train.evaluate import image_nats, likelihood
    from pixeltui.train.load import load_model
    from pixeltui.train.precision import pick_device

    run_dir = find_run(args.runs_dir, args.run)
    device = pick_device(args.device)
    loaded = load_model(run_dir, checkpoint=args.checkpoint, weights=args.weights, device=device, warn=options.warn)
    data_config = loaded.config.data
    if args.data is not None:
        data_config = msgspec.structs.replace(data_config, name=args.data, levels=loaded.data["levels"])
    data: DataSet = load(data_config)
    _check(data, loaded.data, same=args.data is None)
    split = getattr(data.to(device), args.split)
    with Progress(transient=True, disable=not sys.stderr.isatty(), console=Console(stderr=True)) as progress:
        task = progress.add_task(f"scoring {len(split)} images", total=len(split))
        nats = image_nats(
            loaded.model,
            split,
            batch_size=args.batch_size or loaded.config.train.batch_size,
            progress=lambda done, total: progress.update(task, completed=done),
        )
    result = likelihood(nats, split.labels)
    report = {
        "run": run_dir.name,
        "checkpoint": loaded.checkpoint,
        "step": loaded.step,
        "weights": loaded.weights,
        "data": data.name,
        "split": args.split,
        "images": result.images,
        "bits_per_dim": result.bits_per_dim,
        "bits_per_dim_se": result.bits_per_dim_se,
        "nats_per_dim": result.nats_per_dim,
        "nats_per_dim_se": result.nats_per_dim_se,
        "perplexity": result.perplexity,
        "perplexity_se": None if result.nats_per_dim_se is None else result.perplexity * result.nats_per_dim_se,
        "per_class": {data.classes[label]: bits for label, bits in result.per_class.items()},
    }
    print(json.dumps(report, indent=1) if args.json else _text(report))
    return 0


def _check(data: Any, trained: dict[str, Any], *, same: bool) -> None:
    if same and data.checksum != trained["checksum"]:
        print("pixeltui: the data set is not the one trained on: its images, labels or splits changed", file=sys.stderr)
    if list(data.image_shape) != trained["image_shape"] or data.levels != trained["levels"]:
        channels, height, width = trained["image_shape"]
        came = "x".join(map(str, data.image_shape))
        raise UserError(
            f"{data.name}: the model expects images of {channels}x{height}x{width} (channels, height, width) with "
            f"{trained['levels']} levels, got {came} with {data.levels}"
        )
    if len(data.classes) > len(trained["classes"]) > 0:
        raise UserError(f"{data.name} has {len(data.classes)} classes, the model knows {len(trained['classes'])}")


def _text(report: dict[str, Any]) -> str:
    def figure(name: str, unit: str) -> str:
        se = report[f"{name}_se"]
        return f"{unit:<12}{report[name]:9.4f}" + ("" if se is None else f" ± {se:.4f}")

    weights = f"{report['checkpoint']} (step {report['step']}, {report['weights']} weights)"
    lines = [
        f"{report['run']}: {weights}",
        f"{report['data']}, {report['split']} split, {report['images']} images",
        figure("bits_per_dim", "bits/dim"),
        figure("nats_per_dim", "nats/dim"),
        figure("perplexity", "perplexity"),
    ]
    if report["per_class"]:
        width = max(map(len, report["per_class"]))
        lines.append("bits/dim of each class")
        lines += [f"  {name:<{width}}  {bits:.4f}" for name, bits in report["per_class"].items()]
    return "\n".join(lines)
