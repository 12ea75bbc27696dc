"""The likelihoods that a run reports: each epoch's, the validation split's, and the test split's at the end."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN
from pixeltui.data import Split
from pixeltui.train import state
from pixeltui.train.evaluate import Interrupted, Likelihood, image_nats, likelihood
from pixeltui.train.report import Reporter
from pixeltui.train.saving import Saver
from pixeltui.train.update import Updater

RAW_SHARE = 10
"""of the validation images one in so many is scored by the raw weights too"""
RAW_LEAST = 64


class Scorer:
    """Scores the EMA weights, each process its part of the images, and keeps the best weights."""

    def __init__(
        self,
        updater: Updater,
        progress: state.Progress,
        saver: Saver,
        report: Reporter,
        stop_waits: Callable[[], bool],
    ) -> None:
        self._config = updater.config
        self._data = updater.data
        self._updater = updater
        self._progress = progress
        self._saver = saver
        self._report = report
        self._processes = updater.processes
        self._stop_waits = stop_waits

    def report_epoch(self) -> None:
        """The mean training loss since the epoch began, of the weights as they changed, on augmented images."""
        progress = self._progress
        steps = progress.step - progress.epoch_at
        progress.epoch_at = progress.step
        nats = self._updater.epoch.take()["loss"]
        if nats is not None:
            images = steps * min(self._config.train.batch_size, len(self._data.train))
            self._report.evaluated("train", "raw", Likelihood(images, nats, None, {}))

    def validate(self) -> bool:
        """Validation likelihood of the EMA weights; the best so far are saved at once. False: given up for a Stop."""
        progress = self._progress
        val = self._data.val
        try:
            nats = self._score(self._updater.average, val)
            excess, raw_images = self._raw_excess(nats)
        except Interrupted:
            return False
        result = likelihood(nats, val.labels)
        progress.evaluated_at = progress.step
        self._saver.settle()  # whether the best before is on the disk
        best = self._processes.agree(result.bits_per_dim < progress.best_bits_per_dim and self._saver.good)
        self._report.evaluated("val", "ema", result, best=best, raw_excess=excess, raw_images=raw_images)
        if best:
            self._saver.write(best=result.bits_per_dim)
        return True

    def report_at_last(self) -> bool:
        """Test likelihood, and training likelihood beside it, of the best validated EMA weights. False: given up for a
        Stop."""
        average, name = self._updater.average, None
        self._saver.settle()
        if self._processes.agree(self._progress.best_step) not in (-1, self._progress.step):
            loaded = self._saver.checkpoints.best_whole() if self._processes.writes else None
            loaded = self._processes.agree(loaded)
            if loaded is not None:
                average, name = copy.deepcopy(average), "best"  # the run's own are still to be saved, or scored
                state.load_module("ema", average, loaded[0])
        as_many = self._data.train.spread(min(len(self._data.val), len(self._data.train)))
        try:
            for title, split in (("test", self._data.test), ("train", as_many)):
                result = likelihood(self._score(average, split), split.labels)
                self._report.evaluated(title, "ema", result, checkpoint=name)
        except Interrupted:
            return False
        return True

    def _raw_excess(self, averaged: Tensor) -> tuple[float | None, int]:
        """bits/dim that the raw weights take more than their average, and on how many validation images.

        averaged: nats/dim of all validation images, [N]. A difference on the same images is sharp with few of them.
        """
        val = self._data.val
        if not self._config.train.ema_decay:
            return None, 0
        indices = val.spread_indices(max(RAW_LEAST, len(val) // RAW_SHARE))
        with torch.compiler.set_stance("force_eager"):  # compiling once more, for scoring, would take longer than it
            raw = self._score(self._updater.model, val[indices])
        excess = float((raw - averaged[indices.cpu()]).mean()) / math.log(2)
        return (excess if math.isfinite(excess) else None), len(indices)

    def _score(self, model: ConditionalPixelCNN, split: Split) -> Tensor:
        """nats/dim of each image, [N]."""
        train, processes = self._config.train, self._processes
        with self._report.clock.elsewhere():
            nats = image_nats(
                model,
                split,
                batch_size=max(train.batch_size // self._updater.accumulate // processes.count, 1),
                part=processes.rank,
                parts=processes.count,
                interrupted=self._stop_waits,
            )
            return processes.sum(nats)
