"""A run from a request to its outcome: the same for the console's thread and for headless training."""

import contextlib
import os
import platform
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import pixeltui
from pixeltui import __version__, launch
from pixeltui.config import Config, dump_config, load_config
from pixeltui.errors import UsageError, UserError, printable_lines
from pixeltui.events import AnyCommand, Notice
from pixeltui.session.recorder import Recorder
from pixeltui.session.resuming import (
    all_overrides,
    check_data,
    check_steps,
    key_of,
    lasting,
    resumed_config,
    run_of_this_start,
)
from pixeltui.session.sinks import RecordingSink, Silent, Watcher
from pixeltui.session.tensorboard import TensorBoardWriter
from pixeltui.session.watchdog import Watchdog, stacks_on_request
from pixeltui.store import control
from pixeltui.store.files import OLD_SECONDS, open_to_append, remove_leftovers
from pixeltui.store.frames import FrameWriter
from pixeltui.store.rundir import RunDir, check_name, find_run, new_run_name

if TYPE_CHECKING:
    from pixeltui.data import DataSet
    from pixeltui.train.processes import Processes
    from pixeltui.train.trainer import Outcome

LoadData = Callable[[Config], "DataSet"]


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What `pixeltui train` was asked for. resume: a run's name, prefix or path."""

    runs_dir: Path
    config: Path | None = None
    preset: str | None = None
    overrides: Sequence[str] = ()
    name: str | None = None
    resume: str | None = None
    command: str = field(default_factory=lambda: shlex.join(["pixeltui", *sys.argv[1:]]))

    def resolve(self) -> Config:
        """The config that will be trained with, everything checked that needs no data. Raises UserError."""
        if self.resume is None:
            if self.name is not None:
                check_name(self.name)
            return load_config(self.config, self.preset, self.overrides)
        if self.config or self.preset or self.name is not None:
            raise UsageError("--resume takes the run's own config: leave --config, --preset and --name out")
        run = find_run(self.runs_dir, self.resume)
        return resumed_config(run, self.overrides)


@dataclass(frozen=True)
class Job:
    """A run that this process, or the first of several, holds the lock of, ready to train."""

    config: Config
    data: "DataSet"
    run: RunDir
    resume: bool
    processes: "Processes"
    overrides: Sequence[str] = ()
    """set on this resume; the run keeps them once it has loaded its checkpoint with them"""

    @property
    def sets_lr(self) -> bool:
        """Not once more where torchrun starts the processes again: it may have been set while they trained."""
        return not self.processes.again and any(key_of(override) == "train.lr" for override in self.overrides)

    def keep_overrides(self) -> None:
        if self.overrides and self.processes.writes:
            self.run.update_meta(overrides=all_overrides(self.run, self.overrides))


class Commands(Protocol):
    """Gives the commands that came since the last call."""

    def take(self) -> Sequence[AnyCommand]: ...


@contextlib.contextmanager
def prepared(request: TrainRequest, load_data: LoadData) -> Iterator[Job]:
    """Loads the data and makes or finds the run, whose lock is held in the block. Raises UserError.

    Where torchrun started several processes, in all of them: the first makes the run and holds its lock.
    """
    from pixeltui.train.alike import check_alike
    from pixeltui.train.precision import pick_device
    from pixeltui.train.processes import ToldElsewhere, joined

    try:
        config = request.resolve()
    except UserError as error:
        # Another machine may lack what the first one has: its first process says so there.
        raise ToldElsewhere(error.exit_status) if launch.local_rank() else error from None
    device = pick_device(config.train.device)  # a device that is not there is told before data are loaded
    with joined(device) as processes, contextlib.ExitStack() as stack:
        data = processes.in_turn(lambda: _load(request, config, load_data))
        check_alike(processes, config, data)
        claimed = processes.each(lambda: _claim(request, config, data, stack, processes) if processes.writes else None)
        run, resume, config = cast("tuple[RunDir, bool, Config]", processes.agree(claimed))
        set_now = lasting(request.overrides, config.data) if request.resume is not None else ()
        if processes.writes:
            stack.enter_context(_errors_in_log(run))
        yield Job(config, data, run, resume, processes, set_now)


def _load(request: TrainRequest, config: Config, load_data: LoadData) -> "DataSet":
    from pixeltui.registry import DATASETS

    try:
        return load_data(config)
    except UserError as error:
        if request.resume is None or config.data.name in DATASETS or Path(config.data.name).expanduser().exists():
            raise
        raise UserError(f"{error}; where they are elsewhere now, add --set data.name=PATH") from None


def _claim(
    request: TrainRequest, config: Config, data: "DataSet", stack: contextlib.ExitStack, processes: "Processes"
) -> tuple[RunDir, bool, Config]:
    """The run, locked until `stack` closes, whether it goes on from a checkpoint, and the config to train it with."""
    config = _anywhere(config)
    if request.resume is not None:
        run: RunDir | None = find_run(request.runs_dir, request.resume)
    elif processes.again:
        run = run_of_this_start(request.runs_dir, request.name, config, processes.start)
        config = run.config(resumed=True) if run is not None and processes.start else config
    else:
        run = None
    if run is not None:
        left = control.waiting(run.control_dir)
        stack.enter_context(run.lock())
        check_data(run, data, request.overrides)
        if request.resume is not None and request.overrides:
            check_steps(run, config, data)
        control.discard(run.control_dir, among=left)  # what was meant for a process that is no more
        for folder in (run.path, run.samples_dir, run.control_dir):
            remove_leftovers(folder, older_than=OLD_SECONDS)
        return run, True, config
    run = RunDir.create(
        request.runs_dir,
        request.name or new_run_name(config.preset, data.name),
        config_toml=dump_config(config),
        meta={**_meta(config, data, request.command), "start": processes.start},
    )
    stack.enter_context(run.lock())
    return run, False, config


def train(job: Job, watcher: Watcher, commands: Commands, on_trouble: Callable[[str], None]) -> "Outcome":
    """Trains to the end, a stop or a failure; everything is in the run's log when this returns."""
    import torch

    from pixeltui.session.inbox import CommandInbox
    from pixeltui.train.trainer import Trainer

    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())  # the next run here may be a larger one
        sink: RecordingSink | Silent = Silent()
        if job.processes.writes:
            tensorboard = None
            if job.config.log.tensorboard:
                tensorboard = stack.enter_context(closing(TensorBoardWriter(job.run, on_trouble)))
            recorder = stack.enter_context(closing(Recorder(job.run, on_trouble=on_trouble)))
            frames = stack.enter_context(closing(FrameWriter(job.run.frame_path, in_place=job.run.is_in_place)))
            sink = RecordingSink(recorder, watcher, tensorboard, frames)
        watchdog = stack.enter_context(closing(_watchdog(job.run, sink, stack)))
        inbox = CommandInbox(job.run, commands, polls=job.processes.writes, on_look=watchdog.beat)
        trainer = job.processes.each(lambda: Trainer(job.config, job.data, job.run, sink, inbox, job.processes))
        return trainer.run(
            resume=job.resume, sets_lr=job.sets_lr, on_loaded=lambda: job.processes.each(job.keep_overrides)
        )


@contextlib.contextmanager
def _errors_in_log(run: RunDir) -> Iterator[None]:
    """What ends the block is in the log and, where nobody expected it, from where: it may come once in many hours."""
    try:
        yield
    except Exception as error:
        what = f"error: {error}"
        if not isinstance(error, UserError):
            what = f"error: unexpected {type(error).__name__}: {error}\n{traceback.format_exc()}"
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError), os.fdopen(open_to_append(run.own(run.log_path)), "a") as log:
            log.write(f"{stamp}  {printable_lines(what.rstrip())}\n")
        raise


def _watchdog(run: RunDir, sink: RecordingSink | Silent, stack: contextlib.ExitStack) -> Watchdog:
    """Writes the stacks of all threads into the run's log, and a notice, where training does not get on."""
    write_stacks = stack.enter_context(stacks_on_request(run.log_path))

    def stuck(seconds: float) -> None:
        write_stacks()
        message = (
            f"nothing has happened for {seconds:.0f} s; where every thread is stands in {run.log_path.name}, and "
            f"kill -QUIT {os.getpid()} writes it there again"
        )
        sink.emit(Notice(t=time.time(), level="warning", kind="stuck", message=message))

    return Watchdog(stuck)


def _anywhere(config: Config) -> Config:
    """The config with paths that hold from every folder, so that the run's config.toml can be run again."""
    import msgspec

    from pixeltui.registry import DATASETS

    data = config.data
    places = {} if data.root.startswith("~") else {"root": str(Path(data.root).absolute())}
    if data.name not in DATASETS:
        places["name"] = str(Path(data.name).expanduser().resolve())
    return msgspec.structs.replace(config, data=msgspec.structs.replace(data, **places))


def _meta(config: Config, data: "DataSet", command: str) -> dict[str, Any]:
    import torch

    from pixeltui.train.precision import device_name, pick_device

    channels, height, width = data.image_shape
    return {
        "command": command,
        "job": launch.job_id(),
        "preset": config.preset,
        "versions": {"pixeltui": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "platform": platform.platform(),
        "git": _git_commit(),
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


def _git_commit() -> dict[str, str | bool]:
    """The commit of the folder that training was started from or, where that is no checkout, of the program's own, and
    whether files differ from it."""
    for folder in (None, Path(pixeltui.__file__).parent):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            commit, changes = (_git(folder, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
            return {"commit": commit, "changes": bool(changes)}
    return {}


def _git(folder: Path | None, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
