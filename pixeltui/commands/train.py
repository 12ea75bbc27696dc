"""`pixeltui train`: a new run, or one that goes on."""

import argparse
import contextlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui import __version__
from pixeltui.commands import options
from pixeltui.config import ConfigError, dump_config, load_config, preset_names
from pixeltui.errors import UsageError, UserError
from pixeltui.events import Evaluated
from pixeltui.session.inbox import CommandInbox, Signals
from pixeltui.store.files import Lock
from pixeltui.store.rundir import RunDir, check_name, find_run, new_run_name
from pixeltui.store.view import RunView

if TYPE_CHECKING:
    from pixeltui.config import Config
    from pixeltui.data import DataSet
    from pixeltui.train.trainer import Outcome

FIXED = ("data", "model", "preset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; config.toml shows every key")
    parser.add_argument("--preset", metavar="NAME", help=f"{', '.join(preset_names())} (default: pixelcnn)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in --set train.lr=5e-4")
    parser.add_argument("--name", help="the run's name (default: preset, data and time)")
    parser.add_argument("--resume", metavar="RUN", help="go on from the run's last checkpoint")


def run(args: argparse.Namespace) -> int:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("training in several processes is not there yet: start one, without torchrun")
    signals = Signals()
    signals.install()
    if args.resume:
        if args.config or args.preset or args.name:
            raise UsageError("--resume takes the run's own config: leave --config, --preset and --name out")
        run_dir = find_run(args.runs_dir, args.resume)
        overrides = [*run_dir.meta().get("overrides", []), *args.set]
        config = _resumed_config(run_dir, args.set, overrides)
        data = _load_data(config)
        with Lock.acquire(run_dir.path):
            if args.set:
                run_dir.update_meta(overrides=overrides)
            return _train(config, data, run_dir, signals, args.runs_dir, resume=True)
    config = load_config(args.config, args.preset, args.set)
    if args.name:
        check_name(args.name)
    _check_device(config)
    data = _load_data(config)
    run_dir = RunDir.create(
        args.runs_dir,
        args.name or new_run_name(config.preset, data.name),
        config_toml=dump_config(_anywhere(config)),
        meta=_meta(config, data),
    )
    with Lock.acquire(run_dir.path):
        return _train(config, data, run_dir, signals, args.runs_dir, resume=False)


def _resumed_config(run_dir: RunDir, new: list[str], overrides: list[str]) -> "Config":
    for override in new:
        if override.split(".")[0].split("=")[0].strip() in FIXED:
            raise UsageError(f"--set {override}: a run keeps its data and model; start a new run for others")
    try:
        return load_config(run_dir.config_path, overrides=overrides)
    except ConfigError as error:
        raise ConfigError(f"run {run_dir.name} cannot go on with its config:\n{error}") from None


def _check_device(config: "Config") -> None:
    from pixeltui.train.precision import pick_device

    pick_device(config.train.device)


def _load_data(config: "Config") -> "DataSet":
    from rich.console import Console
    from rich.progress import Progress

    from pixeltui.data import load

    with Progress(transient=True, disable=not sys.stderr.isatty(), console=Console(stderr=True)) as progress:
        task = progress.add_task(f"loading {config.data.name}", total=None)
        return load(config.data, progress=lambda done, total: progress.update(task, completed=done, total=total))


def _train(
    config: "Config", data: "DataSet", run_dir: RunDir, signals: Signals, runs_dir: Path, *, resume: bool
) -> int:
    from pixeltui.session.headless import HeadlessSink, make_display
    from pixeltui.session.recorder import Recorder
    from pixeltui.session.tensorboard import TensorBoardWriter
    from pixeltui.train.trainer import Trainer

    print(f"run {run_dir.name} in {run_dir.path}", flush=True)
    with contextlib.ExitStack() as stack:
        tensorboard = stack.enter_context(closing(TensorBoardWriter(run_dir))) if config.log.tensorboard else None
        recorder = stack.enter_context(closing(Recorder(run_dir, on_trouble=options.warn)))
        display = stack.enter_context(closing(make_display()))
        sink = HeadlessSink(recorder, display, tensorboard)
        trainer = Trainer(config, data, run_dir, sink, CommandInbox(run_dir, signals))
        outcome = trainer.run(resume=resume)
    return _conclude(outcome, run_dir, signals, runs_dir)


def _anywhere(config: "Config") -> "Config":
    """The config with paths that hold from every folder, so that the run's config.toml can be run again."""
    import msgspec

    from pixeltui.registry import DATASETS

    if config.data.name in DATASETS:
        return config
    absolute = str(Path(config.data.name).expanduser().resolve())
    return msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, name=absolute))


def _meta(config: "Config", data: "DataSet") -> dict[str, Any]:
    import torch

    from pixeltui.train.precision import device_name, pick_device

    channels, height, width = data.image_shape
    return {
        "command": shlex.join(["pixeltui", *sys.argv[1:]]),
        "preset": config.preset,
        "versions": {"pixeltui": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "platform": platform.platform(),
        "git": dict(_git_commit()),
        "data": {
            "name": data.name,
            "checksum": data.checksum,
            "image_shape": [channels, height, width],
            "levels": data.levels,
            "classes": list(data.classes),
            "images": {"train": len(data.train), "val": len(data.val), "test": len(data.test)},
        },
        "device": device_name(pick_device(config.train.device)),
        "tags": [],
        "note": "",
    }


def _git_commit() -> Iterator[tuple[str, str]]:
    """The commit of the folder that training was started from, where it is a checkout."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        for key, command in (("commit", ["rev-parse", "HEAD"]), ("changes", ["status", "--porcelain"])):
            done = subprocess.run(["git", *command], capture_output=True, text=True, timeout=5, check=True)
            yield key, done.stdout.strip() if key == "commit" else str(bool(done.stdout.strip())).lower()


def _conclude(outcome: "Outcome", run_dir: RunDir, signals: Signals, runs_dir: Path) -> int:
    """What the user is told at the end, and the exit status."""
    where = "" if runs_dir == Path("runs") else f"--runs-dir {shlex.quote(str(runs_dir))} "
    if outcome.state == "failed":
        raise UserError(f"{outcome.reason}; the whole story is in {run_dir.log_path}")
    if outcome.state == "stopped":
        print(
            f"stopped by {outcome.reason} at step {outcome.step}, checkpoint written; to go on: "
            f"pixeltui {where}--no-ui train --resume {run_dir.name}"
        )
        return 128 + signals.stopped_by if signals.stopped_by else 0
    view = RunView().fold(run_dir.read_events()[0])
    for title, figure in (("validation", view.best), ("test", view.test)):
        if figure is not None:
            print(f"{title:<10}  {_likelihood(figure)}")
    train = next(iter(view.evaluated("train")[::-1]), None)
    if view.best and view.test and train and train.bits_per_dim and view.test.bits_per_dim:
        print(f"training    {_likelihood(train)}")
        gap = view.test.bits_per_dim - train.bits_per_dim
        print(f"best epoch {view.best.epoch:.1f}; generalisation gap, test over training: {gap:+.4f} bits/dim")
    if view.samples:
        print(f"samples in {run_dir.path / view.samples[-1].path}")
    print(f"more of them: pixeltui {where}sample {run_dir.name} --show")
    return 0


def _likelihood(figure: Evaluated) -> str:
    se = "" if figure.bits_per_dim_se is None else f" ± {figure.bits_per_dim_se:.4f}"
    return (
        f"{figure.bits_per_dim:.4f}{se} bits/dim  {figure.nats_per_dim:.4f} nats/dim  "
        f"perplexity {figure.perplexity:.3f}  ({figure.images} images)"
    )
