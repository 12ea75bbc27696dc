"""`pixeltui attach`: the console on a run of another process, or on one that is over."""

import argparse

from pixeltui.commands import options
from pixeltui.commands.console import open_console
from pixeltui.session.attach import AttachedSession
from pixeltui.store.rundir import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_run(parser)
    parser.add_argument("--read-only", action="store_true", help="look on: no key reaches the process that trains")


def run(args: argparse.Namespace) -> int:
    session = AttachedSession(find_run(args.runs_dir, args.run), read_only=args.read_only)
    return open_console(args, session=session)
