"""When a trainer's checkpoints are written and read: by rank 0, tried again where the disk did not take them."""

import math
import time
from collections.abc import Callable

from pixeltui import events
from pixeltui.config import Config, as_dict
from pixeltui.data import DataSet
from pixeltui.errors import UserError
from pixeltui.store.rundir import RunDir
from pixeltui.train import state
from pixeltui.train.checkpoint import CheckpointNotSaved, CheckpointStore
from pixeltui.train.failure import TrainingFailed, last_good
from pixeltui.train.processes import Processes
from pixeltui.train.report import Clock, Reporter
from pixeltui.train.update import Updater

RETRY_SECONDS = 30.0
LAST_SAVE_SECONDS = 600.0


class Saver:
    """Knows what a checkpoint is made of. `progress` is the loop's, and changes under its hands."""

    def __init__(
        self,
        config: Config,
        data: DataSet,
        run: RunDir,
        updater: Updater,
        progress: state.Progress,
        report: Reporter,
        clock: Clock,
        processes: Processes,
    ) -> None:
        self._config = config
        self._data = data
        self._run = run
        self._updater = updater
        self._progress = progress
        self._report = report
        self._clock = clock
        self._processes = processes
        self._retry_at = math.inf
        self.checkpoints = CheckpointStore(
            run, keep=config.train.keep, on_damaged=lambda message: report.notice("warning", "damaged", message)
        )

    @property
    def waits_to_retry(self) -> bool:
        return time.monotonic() >= self._retry_at

    def write(self, *, best: bool = False) -> bool:
        """Whether the checkpoint is on the disk; where it is not, training goes on and the save is tried again.

        Rank 0 writes, and it alone knows: whoever acts on the answer agrees on it first.
        """
        progress = self._progress
        if progress.saved_at == progress.step and not best:
            return True
        before, progress.saved_at = progress.saved_at, progress.step
        if not self._processes.writes:
            return True
        began = time.perf_counter()
        tree = state.tree_of(as_dict(self._config), progress, self._data, self._updater.scaler_state())
        try:
            with self._clock.elsewhere():
                path = self.checkpoints.save(self._updater.tensors(), tree, step=progress.step, best=best)
        except CheckpointNotSaved as error:
            progress.saved_at = before
            self._retry_at = time.monotonic() + RETRY_SECONDS
            again = f"training goes on and tries again in {RETRY_SECONDS:.0f} s"
            self._report.notice("warning", "disk", f"{error}; {again}")
            return False
        self._retry_at = math.inf
        self._report.emit(
            events.CheckpointSaved,
            path=str(path.relative_to(self._run.path)),
            bytes=path.stat().st_size,
            seconds=round(time.perf_counter() - began, 4),
            best=best,
        )
        return True

    def write_at_last(self, stop_waits: Callable[[], bool]) -> None:
        """The trained weights are not given up for a disk that is full for a while."""
        agree = self._processes.agree
        deadline = time.monotonic() + LAST_SAVE_SECONDS
        while not agree(self.write()) and not stop_waits():
            if agree(time.monotonic() > deadline):
                raise TrainingFailed(
                    f"the last checkpoint could not be written: make room, resume; {last_good(self._progress)}"
                )
            while agree(not self.waits_to_retry) and not stop_waits():
                time.sleep(0.1)

    def load(self) -> None:
        """The newest whole checkpoint, or the beginning where the run never wrote one."""
        processes = self._processes
        found = processes.each(lambda: self._read() if processes.writes else None)
        loaded = processes.agree(found)
        if loaded is None:
            return
        tensors, tree = loaded
        self._updater.load(tensors, tree["scaler"])
        self._progress.take(tree["progress"])
        if self._config.train.lr != tree["config"]["train"]["lr"]:
            self._progress.lr = self._config.train.lr
        self._report.step = self._progress.step

    def _read(self) -> state.Loaded | None:
        loaded = self.checkpoints.newest_whole()
        if loaded is not None:
            state.check_tree(loaded[1])
        if loaded is not None and loaded[1]["data"]["checksum"] != self._data.checksum:
            raise UserError(
                f"the data set {self._data.name} is not the one that run {self._run.name} trains on (its images, "
                "labels or splits changed): put it back, or start a new run"
            )
        return loaded
