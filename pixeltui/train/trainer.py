"""The loop: obey, evaluate, sample, save, then step. One for every front end, which it knows by two ports."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from pixeltui import events
from pixeltui.config import Config, as_dict, period_steps, total_steps
from pixeltui.core import build_model
from pixeltui.data import DataSet, Split
from pixeltui.data.batches import steps_per_epoch
from pixeltui.errors import UserError
from pixeltui.events import AnyCommand
from pixeltui.store.rundir import RunDir
from pixeltui.train import state
from pixeltui.train.checkpoint import CheckpointNotSaved, CheckpointStore
from pixeltui.train.evaluate import Interrupted, Likelihood, image_nats, likelihood
from pixeltui.train.failure import TrainingFailed, last_good, not_finite, out_of_memory
from pixeltui.train.live import LiveSampler
from pixeltui.train.optim import lr_at
from pixeltui.train.precision import device_name, pick_device, pick_precision, pick_threads, set_up
from pixeltui.train.report import Clock, Reporter, Sink
from pixeltui.train.update import Updater

BAD_STEPS_IN_A_ROW = 10
RETRY_SECONDS = 30.0
LAST_SAVE_SECONDS = 600.0


class Inbox(Protocol):
    """Gives what the trainer shall do: (id to acknowledge or "", command), oldest first."""

    def take(self) -> Sequence[tuple[str, AnyCommand]]: ...


@dataclass(frozen=True)
class Outcome:
    state: Literal["finished", "stopped", "failed"]
    step: int
    reason: str = ""


class Trainer:
    """A run's training from wherever its checkpoints are to the end of its schedule."""

    def __init__(self, config: Config, data: DataSet, run: RunDir, sink: Sink, inbox: Inbox) -> None:
        train = config.train
        device = pick_device(train.device)
        set_up(deterministic=train.deterministic)
        _, height, width = data.image_shape
        pick_threads(train.batch_size // train.accumulate * height * width * config.model.channels)
        torch.manual_seed(train.seed)
        model = build_model(config, data.image_shape, data.levels, data.num_classes).to(device)
        average = copy.deepcopy(model)
        if train.compile:
            model.compile()
        self.config = config
        self.run_dir = run
        self.data = data.to(device)
        self.precision = pick_precision(train.precision, device)
        self.updater = Updater(config, model, average, self.data, self.precision)
        self.steps_per_epoch = steps_per_epoch(len(data.train), train.batch_size)
        self.total_steps = total_steps(train, self.steps_per_epoch)
        self.report = Reporter(sink, self.steps_per_epoch)
        self.progress = state.Progress(lr=train.lr)
        self.checkpoints = CheckpointStore(
            run, keep=train.keep, on_damaged=lambda message: self.report.notice("warning", "damaged", message)
        )
        self._inbox = inbox
        self._queue: list[tuple[str, AnyCommand]] = []
        self._paused = False
        self._stop: events.Stop | None = None
        self._retry_save_at = math.inf
        self._clock = Clock()
        self.samples = LiveSampler(average, config.sample, self.data, run, self.report, self._clock)

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self, *, resume: bool = False) -> Outcome:
        """Trains to the end, to a Stop command or to a failure; the last event says which."""
        try:
            if resume:
                self._load()
            self._start(resumed=resume)
            self._train()
            if not self._stop:
                self._finish()
            outcome = self._end()
        except TrainingFailed as failure:
            outcome = Outcome("failed", self.progress.step, str(failure))
        except torch.OutOfMemoryError:
            outcome = Outcome("failed", self.progress.step, out_of_memory(self.config.train, self.progress))
        if outcome.state == "failed":
            self.report.notice("error", "failed", outcome.reason)
        self.report.state(outcome.state, outcome.reason)
        return outcome

    def _train(self) -> None:
        progress, config = self.progress, self.config
        self._clock.restart()
        while True:
            self._obey()
            if self._stop:
                return
            step = progress.step
            last = step >= self.total_steps
            if self._due("1 epoch", done_at=progress.epoch_at, last=last):
                self._report_epoch()
            if self._due(config.train.eval_every, done_at=progress.evaluated_at, last=last):
                self._evaluate()
                if self._stop_waits():
                    continue
            if not last and self._due(config.sample.every, done_at=progress.sampled_at):
                progress.sampled_at = step
                self.samples.ask(events.DrawSample())
            saving = self._due(config.train.checkpoint_every, done_at=progress.saved_at, last=last)
            if saving or time.monotonic() >= self._retry_save_at:
                self._save()
            if last:
                return
            self._step()
            self.samples.advance()

    def _due(self, period: int | str, *, done_at: int, last: bool = False) -> bool:
        every = period_steps(period, self.steps_per_epoch)
        step = self.progress.step
        return step > done_at and step > 0 and (last or (every > 0 and step % every == 0))

    def _step(self) -> None:
        progress, train = self.progress, self.config.train
        lr = lr_at(
            progress.step,
            peak=progress.lr,
            total_steps=self.total_steps,
            warmup_steps=train.warmup_epochs * self.steps_per_epoch,
            schedule=train.schedule,
        )
        self.updater.update(progress.step, lr)
        progress.step += 1
        self.report.step = progress.step
        self._clock.images += min(train.batch_size, len(self.data.train))
        logs = progress.step % self.config.log.every == 0 or progress.step == self.total_steps
        # Reading a number from a GPU waits for it: only where one is logged.
        bad = int(self.updater.bad_in_a_row) if logs or self.precision.device.type == "cpu" else 0
        if logs:
            means = self.updater.window.take()
            self.report.trained(lr, means, self._clock, int(self.updater.skipped))
            self._clock.restart()
        if bad >= BAD_STEPS_IN_A_ROW:
            raise TrainingFailed(not_finite(bad, progress, self.run_dir.name))

    def _finish(self) -> None:
        """Draws the last samples and scores the best weights on the test split."""
        progress = self.progress
        self._save_at_last()
        if self.config.sample.every and progress.sampled_at < progress.step:
            self.samples.ask(events.DrawSample())
        while self.samples.busy and not self._stop_waits():
            self.samples.advance(bounded=False)
        self._obey()
        if not self._stop:
            self._final_figures()
            self._obey()

    # -- commands ----------------------------------------------------------------------------------------------

    def _stop_waits(self) -> bool:
        """Asked inside long work, which is given up for a Stop."""
        self._queue += self._inbox.take()
        return self._stop is not None or any(isinstance(command, events.Stop) for _, command in self._queue)

    def _obey(self) -> None:
        """Carries out what waits, and waits itself while paused."""
        while True:
            self._queue += self._inbox.take()
            while self._queue and not self._stop:
                command_id, command = self._queue.pop(0)
                self.report.acknowledge(command_id, command, self._carry_out(command))
            if self._stop or not self._paused:
                return
            with self._clock.elsewhere():
                if self.samples.busy:
                    self.samples.advance(bounded=False)
                else:
                    time.sleep(0.05)

    def _carry_out(self, command: AnyCommand) -> str:
        """Why the command was refused, or ""."""
        match command:
            case events.Pause():
                self._paused = True
                self.report.state("paused", "asked to pause")
            case events.Resume():
                self._paused = False
                self.report.state("training", "asked to go on")
            case events.SaveCheckpoint():
                return "" if self._save() else "the checkpoint could not be written"
            case events.DrawSample(labels=labels):
                classes = self.updater.model.num_classes
                if any(not 0 <= label < classes for label in labels or ()):
                    return f"expected labels under {classes}, got {labels}"
                self.samples.ask(command)
            case events.Evaluate():
                self._evaluate()
            case events.SetLearningRate(lr=lr):
                if not 0 < lr < math.inf:
                    return f"expected a learning rate over 0, got {lr}"
                self.progress.lr = lr
                self.report.notice("info", "lr", f"peak learning rate {lr:g} from step {self.progress.step} on")
            case events.Stop():
                self._stop = command
        return ""

    # -- evaluate, sample, save --------------------------------------------------------------------------------

    def _report_epoch(self) -> None:
        """The mean training loss since the epoch began, of the weights as they changed, on augmented images."""
        progress = self.progress
        steps = progress.step - progress.epoch_at
        progress.epoch_at = progress.step
        nats = self.updater.epoch.take()["loss"]
        if nats is not None:
            images = steps * min(self.config.train.batch_size, len(self.data.train))
            self.report.evaluated("train", "raw", Likelihood(images, nats, None, {}))

    def _evaluate(self) -> None:
        """Validation likelihood of the EMA weights; the best so far are saved at once."""
        progress = self.progress
        try:
            result = self._score(self.data.val)
        except Interrupted:
            return
        progress.evaluated_at = progress.step
        best = result.bits_per_dim < progress.best_bits_per_dim
        self.report.evaluated("val", "ema", result, best=best)
        if best:
            before = progress.best_step, progress.best_bits_per_dim
            progress.best_step, progress.best_bits_per_dim = progress.step, result.bits_per_dim
            if not self._save(best=True):
                progress.best_step, progress.best_bits_per_dim = before

    def _score(self, split: Split) -> Likelihood:
        train = self.config.train
        with self._clock.elsewhere():
            nats = image_nats(
                self.updater.average,
                split,
                batch_size=max(train.batch_size // train.accumulate, 1),
                interrupted=self._stop_waits,
            )
        return likelihood(nats, split.labels)

    def _final_figures(self) -> None:
        """Test likelihood, and training likelihood beside it, of the best validated EMA weights."""
        average, name = self.updater.average, None
        if self.progress.best_step not in (-1, self.progress.step):
            loaded = self.checkpoints.best_whole()
            if loaded is not None:
                state.load_module("ema", average, loaded[0])
                name = "best"
        try:
            self.report.evaluated("test", "ema", self._score(self.data.test), checkpoint=name)
            as_many = self.data.train.spread(min(len(self.data.val), len(self.data.train)))
            self.report.evaluated("train", "ema", self._score(as_many), checkpoint=name)
        except Interrupted:
            return

    def _save(self, *, best: bool = False) -> bool:
        """Whether the checkpoint is on the disk; where it is not, training goes on and the save is tried again."""
        progress = self.progress
        if progress.saved_at == progress.step and not best:
            return True
        before, progress.saved_at = progress.saved_at, progress.step
        began = time.perf_counter()
        tree = state.tree_of(as_dict(self.config), progress, self.data, self.updater.scaler_state())
        try:
            with self._clock.elsewhere():
                path = self.checkpoints.save(self.updater.tensors(), tree, step=progress.step, best=best)
        except CheckpointNotSaved as error:
            progress.saved_at = before
            self._retry_save_at = time.monotonic() + RETRY_SECONDS
            again = f"training goes on and tries again in {RETRY_SECONDS:.0f} s"
            self.report.notice("warning", "disk", f"{error}; {again}")
            return False
        self._retry_save_at = math.inf
        self.report.emit(
            events.CheckpointSaved,
            path=str(path.relative_to(self.run_dir.path)),
            bytes=path.stat().st_size,
            seconds=round(time.perf_counter() - began, 4),
            best=best,
        )
        return True

    # -- beginning and end -------------------------------------------------------------------------------------

    def _load(self) -> None:
        """The newest whole checkpoint, or the beginning where the run never wrote one."""
        loaded = self.checkpoints.newest_whole()
        if loaded is None:
            return
        tensors, tree = loaded
        if tree["data"]["checksum"] != self.data.checksum:
            raise UserError(
                f"the data set {self.data.name} is not the one that run {self.run_dir.name} trains on (its images, "
                "labels or splits changed): put it back, or start a new run"
            )
        self.updater.load(tensors, tree["scaler"])
        self.progress = state.Progress.load(tree["progress"])
        if self.config.train.lr != tree["config"]["train"]["lr"]:
            self.progress.lr = self.config.train.lr
        self.report.step = self.progress.step

    def _start(self, *, resumed: bool) -> None:
        self.report.emit(
            events.Started,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            parameters=sum(p.numel() for p in self.updater.model.parameters()),
            device=device_name(self.precision.device),
            precision=self.precision.name,
            resumed=resumed,
        )
        self.report.state("training", "resumed" if resumed else "started")
        for notice in self.data.notices:
            self.report.notice("warning", "data", notice)
        warmup = self.config.train.warmup_epochs * self.steps_per_epoch
        if warmup >= self.total_steps > 1:
            self.report.notice(
                "warning",
                "config",
                f"the warm-up takes {warmup:.0f} steps, training {self.total_steps}: the learning rate stays below "
                f"train.lr to the end; lower train.warmup_epochs",
            )

    def _save_at_last(self) -> None:
        """The trained weights are not given up for a disk that is full for a while."""
        deadline = time.monotonic() + LAST_SAVE_SECONDS
        while not self._save() and not self._stop_waits():
            if time.monotonic() > deadline:
                raise TrainingFailed(
                    f"the last checkpoint could not be written: make room, resume; {last_good(self.progress)}"
                )
            while time.monotonic() < self._retry_save_at and not self._stop_waits():
                time.sleep(0.1)

    def _end(self) -> Outcome:
        if not self._stop:
            return Outcome("finished", self.progress.step)
        for command_id, command in self._queue:
            self.report.acknowledge(command_id, command, "training has stopped")
        if not self._save():
            raise TrainingFailed("stopped, but the last checkpoint could not be written: make room, then resume")
        return Outcome("stopped", self.progress.step, self._stop.reason)
