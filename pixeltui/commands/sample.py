"""`pixeltui sample`: images from a checkpoint."""

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    options.add_sampling(parser)
    options.add_temperature(parser)
    options.add_checkpoint(parser)
    add_output(parser, "sample")
    add_keep(parser)


def run(args: argparse.Namespace) -> int:
    check_out(args)
    loaded, run_dir = load(args)
    from pixeltui.train.draw import make_plan

    plan = make_plan(loaded, count=args.count, **wishes(args))
    images = drawn(loaded, plan)
    keep(args, run_dir, loaded, plan, images)
    if (out := out_file(args, run_dir, "sample")) is not None:
        what = f"{options.counted(len(images), 'image')} from {run_dir.name}"
        write(out, images, loaded, what, labels=plan.labels, precision=plan.precision, names=plan.names(loaded.classes))
    return shown(args, images, loaded)
