"""A run that goes on: which one, with which config, and what it is refused."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixeltui import launch
from pixeltui.config import Config, ConfigError, Data, load_config, total_steps
from pixeltui.errors import UsageError, UserError
from pixeltui.store.rundir import RunDir, run_paths

if TYPE_CHECKING:
    from pixeltui.data import DataSet

FIXED = ("data", "model", "preset")
MOVABLE = ("data.name", "data.root")
"""where the data lie, which may change; what they are may not"""


def resumed_config(run: RunDir, new: Sequence[str]) -> Config:
    """The run's, with all that was set on resumes before and what is set on this one. Raises UserError."""
    for override in new:
        if key_of(override).split(".")[0] in FIXED and key_of(override) not in MOVABLE:
            raise UsageError(f"--set {override}: a run keeps its data and model; start a new run for others")
    run.config()  # whether there is one that can be read
    try:
        config = load_config(run.config_path, overrides=all_overrides(run, new))
    except ConfigError as error:
        raise ConfigError(f"run {run.name} cannot go on with its config:\n{error}") from None
    for override in new:
        if key_of(override) == "train.epochs" and config.train.steps:
            raise UsageError(
                f"--set {override}: the run is over at train.steps = {config.train.steps}, whatever its epochs: set "
                "that, or train.steps=0 too"
            )
    return config


def all_overrides(run: RunDir, new: Sequence[str]) -> list[str]:
    """On resumes before, and on this one."""
    before = run.meta().get("overrides", [])
    return [*before, *new] if before[len(before) - len(new) :] != list(new) else before


def key_of(override: str) -> str:
    """Of "key=value"."""
    return ".".join(part.strip() for part in override.partition("=")[0].split("."))


def lasting(overrides: Sequence[str], data: Data) -> list[str]:
    """The overrides, with the places of `data`, which hold from every folder."""
    places = {"data.name": data.name, "data.root": data.root}
    return [f"{key}={places[key]}" if (key := key_of(override)) in places else override for override in overrides]


def check_data(run: RunDir, data: "DataSet", overrides: Sequence[str]) -> None:
    """Raises UserError where the run began with others; its checkpoints know too, but there may be none yet."""
    from pixeltui.train.failure import other_data

    if run.data_checksum() in (None, data.checksum):
        return
    for override in overrides:
        if key_of(override) in MOVABLE:
            raise UsageError(f"--set {override}: a run keeps its data and model, and these are other images or labels")
    raise UserError(other_data(run.name, data.name))


def check_steps(run: RunDir, config: Config, data: "DataSet") -> None:
    """Raises UsageError where the config asks for fewer than are done."""
    from pixeltui.data.batches import steps_per_epoch
    from pixeltui.train.checkpoint_store import CheckpointStore

    done = next(iter(CheckpointStore(run).steps()), 0)
    wanted = total_steps(config.train, steps_per_epoch(len(data.train), config.train.batch_size))
    if wanted < done:
        key = "train.steps" if config.train.steps else "train.epochs"
        raise UsageError(
            f"run {run.name} has done {done} steps, more than the {wanted} that {key} asks for: set it higher"
        )


def run_of_this_start(runs_dir: Path, name: str | None, config: Config, start: str) -> RunDir | None:
    """The newest run that processes trained before torchrun started them again.

    A job before may have had the same --rdzv-id: its runs have another `start`, and are none of these processes',
    unless they are of the very same config. A process alone does not know its `start`.
    """
    found = []
    for path in run_paths(runs_dir):
        with contextlib.suppress(UserError):
            run = RunDir(path)
            meta = run.meta()
            if meta.get("job") != launch.job_id() or name not in (None, path.name):
                continue
            if not start or meta.get("start") == start or run.config() == config:
                found.append((meta.get("created", 0), path))
    return RunDir.open(max(found)[1]) if found else None
