"""`pixeltui inspect`: what a checkpoint does inside, and whether its masks, the model and the sampler are right."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui.commands import options
from pixeltui.commands.drawing import load
from pixeltui.errors import printable, printable_lines
from pixeltui.inspection import IMAGES

if TYPE_CHECKING:
    from pixeltui.inspection.findings import Findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the PNG files and inspect.json go (default: inspect/ in the run)"
    )
    parser.add_argument(
        "--images", type=options.whole(least=1), default=IMAGES, metavar="N", help=f"of the split (default: {IMAGES})"
    )
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: test")
    options.add_checkpoint(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, that of inspect.json")
    parser.epilog = "exit status: 1 also where mask, model or sampler is wrong"


def run(args: argparse.Namespace) -> int:
    loaded, run_dir = load(args)
    from pixeltui.commands.progress import bar
    from pixeltui.core.inspect.layers import BATCH
    from pixeltui.inspection.files import write_inspection
    from pixeltui.inspection.verdicts import verdicts
    from pixeltui.store.summary import json_document
    from pixeltui.train.given import GivenImages
    from pixeltui.train.precision import pick_threads

    pick_threads(min(args.images, BATCH), loaded.model.image_shape, loaded.config.model.channels)
    data = GivenImages(loaded).data
    out: Path = args.out or run_dir.path / "inspect"
    with bar("inspecting") as progress:
        found, document = write_inspection(
            loaded,
            run_dir.name,
            data,
            out,
            split=args.split,
            images=args.images,
            progress=lambda text, share: progress(share, 1.0, text),
        )
    print(json_document(document) if args.json else printable_lines(_text(found, document, out)))
    return 0 if all(verdict.right for verdict in verdicts(found).values()) else 1


def _text(found: "Findings", document: dict[str, Any], out: Path) -> str:
    from pixeltui.inspection.verdicts import channel_names, mean_bits, verdicts

    field = document["receptive_field"]
    reach, near = field["reach"], field["effective"]
    dead = sum(len(layer.dead) for layer in found.layers)
    blind = f"{field['blind_spot']} in a blind spot" if field["blind_spot"] else "no blind spot"
    lines = [
        f"{document['run']}: {document['checkpoint']} (step {document['step']}, {document['weights']} weights)",
        f"{document['data']}, {document['split']} split, {document['images']} images",
        *(f"{name:<12}{verdict}" for name, verdict in verdicts(found).items()),
        f"{'bits/dim':<12}{mean_bits(found.bits)} of the images, {mean_bits(found.sample_bits)} of its own samples",
    ]
    names = channel_names(found.bits.shape[1])
    for channel, name in enumerate(names if len(names) > 1 else ()):
        images, samples = mean_bits(found.bits[:, channel]), mean_bits(found.sample_bits[:, channel])
        lines.append(f"  {name:<10}{images} of the images, {samples} of the samples")
    lines += [
        f"{'sees':<12}{field['pixels']} of {field['earlier_pixels']} earlier pixels, {blind}",
        f"{'':<12}up to {reach['above']} rows up, {reach['left']} left, {reach['right']} right; "
        f"95 % within {near['above']}, {near['left']}, {near['right']}",
        f"{'units':<12}{dead} of {sum(layer.units for layer in found.layers)} never vary",
        f"{'pictures':<12}{printable(out)}: {', '.join([*document['files'], 'inspect.json'])}",
    ]
    return "\n".join(lines)
