"""`pixeltui train`: a new run, or one that goes on."""

import argparse
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pixeltui import launch
from pixeltui.commands import options
from pixeltui.commands.console import has_terminal, open_console
from pixeltui.commands.launcher import run_processes
from pixeltui.config import preset_names
from pixeltui.errors import UserError, printable
from pixeltui.events import Evaluated
from pixeltui.session import worker
from pixeltui.session.describe import figure, measured
from pixeltui.session.headless import NoDisplay
from pixeltui.session.inbox import STOP_SIGNALS, Signals
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import read_view

if TYPE_CHECKING:
    from pixeltui.config import Config
    from pixeltui.data import DataSet
    from pixeltui.train.trainer import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; config.toml shows every key")
    parser.add_argument("--preset", metavar="NAME", help=f"{', '.join(preset_names())} (default: pixelcnn)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in --set train.lr=5e-4")
    parser.add_argument("--name", help="the run's name (default: preset, data and time)")
    parser.add_argument("--resume", metavar="RUN", help="go on from the run's last checkpoint")
    parser.add_argument(
        "--on-hangup",
        choices=("continue", "stop"),
        default="continue",
        help="when the terminal goes: train on without it, or checkpoint and stop (default: continue)",
    )
    parser.add_argument(
        "--processes",
        type=options.whole(least=1),
        default=1,
        metavar="N",
        help="start N processes on this machine by torchrun, a GPU for each (default: 1)",
    )


def run(args: argparse.Namespace) -> int:
    request = TrainRequest(
        runs_dir=args.runs_dir,
        config=args.config,
        preset=args.preset,
        overrides=args.set,
        name=args.name,
        resume=args.resume,
    )
    if args.processes > 1:
        return run_processes(args, request)
    if not args.no_ui and has_terminal() and not launch.several():
        return open_console(args, request=request)
    signals = Signals(stop_on_hangup=args.on_hangup == "stop")
    signals.install()
    if launch.several():
        signals.end_at_once()
    with worker.prepared(request, _load_data) as job:
        signals.install()
        if not job.processes.writes:
            return _follow(job, signals)
        from pixeltui.session.headless import make_display

        options.say(printable(f"run {job.run.name} in {job.run.path}"))
        with closing(make_display()) as display:
            outcome = worker.train(job, display, signals, options.warn)
    status = conclude(outcome, job.run, args.runs_dir)
    options.let_go(sys.stdout)  # a run has ended as it has, whether or not its last lines were taken
    return status


def _follow(job: worker.Job, signals: Signals) -> int:
    """Trains beside the process that writes, and says nothing but what that one cannot know."""
    outcome = worker.train(job, NoDisplay(), signals, options.warn)
    if outcome.state == "failed" and not outcome.known:
        raise UserError(f"process {job.processes.rank}: {outcome.reason}")
    return 1 if outcome.state == "failed" else exit_status(outcome)


def exit_status(outcome: "Outcome") -> int:
    """128 and the number of the signal that stopped training, in every process alike."""
    names = {number.name: 128 + number for number in (*STOP_SIGNALS, signal.SIGHUP)}
    return names.get(outcome.reason, 0) if outcome.state == "stopped" else 0


def _load_data(config: "Config") -> "DataSet":
    from pixeltui.commands.progress import bar
    from pixeltui.data import load

    with bar(f"loading {config.data.name}") as progress:
        return load(config.data, progress=progress)


def conclude(outcome: "Outcome", run_dir: RunDir, runs_dir: Path) -> int:
    """What the user is told at the end, and the exit status."""
    where, name = options.found_by(run_dir, runs_dir)
    if outcome.state == "failed":
        raise UserError(f"{outcome.reason}; the whole story is in {run_dir.log_path}")
    if outcome.state == "stopped":
        options.say(
            f"stopped by {printable(outcome.reason)} at step {outcome.step}, checkpoint written; to go on: "
            f"pixeltui {where}--no-ui train --resume {name}"
        )
        return exit_status(outcome)
    view, _ = read_view(run_dir.events_path)
    for title, result in (("validation", view.best), ("test", view.test)):
        if result is not None:
            options.say(f"{title:<10}  {_likelihood(result)}")
    train = next(iter(view.evaluated("train")[::-1]), None)
    if view.best and view.test and train and train.bits_per_dim and view.test.bits_per_dim:
        options.say(f"training    {_likelihood(train)}")
        gap = view.test.bits_per_dim - train.bits_per_dim
        options.say(f"best epoch {view.best.epoch:.1f}; generalisation gap, test over training: {gap:+.4f} bits/dim")
    if view.samples:
        options.say(printable(f"samples in {run_dir.path / view.samples[-1].path}"))
    options.say(printable(f"more of them: pixeltui {where}sample {name} --show"))
    return 0


def _likelihood(result: Evaluated) -> str:
    return (
        f"{measured(result)} bits/dim  {figure(result.nats_per_dim)} nats/dim  "
        f"perplexity {figure(result.perplexity)}  ({result.images} images)"
    )
