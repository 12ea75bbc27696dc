"""`pixeltui sweep`: what the temperature does, a row each, with the same noise in every row."""

import argparse

from pixeltui.commands import options
from pixeltui.commands.drawing import (
    add_keep,
    add_output,
    check_out,
    drawn,
    keep,
    load,
    out_file,
    shown,
    wishes,
    write,
)

IMAGES_A_ROW = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument(
        "--temperatures",
        type=_temperatures,
        required=True,
        metavar="T,T,...",
        help="as in 0.7,0.8,0.9,1.0: a row of the grid for each",
    )
    options.add_sampling(parser, count="images a row (default: one of each class, or 8)")
    options.add_checkpoint(parser)
    add_output(parser, "sweep")
    add_keep(parser)


def _temperatures(text: str) -> list[float]:
    one = options.number(over=0)
    return [one(part.strip()) for part in text.split(",")]


def run(args: argparse.Namespace) -> int:
    check_out(args)
    loaded, run_dir = load(args)
    import numpy as np

    from pixeltui.train.draw import chosen_labels, make_plan

    classes = len(chosen_labels(loaded, args.label)) or loaded.model.num_classes
    plan = make_plan(
        loaded,
        count=args.count or (classes if 2 <= classes <= 2 * IMAGES_A_ROW else IMAGES_A_ROW),
        temperatures=args.temperatures,
        **wishes(args),
    )
    images = drawn(loaded, plan)
    keep(args, run_dir, loaded, plan, images)
    if (out := out_file(args, run_dir, "sweep")) is not None:
        write(
            out,
            images,
            loaded,
            f"{options.counted(plan.count, 'image')} at {options.counted(len(plan.temperatures), 'temperature')} from "
            f"{run_dir.name}",
            labels=plan.all_labels(),
            precision=plan.precision,
            names=[loaded.classes[label] for label in plan.all_labels()],
            columns=plan.count,
            row_names=[f"T {temperature:g}" for temperature in plan.temperatures],
            temperatures=np.repeat(np.array(plan.temperatures), plan.count),
        )
    return shown(args, images, loaded, plan.count)
