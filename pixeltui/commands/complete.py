"""`pixeltui complete`: the rest of real images, drawn by the model; kept pixels are returned bit for bit."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pixeltui.commands import options
from pixeltui.commands.drawing import add_output, check_out, drawn, load, out_file, shown, wishes, write
from pixeltui.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pixeltui.train.load import LoadedModel

COMPLETIONS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="an image file of the model's size, or SPLIT:NUMBER for one of the run's data, as test:0",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--keep-rows", type=options.whole(least=0), metavar="K", help="rows kept at the top (default: half)"
    )
    kept.add_argument("--mask", type=Path, metavar="MASK", help="an image: white pixels are kept, black ones filled in")
    options.add_sampling(
        parser, count=f"completions of each image (default: {COMPLETIONS})", classes="the image's own, where known"
    )
    options.add_temperature(parser)
    options.add_checkpoint(parser)
    add_output(parser, "complete", "--show")


def run(args: argparse.Namespace) -> int:
    check_out(args)
    loaded, run_dir = load(args)
    import torch

    from pixeltui.train.draw import completion_plan, masked
    from pixeltui.train.given import GivenImages

    known = _known(args, loaded)
    given = GivenImages(loaded)
    found = [given.find(name) for name in args.images]
    originals = torch.stack([image for image, _ in found])
    count = args.count or COMPLETIONS
    plan = completion_plan(loaded, originals, [label for _, label in found], known, count, **wishes(args))
    images = drawn(loaded, plan)
    kept = masked(originals, known, loaded.data["levels"])
    tiles = [
        torch.cat([originals[i : i + 1], kept[i : i + 1], images[i * count : (i + 1) * count]])
        for i in range(len(originals))
    ]
    drawn_names = [loaded.classes[label] for label in plan.labels] or ["drawn"] * len(images)
    names = [
        name for i in range(len(originals)) for name in ("original", "kept", *drawn_names[i * count : (i + 1) * count])
    ]
    if (out := out_file(args, run_dir, "complete")) is not None:
        write(
            out,
            images,
            loaded,
            f"{options.counted(count, 'completion')} of {options.counted(len(originals), 'image')} by {run_dir.name}",
            labels=plan.labels,
            precision=plan.precision,
            grid=torch.cat(tiles),
            names=names,
            columns=count + 2,
            originals=originals.permute(0, 2, 3, 1).numpy(),
            known=known.numpy(),
            original=torch.arange(len(originals)).repeat_interleave(count).numpy(),
        )
    return shown(args, torch.cat(tiles), loaded, count + 2)


def _known(args: argparse.Namespace, loaded: "LoadedModel") -> "Tensor":
    """bool [H, W]"""
    import torch

    from pixeltui.train.given import read_mask

    _, height, width = loaded.model.image_shape
    if args.mask is not None:
        mask = read_mask(args.mask, height, width)
        if mask.all():
            options.warn(f"mask {args.mask} is white everywhere: every pixel is kept, nothing is drawn")
        return mask
    keep = height // 2 if args.keep_rows is None else args.keep_rows
    if keep > height:
        raise UsageError(f"--keep-rows {keep}: the model's images have {height} rows")
    known = torch.zeros(height, width, dtype=torch.bool)
    known[:keep] = True
    return known
