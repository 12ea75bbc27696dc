"""When a trainer's checkpoints are written and read: by rank 0, tried again where the disk did not take them.

A save copies the state between two steps and is written by a thread of its own, one after another, while training goes
on. What is reported as saved is on the disk. No executor: those take no work once the main thread has ended, and
training may outlive it.
"""

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from pixeltui import events
from pixeltui.config import as_dict
from pixeltui.errors import UserError
from pixeltui.store.header import DamagedCheckpoint
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir
from pixeltui.train import state
from pixeltui.train.checkpoint import CheckpointNotSaved, Snapshot
from pixeltui.train.checkpoint_store import CheckpointStore
from pixeltui.train.failure import TrainingFailed, not_saved, other_data
from pixeltui.train.report import Reporter
from pixeltui.train.update import Updater

RETRY_SECONDS = 30.0
LAST_SAVE_SECONDS = 60.0, 600.0
"""for which the last save is tried at least and at most: in between, for as long as was trained"""


class Pending(NamedTuple):
    """A save in progress, and what is to be taken back where it fails."""

    result: "Future[dict[str, Any]]"
    """the fields of the event that tells of it; its time is when it is told"""
    before: state.Progress
    anew: bool


class Saver:
    """Knows what a checkpoint is made of. `progress` is the loop's, and changes under its hands."""

    def __init__(
        self,
        run: RunDir,
        updater: Updater,
        progress: state.Progress,
        report: Reporter,
    ) -> None:
        self._run = run
        self._updater = updater
        self._progress = progress
        self._report = report
        self._processes = updater.processes
        self._began = time.monotonic()
        self._retry_at = math.inf
        self._gives_up_at = math.inf
        """when no save is tried again, once training is over"""
        self._pending: Pending | None = None
        self._lost = -1, math.inf
        """step and bits/dim of a best that could not be saved: it is one where it is tried again at its own step"""
        self._outdated = False
        """whether what is saved of the step is not what was to be saved anew"""
        self._data_checksum = run.data_checksum()
        self._writer: threading.Thread | None = None
        self.checkpoints = CheckpointStore(
            run,
            keep=updater.config.train.keep,
            on_damaged=lambda message: report.notice("warning", "damaged", message),
            check=self._check,
        )

    @property
    def good(self) -> bool:
        """Whether the last step was finite: weights from which no step can be taken are not to push out others, though
        their average may still get better. Waits for the device."""
        return not int(self._updater.bad_in_a_row)

    @property
    def waits_to_retry(self) -> bool:
        return time.monotonic() >= self._retry_at

    def write(
        self,
        *,
        best: float | None = None,
        wait: bool = False,
        anew: bool = False,
    ) -> bool:
        """Copies the state and has it written in the background; `best`: bits/dim, the lowest so far; `wait`: returns
        whether it is on the disk; `anew`: also where the step has been saved, as something else.

        Where it cannot be written it is no best, training goes on and the save is tried again. Rank 0 writes, and it
        alone knows: whoever acts on the answer agrees on it first.
        """
        progress = self._progress
        if progress.saved_at == progress.step and best is None and not (anew or self._outdated):
            return self.settle() if wait else True
        self.settle()
        before, progress.saved_at = dataclasses.replace(progress), progress.step
        if best is None and self._lost[0] == progress.step:
            best = self._lost[1]
        if best is not None:
            progress.best_step, progress.best_bits_per_dim = progress.step, best
        if not self._processes.writes:
            return True
        began = time.perf_counter()
        with self._report.clock.elsewhere():
            tensors = Snapshot(self._updater.tensors())
        tree = state.tree_of(as_dict(self._updater.config), progress, self._updater.data, self._updater.scaler_state())
        step = progress.step

        def work() -> dict[str, Any]:
            try:
                # The log first: after a power cut it must tell of every step that the checkpoint has behind it.
                self._report.sink.sync()
                path = self.checkpoints.save(tensors, tree, step=step, best=best is not None)
                size = path.stat().st_size
            except OSError as error:
                reason = error.strerror or str(error)
                raise CheckpointNotSaved(f"the checkpoint of step {step} could not be written: {reason}") from None
            return {
                "step": step,
                "path": str(path.relative_to(self._run.path)),
                "bytes": size,
                "seconds": round(time.perf_counter() - began, 4),
                "best": best is not None,
            }

        self._pending = Pending(self._in_background(work), before, anew or self._outdated)
        self._retry_at = math.inf
        return self.settle() if wait else True

    def _in_background(self, work: Callable[[], dict[str, Any]]) -> "Future[dict[str, Any]]":
        result: Future[dict[str, Any]] = Future()

        def run() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._writer = threading.Thread(target=run, name="checkpoint")
        self._writer.start()
        return result

    def poll(self) -> None:
        """Reports a save that has ended, and begins one that had failed again where it is time; waits for none."""
        if self._pending is not None and self._pending.result.done():
            self.settle()
        if self.waits_to_retry and self.good:
            self.write()

    def settle(self) -> bool:
        """Waits for the save in progress, if any, and reports it: whether it succeeded."""
        pending, self._pending = self._pending, None
        if pending is None:
            return True
        try:
            with self._report.clock.elsewhere():
                saved = pending.result.result()
        except CheckpointNotSaved as error:
            progress, before = self._progress, pending.before
            self._lost = progress.best_step, progress.best_bits_per_dim
            progress.best_step, progress.best_bits_per_dim = before.best_step, before.best_bits_per_dim
            progress.saved_at = before.saved_at
            self._outdated = pending.anew
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._report.notice("warning", "disk", f"{error}{self._outlook()}")
            return False
        self._outdated = False
        self._report.emit(events.CheckpointSaved, **saved)
        return True

    def _outlook(self) -> str:
        """What follows a save that has failed."""
        left = self._gives_up_at - time.monotonic()
        if left == math.inf:
            return f"; training goes on and tries again within {RETRY_SECONDS:.0f} s"
        if left < 0:
            return ""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
        return f"; training is over: waits until {until} for the disk to take it, trying every {RETRY_SECONDS:.0f} s"

    def close(self) -> None:
        """Nothing is being written any more when this returns."""
        self.settle()
        if self._writer is not None:
            self._writer.join()

    def write_at_last(self, stop_waits: Callable[[], bool]) -> None:
        """The trained weights are not given up for a disk that is full for a while."""
        agree = self._processes.agree
        now, (least, most) = time.monotonic(), LAST_SAVE_SECONDS
        self._gives_up_at = now + min(max(now - self._began, least), most)
        while not agree(self.write(wait=True)) and not stop_waits():
            if agree(time.monotonic() > self._gives_up_at):
                raise TrainingFailed(not_saved(self._progress))
            while agree(not self.waits_to_retry) and not stop_waits():
                time.sleep(0.1)

    def write_at_stop(self) -> bool:
        """Tries once: whoever stops it does not wait. Returns whether it is on the disk, on every process."""
        self._gives_up_at = -math.inf
        return self._processes.agree(self.write(wait=True))

    def load(self, *, sets_lr: bool = False) -> None:
        """The newest whole checkpoint, or the beginning where the run never wrote one; sets_lr: see Trainer.run."""
        processes = self._processes
        found = processes.each(lambda: self._read() if processes.writes else None)
        loaded = processes.agree(found)
        if loaded is None:
            return
        tensors, tree = loaded
        train, before = self._updater.config.train, state.check_tree(tree).train
        if train.optimizer != before.optimizer:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer/")}
            moments = f"the checkpoint holds those of {before.optimizer}"
            self._report.notice("warning", "config", f"{train.optimizer} begins without moments: {moments}")
        self._updater.load(tensors, tree["scaler"])
        if train.accumulate != before.accumulate:
            self._updater.accumulate = train.accumulate  # not what memory made of the one before
        self._progress.take(tree["progress"])
        lr = self._progress.lr
        if sets_lr or train.lr != before.lr:
            self._progress.lr = train.lr
        if self._progress.lr != lr or train.muon_lr != before.muon_lr:
            self._updater.bad_in_a_row.zero_()
        self._report.step = self._progress.step
        if self._progress.lr != lr:
            self.write(wait=True, anew=True)  # a run that is killed goes on with it

    def _read(self) -> state.Loaded | None:
        loaded = self.checkpoints.newest_whole()
        if loaded is None:
            if any(isinstance(event, events.CheckpointSaved) for event in EventReader(self._run.events_path).iterate()):
                self._report.notice("warning", "damaged", "no checkpoint is left: training begins again at step 0")
            return None
        data = self._updater.data
        if loaded[1]["data"]["checksum"] != data.checksum:
            raise UserError(other_data(self._run.name, data.name))
        return loaded

    def _check(self, loaded: state.Loaded) -> None:
        """Whether it is one of this run's. Raises DamagedCheckpoint."""
        tensors, tree = loaded
        config, own = state.check_tree(tree), self._updater.tensors()
        if self._data_checksum not in (None, tree["data"]["checksum"]):
            raise DamagedCheckpoint("it was trained on other data than the run")
        for prefix in ("model", "ema"):
            state.check_tensors(prefix, own, tensors)
        if config.train.optimizer == self._updater.config.train.optimizer:
            state.check_optimizer(self._updater.optimizer, tensors)
        metrics = [name for name in own if name.startswith("metrics/") and name in tensors]  # older versions had fewer
        state.check_tensors("metrics", *({name: each[name] for name in metrics} for each in (own, tensors)))
        scaler = self._updater.scaler_state()
        if scaler and tree["scaler"] and tree["scaler"].keys() != scaler.keys():
            raise DamagedCheckpoint("its scaler does not fit the run's")
