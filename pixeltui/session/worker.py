"""A run from a request to its outcome: the same for the console's thread and for headless training."""

import contextlib
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from pixeltui import __version__, launch
from pixeltui.config import Config, ConfigError, dump_config, load_config, total_steps
from pixeltui.errors import UsageError, UserError
from pixeltui.events import AnyCommand, AnyEvent, Frame, Notice, SampleSaved
from pixeltui.session.recorder import Recorder
from pixeltui.session.restarts import run_of_this_start
from pixeltui.session.tensorboard import TensorBoardWriter
from pixeltui.session.watchdog import Watchdog, stacks_on_request
from pixeltui.store import control
from pixeltui.store.files import remove_leftovers
from pixeltui.store.frames import FrameWriter
from pixeltui.store.rundir import RunDir, check_name, find_run, new_run_name

if TYPE_CHECKING:
    from pixeltui.data import DataSet
    from pixeltui.train.processes import Processes
    from pixeltui.train.trainer import Outcome

FIXED = ("data", "model", "preset")
MOVABLE = ("data.name", "data.root")
"""where the data lie, which may change; what they are may not"""
OLD_SECONDS = 3600.0
"""of a temporary file that no process is still writing"""

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
            if self.name:
                check_name(self.name)
            return load_config(self.config, self.preset, self.overrides)
        if self.config or self.preset or self.name:
            raise UsageError("--resume takes the run's own config: leave --config, --preset and --name out")
        run = find_run(self.runs_dir, self.resume)
        return _resumed_config(run, self.overrides)


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
        return not self.processes.again and any(_key(override) == "train.lr" for override in self.overrides)

    def keep_overrides(self) -> None:
        if self.overrides and self.processes.writes:
            self.run.update_meta(overrides=_all_overrides(self.run, self.overrides))


class Watcher(Protocol):
    """Sees what the log has got already; neither call blocks or raises."""

    def show(self, event: AnyEvent) -> None: ...

    def show_frame(self, frame: Frame) -> None: ...


class Commands(Protocol):
    """Gives the commands that came since the last call."""

    def take(self) -> Sequence[AnyCommand]: ...


class RecordingSink:
    """The trainer's sink: the log first, then whoever watches."""

    def __init__(
        self,
        recorder: Recorder,
        watcher: Watcher,
        tensorboard: TensorBoardWriter | None = None,
        frames: FrameWriter | None = None,
    ) -> None:
        """frames: where consoles of other processes look for the samples in progress."""
        self._recorder = recorder
        self._watcher = watcher
        self._tensorboard = tensorboard
        self._frames = frames
        self._lock = threading.Lock()

    def emit(self, event: AnyEvent) -> None:
        with self._lock:  # the watchdog's thread reports too
            self._recorder.emit(event)
            self._watcher.show(event)
            if self._tensorboard is not None:
                self._tensorboard.emit(event)
        if self._frames is not None and isinstance(event, SampleSaved):
            self._frames.remove()

    def frame(self, frame: Frame) -> None:
        self._watcher.show_frame(frame)
        if self._frames is not None:
            self._frames.write(frame)

    def sync(self) -> None:
        with self._lock:
            handle = self._recorder.flush()
        if handle < 0:
            return
        # Not under the lock: a slow disk holds up whoever saves, not the steps.
        try:
            os.fsync(handle)
        except OSError:
            pass  # the recorder tells of a disk that takes nothing
        finally:
            os.close(handle)


class Silent:
    """The sink of a process that is not the run's one writer."""

    def emit(self, event: AnyEvent) -> None:
        pass

    def frame(self, frame: Frame) -> None:
        pass

    def sync(self) -> None:
        pass


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
        yield Job(config, data, run, resume, processes, _lasting(request, config))


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
        config = config if run is None else run.config(resumed=True)
    else:
        run = None
    if run is not None:
        stack.enter_context(run.lock())
        _check_data(run, data, request.overrides)
        if request.resume is not None and request.overrides:
            _check_steps(run, config, data)
        control.discard(run.control_dir)  # what was meant for a process that is no more
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


def _check_data(run: RunDir, data: "DataSet", overrides: Sequence[str]) -> None:
    """Whether they are those that the run began with; its checkpoints know too, but there may be none yet."""
    from pixeltui.train.failure import other_data

    if run.data_checksum() in (None, data.checksum):
        return
    for override in overrides:
        if _key(override) in MOVABLE:
            raise UsageError(f"--set {override}: a run keeps its data and model, and these are other images or labels")
    raise UserError(other_data(run.name, data.name))


def _check_steps(run: RunDir, config: Config, data: "DataSet") -> None:
    """Whether the config has the run go on, or end where it is."""
    from pixeltui.data.batches import steps_per_epoch
    from pixeltui.train.checkpoint import CheckpointStore

    done = next(iter(CheckpointStore(run).steps()), 0)
    wanted = total_steps(config.train, steps_per_epoch(len(data.train), config.train.batch_size))
    if wanted < done:
        key = "train.steps" if config.train.steps else "train.epochs"
        raise UsageError(
            f"run {run.name} has done {done} steps, more than the {wanted} that {key} asks for: set it higher"
        )


def train(job: Job, watcher: Watcher, commands: Commands, on_trouble: Callable[[str], None]) -> "Outcome":
    """Trains to the end, a stop or a failure; everything is in the run's log when this returns."""
    from pixeltui.session.inbox import CommandInbox
    from pixeltui.train.trainer import Trainer

    with contextlib.ExitStack() as stack:
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


def _all_overrides(run: RunDir, new: Sequence[str]) -> list[str]:
    before = run.meta().get("overrides", [])
    return [*before, *new] if before[len(before) - len(new) :] != list(new) else before


def _key(override: str) -> str:
    return ".".join(part.strip() for part in override.partition("=")[0].split("."))


def _resumed_config(run: RunDir, new: Sequence[str]) -> Config:
    for override in new:
        if _key(override).split(".")[0] in FIXED and _key(override) not in MOVABLE:
            raise UsageError(f"--set {override}: a run keeps its data and model; start a new run for others")
    run.config()  # whether there is one that can be read
    try:
        return load_config(run.config_path, overrides=_all_overrides(run, new))
    except ConfigError as error:
        raise ConfigError(f"run {run.name} cannot go on with its config:\n{error}") from None


def _lasting(request: TrainRequest, config: Config) -> list[str]:
    """What was set on a resume, with paths that hold from every folder."""
    data = _anywhere(config).data
    places = {"data.name": data.name, "data.root": data.root}
    set_now = request.overrides if request.resume is not None else ()
    return [f"{key}={places[key]}" if (key := _key(override)) in places else override for override in set_now]


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
