"""What `sample`, `sweep` and `complete` have in common: loading, progress, and where images go."""

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui.commands import options
from pixeltui.errors import UsageError, UserError, printable

if TYPE_CHECKING:
    from torch import Tensor

    from pixeltui.store.rundir import RunDir
    from pixeltui.train.draw import Plan
    from pixeltui.train.load import LoadedModel


def add_output(parser: argparse.ArgumentParser, command: str, alone: str = "--show or --keep") -> None:
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="FILE.png: a labelled grid; FILE.npz: uint8 images [N, H, W, C] and labels "
        f"(default: RUN-{command}.png; with {alone}, none)",
    )
    parser.add_argument("--show", action="store_true", help="print the images as half blocks")


def add_keep(parser: argparse.ArgumentParser) -> None:
    of_keep = "into the run's samples/, with what produced them: the console and `pixeltui report` show them"
    parser.add_argument("--keep", action="store_true", help=of_keep)


def check_out(args: argparse.Namespace) -> None:
    """What can be told of --out before anything is drawn for it."""
    out: Path | None = args.out
    if out is None:
        return
    if out.suffix.lower() not in (".png", ".npz"):
        raise UsageError(f"--out {out}: expected a name that ends in .png or .npz")
    if not out.parent.is_dir():
        raise UserError(f"{out} could not be written: there is no folder {out.parent}")
    if out.is_dir():
        raise UserError(f"{out} could not be written: it is a folder")
    if not os.access(out.parent, os.W_OK):
        read_only = os.statvfs(out.parent).f_flag & os.ST_RDONLY
        raise UserError(f"{out} could not be written: {os.strerror(errno.EROFS if read_only else errno.EACCES)}")


def load(args: argparse.Namespace) -> "tuple[LoadedModel, RunDir]":
    """The model that RUN, --checkpoint, --weights and --device name."""
    from pixeltui.store.rundir import find_run
    from pixeltui.train.load import load_model
    from pixeltui.train.precision import pick_device

    run_dir = find_run(args.runs_dir, args.run)
    device = pick_device(args.device)
    loaded = load_model(run_dir, checkpoint=args.checkpoint, weights=args.weights, device=device, warn=options.warn)
    return loaded, run_dir


def wishes(args: argparse.Namespace) -> dict[str, Any]:
    """What options.add_sampling reads, count aside, and add_temperature, as make_plan takes it."""
    named = {name: getattr(args, name) for name in ("label", "top_p", "guidance", "seed", "precision")}
    temperature = getattr(args, "temperature", None)
    return named if temperature is None else {**named, "temperatures": (temperature,)}


def out_file(args: argparse.Namespace, run_dir: "RunDir", command: str) -> Path | None:
    """Where images go: --out, else RUN-COMMAND.png; nowhere with --show or --keep alone."""
    if args.out is None and (args.show or getattr(args, "keep", False)):
        return None
    out: Path = args.out or Path(f"{run_dir.name}-{command}.png")
    return out


def drawn(loaded: "LoadedModel", plan: "Plan") -> "Tensor":
    """Images uint8 [N, C, H, W] on the CPU, with progress on a terminal."""
    import torch

    from pixeltui.commands.progress import bar
    from pixeltui.core.gpu import use
    from pixeltui.core.native.library import load as compiled_steps
    from pixeltui.train.draw import draw
    from pixeltui.train.failure import untrained_guidance, without_kernels
    from pixeltui.train.precision import one_thread

    if plan.labels and plan.guidance != 1 and not loaded.model.label_dropout:
        options.warn(untrained_guidance(plan.guidance))
    if isinstance(compiled_steps(), str) or plan.precision != "fp32":
        one_thread()  # torch's products, a pixel at a time, are small ones
    images = torch.zeros(0)
    with bar(f"drawing {plan.count * len(plan.temperatures)} images") as progress:
        for partial, done, total in draw(loaded, plan):
            images = partial
            progress(done, total)
    if use.given_up:
        options.warn(without_kernels(use.why_not()))
    return images


def write(
    out: Path,
    images: "Tensor",
    loaded: "LoadedModel",
    what: str,
    *,
    labels: Sequence[int] = (),
    precision: str,
    grid: "Tensor | None" = None,
    names: Sequence[str] = (),
    columns: int | None = None,
    row_names: Sequence[str] = (),
    **arrays: Any,
) -> None:
    """The PNG or .npz, and a line about it. grid: what the PNG shows where that is more than `images`; arrays: of the
    .npz, beside images, labels, levels and, where it is not fp32, precision."""
    from pixeltui.data.grid import grid_png

    levels = loaded.data["levels"]
    if out.suffix.lower() == ".png":
        sheet = images if grid is None else grid
        content = grid_png(sheet, levels=levels, names=names, columns=columns, row_names=row_names)
    else:
        import numpy as np

        packed = io.BytesIO()
        if labels:
            arrays["labels"] = np.array(labels, np.int64)
        if precision != "fp32":
            arrays["precision"] = np.str_(precision)
        np.savez_compressed(packed, images=images.permute(0, 2, 3, 1).numpy(), levels=np.int64(levels), **arrays)
        content = packed.getvalue()
    write_file(out, content)
    of_weights = loaded.weights if precision == "fp32" else f"{loaded.weights}, {precision}: not exact"
    print(printable(f"{what}, {loaded.checkpoint} ({of_weights}): {out}"), file=sys.stderr)


def keep(args: argparse.Namespace, run_dir: "RunDir", loaded: "LoadedModel", plan: "Plan", images: "Tensor") -> None:
    """Where --keep asks for it; and a line about it. Raises UserError."""
    if not args.keep:
        return
    from pixeltui.train import draw

    columns = plan.count if len(plan.temperatures) > 1 else None
    how: dict[str, Any] = {"names": plan.names(loaded.classes), "columns": columns, "settings": plan.settings(loaded)}
    path = draw.keep(run_dir, images, levels=loaded.data["levels"], **how)
    print(printable(f"kept with the run: {path}"), file=sys.stderr)


def write_file(out: Path, content: bytes) -> None:
    """Atomically. Raises UserError."""
    from pixeltui.store.files import write_atomic

    try:
        write_atomic(out, content)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from None


def shown(args: argparse.Namespace, images: "Tensor", loaded: "LoadedModel", per_row: int | None = None) -> int:
    """Prints half blocks where --show asks for them; the exit status."""
    if args.show:
        from pixeltui.commands.halfblocks import render, terminal_color, terminal_columns

        columns = terminal_columns()
        if per_row is not None:
            columns = min(columns, per_row * (images.shape[3] + 1) - 1)
        print(render(images, loaded.data["levels"], columns, terminal_color()))
    return 0
