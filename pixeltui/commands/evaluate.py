"""`pixeltui eval`: the likelihood of a split, the model as a classifier, and what its samples are like."""

import argparse
from pathlib import Path

from pixeltui.commands import options
from pixeltui.errors import UsageError, printable_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument("--split", choices=("train", "val", "test", "all"), default="test", help="default: test")
    parser.add_argument("--data", metavar="PATH", help="other data of the same shape and levels: a name or a path")
    options.add_checkpoint(parser, both=True)
    parser.add_argument("--batch-size", type=options.whole(least=1), metavar="N", help="images a forward pass")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument(
        "--classify",
        action="store_true",
        help="name each image's class by Bayes' rule; takes as many passes over the split as there are classes",
    )
    about = "Drawn from the model's own distribution, unless temperature, top-p or guidance are given."
    samples = parser.add_argument_group("samples beside held-out images", about)
    of_samples = "draw so many, at most as many as the split has: distance of patches, nearest training images"
    samples.add_argument("--samples", type=options.whole(least=2), metavar="N", help=of_samples)
    of_copies = "a grid of samples, each beside its nearest training image"
    samples.add_argument("--nearest", type=Path, metavar="FILE.png", help=of_copies)
    of_fid = "Fréchet Inception distance to the training images, too; needs pixeltui[fid] and, once, a network"
    samples.add_argument("--fid", action="store_true", help=of_fid)
    options.add_temperature(samples)
    options.add_drawing(samples)


def run(args: argparse.Namespace) -> int:
    _check(args)
    from pixeltui.commands import evaluation
    from pixeltui.commands.evaluation_text import as_text
    from pixeltui.store.summary import json_document

    report = evaluation.measure(args)
    print(json_document(report) if args.json else printable_lines(as_text(report)))
    return 0


def _check(args: argparse.Namespace) -> None:
    about_samples = ("nearest", "fid", "temperature", "top_p", "guidance", "seed")
    given = [name for name in about_samples if getattr(args, name) not in (None, False)]
    if given and not args.samples:
        raise UsageError(f"--{given[0].replace('_', '-')} is about samples: say how many with --samples N")
    if args.samples and (args.split in ("train", "all") or args.data is not None):
        raise UsageError(
            f"--samples compares with held-out images of the run's own data: leave --data and --split {args.split}"
        )
    if args.nearest is not None and args.nearest.suffix.lower() != ".png":
        raise UsageError(f"--nearest {args.nearest}: expected a name that ends in .png")
