"""Samples while training: a generator on the EMA weights as they were when it began, advanced between steps."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pixeltui.config import Sample
from pixeltui.core import ConditionalPixelCNN
from pixeltui.data import DataSet
from pixeltui.data.grid import write_samples
from pixeltui.events import DrawSample, SampleSaved
from pixeltui.store.rundir import RunDir
from pixeltui.train.report import Reporter

MOST_WISHED = 4096
"""samples of one sheet that a command may ask for: all are held, and drawn between steps"""


def labels_in_turn(model: ConditionalPixelCNN, count: int, chosen: Sequence[int] | None = None) -> list[int]:
    """`count` labels: the chosen ones, else every class, in turn; none where the model knows no classes."""
    options = chosen or range(model.num_classes)
    return [options[i % len(options)] for i in range(count)] if options else []


class LiveSample:
    """Images being drawn from the weights as they were at `step`. Training's random numbers are not touched."""

    def __init__(self, model: ConditionalPixelCNN, sample: Sample, wish: DrawSample, *, step: int) -> None:
        count = wish.count or sample.count
        temperature = wish.temperature or sample.temperature
        self.step = step
        self.labels = labels_in_turn(model, count, wish.labels)
        self.images = torch.zeros(count, *model.image_shape, dtype=torch.uint8)
        self.rows_done = 0
        self.done = False
        self.seconds = 0.0
        self.settings = {
            "step": step,
            "weights": "ema",
            "count": count,
            "labels": self.labels,
            "temperature": temperature,
            "top_p": sample.top_p,
            "guidance": sample.guidance,
            "seed": sample.seed,
        }
        device = next(model.parameters()).device
        self._rows: Iterator[tuple[Tensor, int]] = model.sample_stream(
            count,
            labels=torch.tensor(self.labels, device=device) if self.labels else None,
            temperature=temperature,
            top_p=sample.top_p,
            guidance=sample.guidance,
            seed=sample.seed,
        )

    def advance(self) -> None:
        """Draws one more row of every image; `images` uint8 [N, C, H, W] on the CPU then holds it."""
        began = time.perf_counter()
        row = next(self._rows, None)
        if row is None:
            self.done = True
        else:
            self.images, self.rows_done = row[0].cpu(), row[1]
            self.done = self.rows_done == self.images.shape[2]
        self.seconds += time.perf_counter() - began


class LiveSampler:
    """The samples that a run draws while it trains, one sheet at a time, written to its samples/ folder."""

    def __init__(
        self,
        model: ConditionalPixelCNN,
        config: Sample,
        data: DataSet,
        run: RunDir,
        report: Reporter,
        *,
        draws: bool = True,
    ) -> None:
        """draws: whether this process does; of several one is enough."""
        self._draws = draws
        self._model = model
        self._config = config
        self._data = data
        self._run = run
        self._report = report
        self._current: LiveSample | None = None
        self._wish: DrawSample | None = None
        self._next_at = 0.0
        """seconds of training at which samples will have had their share of the time, and no more"""
        self._written: Counter[int] = Counter()
        """sheets of a step; one that a resumed run draws again takes the place of the former"""
        self._began_one = False
        """the first sheet compiles its kernels on a GPU: seconds, once, which it is not to wait for ten times over"""

    def has_drawn(self, step: int) -> bool:
        """Whether a sheet of that step is there, by this process or one before."""
        return self._path(step).exists()

    def _path(self, step: int, number: int = 1) -> Path:
        return self._run.samples_dir / f"step-{step:08d}{f'-{number}' if number > 1 else ''}.png"

    def refusal(self, wish: DrawSample) -> str:
        """Why images cannot be drawn like this, or ""."""
        classes = self._model.num_classes
        if any(not 0 <= label < classes for label in wish.labels or ()):
            return f"expected labels under {classes}, got {', '.join(map(str, wish.labels or ()))}"
        if wish.count is not None and not 1 <= wish.count <= MOST_WISHED:
            return f"expected 1 to {MOST_WISHED:,} samples, got {wish.count}"
        if wish.temperature is not None and not 0 < wish.temperature < math.inf:
            return f"expected a temperature over 0, got {wish.temperature}"
        return ""

    @property
    def busy(self) -> bool:
        return self._current is not None or self._wish is not None

    def ask(self, wish: DrawSample) -> None:
        """Draws as `wish` says, from the weights as they are now, or as they are when the sheet in progress is done.

        Of several wishes that wait the newest counts.
        """
        if self._draws:
            self._wish = wish
            self._begin()

    def _begin(self) -> None:
        if self._current is None and self._wish is not None:
            wish, self._wish = self._wish, None
            with self._while_memory_lasts(wish.count or self._config.count), self._timed(counts=self._began_one):
                self._current = LiveSample(self._model, self._config, wish, step=self._report.step)
            self._began_one = True

    @contextlib.contextmanager
    def _while_memory_lasts(self, count: int) -> Iterator[None]:
        """Gives the sheet of so many images up where it ends: training is to have what there is."""
        try:
            yield
        except torch.OutOfMemoryError:
            self._current = None
            message = f"no memory for {count} samples beside training: set sample.count lower"
            self._report.notice("warning", "memory", message)

    @contextlib.contextmanager
    def _timed(self, *, counts: bool = True) -> Iterator[None]:
        """Samples' time, for which training has to run for so long that their share is right again."""
        clock = self._report.clock
        began = clock.now()
        with clock.elsewhere(sampling=True):
            yield
        seconds, trained = clock.now() - began if counts else 0.0, clock.trained_seconds
        self._next_at = max(self._next_at, trained) + seconds * (1 / self._config.time_share - 1)

    def advance(self, *, bounded: bool = True) -> None:
        """Draws a row of the sheet in progress; where `bounded`, only if the samples' share of the time allows it."""
        self._begin()
        sample = self._current
        if sample is None or (bounded and self._report.clock.trained_seconds < self._next_at):
            return
        with self._timed():
            with self._while_memory_lasts(len(sample.images)):
                sample.advance()
            if self._current is None:
                return
            names = [self._data.classes[label] for label in sample.labels]
            self._report.sampling(sample, self._data.levels, names)
            if sample.done:
                self._current = None
                self._write(sample, names)

    def _write(self, sample: LiveSample, names: list[str]) -> None:
        self._written[sample.step] += 1
        path = self._path(sample.step, self._written[sample.step])
        settings = {"run": self._run.name, **sample.settings, "seconds": round(sample.seconds, 3)}
        try:
            self._run.own(path.parent).mkdir(exist_ok=True)
            write_samples(path, sample.images, levels=self._data.levels, names=names, settings=settings)
        except OSError as error:
            reason = error.strerror or error
            self._report.notice("warning", "disk", f"samples of step {sample.step} could not be written: {reason}")
            return
        relative = str(path.relative_to(self._run.path))
        self._report.emit(SampleSaved, step=sample.step, path=relative, count=len(sample.images))
