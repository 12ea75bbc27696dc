"""The likelihoods that a run reports: each epoch's, the validation split's, and the test split's at the end."""

from collections.abc import Callable

from pixeltui.config import Config
from pixeltui.data import DataSet, Split
from pixeltui.train import state
from pixeltui.train.evaluate import Interrupted, Likelihood, image_nats, likelihood
from pixeltui.train.processes import Processes
from pixeltui.train.report import Clock, Reporter
from pixeltui.train.saving import Saver
from pixeltui.train.update import Updater


class Scorer:
    """Scores the EMA weights, each process its part of the images, and keeps the best weights."""

    def __init__(
        self,
        config: Config,
        data: DataSet,
        updater: Updater,
        progress: state.Progress,
        saver: Saver,
        report: Reporter,
        clock: Clock,
        processes: Processes,
        stop_waits: Callable[[], bool],
    ) -> None:
        self._config = config
        self._data = data
        self._updater = updater
        self._progress = progress
        self._saver = saver
        self._report = report
        self._clock = clock
        self._processes = processes
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

    def validate(self) -> None:
        """Validation likelihood of the EMA weights; the best so far are saved at once."""
        progress = self._progress
        try:
            result = self._score(self._data.val)
        except Interrupted:
            return
        progress.evaluated_at = progress.step
        self._saver.settle()  # whether the best before is on the disk
        best = self._processes.agree(result.bits_per_dim < progress.best_bits_per_dim)
        self._report.evaluated("val", "ema", result, best=best)
        if best:
            before = progress.best_step, progress.best_bits_per_dim
            progress.best_step, progress.best_bits_per_dim = progress.step, result.bits_per_dim

            def undo() -> None:
                progress.best_step, progress.best_bits_per_dim = before

            self._saver.write(best=True, undo=undo)

    def report_at_last(self) -> None:
        """Test likelihood, and training likelihood beside it, of the best validated EMA weights."""
        average, name = self._updater.average, None
        self._saver.settle()
        if self._processes.agree(self._progress.best_step) not in (-1, self._progress.step):
            loaded = self._saver.checkpoints.best_whole() if self._processes.writes else None
            loaded = self._processes.agree(loaded)
            if loaded is not None:
                state.load_module("ema", average, loaded[0])
                name = "best"
        try:
            self._report.evaluated("test", "ema", self._score(self._data.test), checkpoint=name)
            as_many = self._data.train.spread(min(len(self._data.val), len(self._data.train)))
            self._report.evaluated("train", "ema", self._score(as_many), checkpoint=name)
        except Interrupted:
            return

    def _score(self, split: Split) -> Likelihood:
        train, processes = self._config.train, self._processes
        with self._clock.elsewhere():
            nats = image_nats(
                self._updater.average,
                split,
                batch_size=max(train.batch_size // self._updater.accumulate // processes.count, 1),
                part=processes.rank,
                parts=processes.count,
                interrupted=self._stop_waits,
            )
            nats = processes.sum(nats)
        return likelihood(nats, split.labels)
