"""`pixeltui sample`: images from a checkpoint."""

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui.commands import options
from pixeltui.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from pixeltui.train.load import LoadedModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    options.add_sampling(parser)
    options.add_checkpoint(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="FILE.png: a labelled grid; FILE.npz: uint8 images [N, H, W, C] and labels (default: RUN-sample.png)",
    )
    parser.add_argument("--show", action="store_true", help="print the images as half blocks")


def run(args: argparse.Namespace) -> int:
    if args.out is not None and args.out.suffix not in (".png", ".npz"):
        raise UsageError(f"--out {args.out}: expected a name that ends in .png or .npz")
    from pixeltui.store.rundir import find_run
    from pixeltui.train.load import load_model
    from pixeltui.train.precision import pick_device

    run_dir = find_run(args.runs_dir, args.run)
    loaded = load_model(
        run_dir, checkpoint=args.checkpoint, weights=args.weights, device=pick_device(args.device), warn=options.warn
    )
    images, labels = draw(loaded, args)
    names = [loaded.classes[label] for label in labels]
    levels = loaded.data["levels"]
    if args.out is not None or not args.show:
        out = args.out or Path(f"{run_dir.name}-sample.png")
        _write(out, images, labels, names, levels)
        print(
            f"{len(images)} images from {run_dir.name}, {loaded.checkpoint} ({loaded.weights}): {out}", file=sys.stderr
        )
    if args.show:
        from pixeltui.commands.halfblocks import render, terminal_color, terminal_columns

        print(render(images, levels, terminal_columns(), terminal_color()))
    return 0


def draw(loaded: "LoadedModel", args: argparse.Namespace) -> "tuple[Tensor, list[int]]":
    """Images uint8 [N, C, H, W] on the CPU and their labels, with progress on a terminal."""
    import torch
    from rich.progress import Progress

    from pixeltui.train.live import labels_in_turn
    from pixeltui.train.load import class_labels

    settings = loaded.config.sample
    model = loaded.model
    chosen = class_labels(args.label, loaded.classes) if args.label else None
    if chosen and not model.num_classes:
        raise UsageError("--label: the model is unconditional (model.conditional = false)")
    count = args.count or (max(len(chosen), settings.count) if chosen else settings.count)
    labels = labels_in_turn(model, count, chosen)
    device = next(model.parameters()).device
    stream = model.sample_stream(
        count,
        labels=torch.tensor(labels, device=device) if labels else None,
        temperature=settings.temperature if args.temperature is None else args.temperature,
        top_p=settings.top_p if args.top_p is None else args.top_p,
        guidance=settings.guidance if args.guidance is None else args.guidance,
        seed=settings.seed if args.seed is None else args.seed,
    )
    images = torch.zeros(count, *model.image_shape, dtype=torch.uint8)
    with Progress(transient=True, disable=not sys.stderr.isatty(), console=_stderr()) as progress:
        task = progress.add_task(f"sampling {count} images", total=model.image_shape[1])
        for partial, rows_done in stream:
            images = partial
            progress.update(task, completed=rows_done)
    return images.cpu(), labels


def _stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


def _write(out: Path, images: "Tensor", labels: list[int], names: list[str], levels: int) -> None:
    from pixeltui.data.grid import grid_png
    from pixeltui.errors import UserError
    from pixeltui.store.files import write_atomic

    if out.suffix == ".png":
        content = grid_png(images, levels=levels, names=names)
    else:
        import numpy as np

        packed = io.BytesIO()
        arrays: dict[str, Any] = {"images": images.permute(0, 2, 3, 1).numpy(), "levels": np.int64(levels)}
        if labels:
            arrays["labels"] = np.array(labels, np.int64)
        np.savez_compressed(packed, **arrays)
        content = packed.getvalue()
    try:
        write_atomic(out, content)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from None
