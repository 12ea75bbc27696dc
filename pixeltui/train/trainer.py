"""The loop: obey, evaluate, sample, save, then step. One for every front end, which it knows by two ports."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from pixeltui import events
from pixeltui.config import Config, period_steps, total_steps
from pixeltui.core import build_model
from pixeltui.core.gpu import use
from pixeltui.data import DataSet
from pixeltui.data.batches import steps_per_epoch
from pixeltui.store.rundir import RunDir
from pixeltui.telemetry import Meter
from pixeltui.train import state
from pixeltui.train.failure import (
    TrainingFailed,
    device_failed,
    halved,
    not_finite,
    not_saved,
    out_of_memory,
    untrained_guidance,
    without_kernels,
)
from pixeltui.train.live import LiveSampler
from pixeltui.train.obedience import Obedience, Orders
from pixeltui.train.optim import lr_at
from pixeltui.train.precision import (
    compile_for,
    device_name,
    device_uuid,
    pick_device,
    pick_precision,
    pick_threads,
    set_up,
)
from pixeltui.train.processes import ALONE, LOST, AgreedInbox, Inbox, Processes, is_lost
from pixeltui.train.report import Clock, Reporter, Sink
from pixeltui.train.saving import Saver
from pixeltui.train.scoring import Scorer
from pixeltui.train.update import Updater

BAD_STEPS_IN_A_ROW = 10
BAD_STEPS_OF_FP16 = 40
"""its gradients are scaled by 2^16 at first, half as much after each bad step"""
TELEMETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a training ended, at which step, and why."""

    state: Literal["finished", "stopped", "failed"]
    step: int
    reason: str = ""
    known: bool = True
    """whether every process knows it: one says it then"""


class Trainer:
    """A run's training from wherever its checkpoints are to the end of its schedule."""

    def __init__(
        self,
        config: Config,
        data: DataSet,
        run: RunDir,
        sink: Sink,
        inbox: Inbox,
        processes: Processes = ALONE,
    ) -> None:
        train = config.train
        device = pick_device(train.device)
        set_up(train.precision, deterministic=train.deterministic)
        pick_threads(train.batch_size // train.accumulate, data.image_shape, config.model.channels)
        torch.manual_seed(train.seed)
        model = build_model(config, data.image_shape, data.levels, data.num_classes).to(device)
        average = copy.deepcopy(model)
        self.config = config
        self.run_dir = run
        self.data = data.to(device)
        self.precision = pick_precision(train.precision, device)
        self.processes = processes
        self.updater = Updater(config, model, average, self.data, self.precision, processes)
        self.steps_per_epoch = steps_per_epoch(len(data.train), train.batch_size)
        self.total_steps = total_steps(train, self.steps_per_epoch)
        self.compiled = compile_for(
            model, train.compile, device, steps=self.total_steps, deterministic=train.deterministic
        )
        self._clock = Clock()
        self.report = Reporter(sink, self.steps_per_epoch, self._clock)
        self.progress = state.Progress(lr=train.lr)
        self._meter = Meter(device_uuid(device)) if processes.writes else None
        self._metered_at = -TELEMETRY_SECONDS
        self._save_waits = False
        self._told_of_kernels = False
        self.saver = Saver(run, self.updater, self.progress, self.report)
        self.checkpoints = self.saver.checkpoints
        self.samples = LiveSampler(average, config.sample, self.data, run, self.report, draws=processes.writes)
        self._orders = Orders(AgreedInbox(inbox, processes) if processes.count > 1 else inbox)
        self._scorer = Scorer(self.updater, self.progress, self.saver, self.report, self._orders.stop_waits)
        self._obedience = Obedience(self._orders, self.progress, self.saver, self._scorer, self.samples, self.report)

    def run(
        self, *, resume: bool = False, sets_lr: bool = False, on_loaded: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Trains to the end, to a Stop command or to a failure; the last event says which.

        sets_lr: whether a run that is resumed takes the config's learning rate, whatever it was changed to meanwhile.
        on_loaded: called once the checkpoint of a run that goes on is loaded, before it trains.
        """
        try:
            outcome = self._outcome(on_loaded, resume=resume, sets_lr=sets_lr)
        finally:
            self.saver.close()
        if outcome.state == "failed":
            self._obedience.refuse("training has failed")
            self.report.notice("error", "failed", outcome.reason)
        self.report.state(outcome.state, outcome.reason)
        return outcome

    def _outcome(self, on_loaded: Callable[[], None], *, resume: bool, sets_lr: bool) -> Outcome:
        try:
            if resume:
                self.saver.load(sets_lr=sets_lr)
                if not self.samples.has_drawn(self.progress.sampled_at):
                    self.progress.sampled_at = -1  # it was begun, no more: drawn again where this is its step
                on_loaded()
            self._start(resumed=resume)
            self._train()
            if not self._orders.stop:
                self._finish()
            return self._end()
        except TrainingFailed as failure:
            return Outcome("failed", self.progress.step, str(failure))
        except torch.OutOfMemoryError:
            self.saver.settle()
            updater, batch_size = self.updater, self.config.train.batch_size
            reason = out_of_memory(
                batch_size, updater.share_size, self.progress, updater.accumulate, batch_norm=updater.keeps_statistics
            )
            return Outcome("failed", self.progress.step, reason, known=False)
        except torch.AcceleratorError as error:  # after which nothing more can be read from the device
            self.saver.settle()
            reason = device_failed(error, self.progress, self.run_dir.reference())
            return Outcome("failed", self.progress.step, reason, known=False)
        except RuntimeError as error:
            if not is_lost(error):
                raise
            return Outcome("failed", self.progress.step, LOST)

    def _train(self) -> None:
        progress, config = self.progress, self.config
        self._clock.restart()
        while True:
            self.saver.poll()
            self._obedience.obey()
            if self._orders.stop:
                return
            step = progress.step
            last = step >= self.total_steps
            if self._due("1 epoch", done_at=progress.epoch_at, last=last):
                self._scorer.report_epoch()
            if self._due(config.train.eval_every, done_at=progress.evaluated_at, last=last):
                self._scorer.validate()
                if self._orders.stop_waits():
                    continue
            if not last and self._due(config.sample.every, done_at=progress.sampled_at):
                progress.sampled_at = step
                self.samples.ask(events.DrawSample())
            self._save_waits |= self._due(config.train.checkpoint_every, done_at=progress.saved_at, last=last)
            if self._save_waits and (last or self.saver.good):
                self._save_waits = False
                self.saver.write()
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
        updater, accumulate = self.updater, self.updater.accumulate
        updater.update(progress.step, lr)
        progress.step += 1
        self.report.step = progress.step
        if updater.accumulate != accumulate:
            sizes = train.batch_size, updater.share_size
            what = halved(*sizes, accumulate, updater.accumulate, batch_norm=updater.keeps_statistics)
            self.report.notice("warning", "memory", what)
        if use.given_up and not self._told_of_kernels:
            self._told_of_kernels = True
            self.report.notice("warning", "kernels", without_kernels(use.why_not()))
        self._clock.images += min(train.batch_size, len(self.data.train))
        logs = progress.step % self.config.log.every == 0 or progress.step == self.total_steps
        # Reading a number from a GPU waits for it: only where one is logged.
        bad = int(self.updater.bad_in_a_row) if logs or self.precision.device.type == "cpu" else 0
        if logs:
            means = self.updater.window.take()
            self.report.trained(lr, means, int(self.updater.skipped), self.updater.waited)
            self.updater.waited = 0.0
            self._read_meter()
            self._clock.restart()
        if bad >= (BAD_STEPS_OF_FP16 if self.updater.scaler else BAD_STEPS_IN_A_ROW):
            self.saver.settle()
            raise TrainingFailed(not_finite(bad, progress, train, self.run_dir.reference()))

    def _read_meter(self) -> None:
        now = time.monotonic()
        if self._meter is not None and now - self._metered_at >= TELEMETRY_SECONDS:
            self._metered_at = now
            self.report.measured(self._meter.read())

    def _finish(self) -> None:
        """Draws the last samples and scores the best weights on the test split."""
        progress = self.progress
        self.saver.write_at_last(self._orders.stop_waits)
        if self.config.sample.every and progress.sampled_at < progress.step:
            self.samples.ask(events.DrawSample())
        while True:
            self._obedience.obey()
            if self._orders.stop:
                return
            if not self.processes.agree(self.samples.busy):
                break
            self.samples.advance(bounded=False)
        if not self._scorer.report_at_last():
            self._obedience.obey()

    def _start(self, *, resumed: bool) -> None:
        self.report.emit(
            events.Started,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
            parameters=sum(p.numel() for p in self.updater.model.parameters()),
            device=device_name(self.precision.device),
            precision=self.precision.name,
            processes=self.processes.count,
            resumed=resumed,
            peak_lr=self.progress.lr,
        )
        self.report.state("training", "resumed" if resumed else "started")
        for notice in self.data.notices:
            self.report.notice("warning", "data", notice)
        if self.compiled:
            self.report.notice("info", "compile", "torch compiles the network: half a minute or more to the first step")
        warmup = self.config.train.warmup_epochs * self.steps_per_epoch
        if warmup >= self.total_steps > 1:
            self.report.notice(
                "warning",
                "config",
                f"the warm-up takes {warmup:.0f} steps, training {self.total_steps}: the learning rate stays below "
                f"train.lr to the end; lower train.warmup_epochs",
            )
        guidance, model = self.config.sample.guidance, self.updater.model
        if self.config.sample.every and guidance != 1 and model.num_classes and not model.label_dropout:
            self.report.notice("warning", "config", untrained_guidance(guidance))

    def _end(self) -> Outcome:
        orders = self._orders
        saved = not orders.stop or self.saver.write_at_stop()
        orders.receive()
        self._obedience.refuse("training has stopped" if orders.stop else "training is over")
        if not saved:
            raise TrainingFailed(f"stopped, but {not_saved(self.progress)}")
        if orders.stop:
            return Outcome("stopped", self.progress.step, orders.stop.reason)
        return Outcome("finished", self.progress.step)
