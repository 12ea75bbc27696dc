"""Which run processes go on with that torchrun starts again after one had died."""

import contextlib
from pathlib import Path

from pixeltui import launch
from pixeltui.config import Config
from pixeltui.errors import UserError
from pixeltui.store.rundir import RunDir, run_paths


def run_of_this_start(runs_dir: Path, name: str | None, config: Config, start: str) -> RunDir | None:
    """The newest that they trained before.

    A job before may have had the same --rdzv-id: its runs have another `start`, and are none of these processes',
    unless they are of the very same config.
    """
    found = []
    for path in run_paths(runs_dir):
        with contextlib.suppress(UserError):
            run = RunDir(path)
            meta = run.meta()
            if meta.get("job") != launch.job_id() or name not in (None, path.name):
                continue
            if (start and meta.get("start") == start) or run.config() == config:
                found.append((meta.get("created", 0), path))
    return RunDir.open(max(found)[1]) if found else None
