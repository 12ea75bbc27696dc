"""One optimizer step: batch, forward, backward, clip, update, EMA. It never waits for the device."""

import contextlib
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pixeltui.config import Config
from pixeltui.core import ConditionalPixelCNN, PixelCNNLoss
from pixeltui.data import DataSet
from pixeltui.data.augment import augment
from pixeltui.data.batches import batch_indices, step_generator
from pixeltui.data.randomness import mix
from pixeltui.errors import UserError
from pixeltui.train import state
from pixeltui.train.optim import Ema, make_optimizer
from pixeltui.train.precision import DTYPES, Precision
from pixeltui.train.processes import ALONE, Processes
from pixeltui.train.recorded import RecordedStep

METRICS = ("loss", "grad_norm")


class Updater:
    """Model, EMA, optimizer and the means of what they did; `data` and both models are on `device`.

    The batch is a function of (train.seed, step), the augmentation and dropout of an image of its place in that batch
    too. So neither micro-batches nor processes, which each take a share of the batch, change anything.
    """

    def __init__(
        self,
        config: Config,
        model: ConditionalPixelCNN,
        average: ConditionalPixelCNN,
        data: DataSet,
        precision: Precision,
        processes: Processes = ALONE,
    ) -> None:
        self.config = config
        self.data = data
        self.model = model
        self.processes = processes
        model.trunk.recompute = config.train.checkpoint_activations
        self.parallel = processes.parallel(model, precision.device)
        self.average = average
        self.ema = Ema(model, average)
        self.precision = precision
        self.optimizer = make_optimizer(model, config.train, DTYPES[precision.name])
        device = precision.device
        self.scaler = torch.amp.GradScaler(device.type) if precision.name == "fp16" else None
        self.window = state.Means(METRICS, device)
        self.epoch = state.Means(("loss",), device)
        self.bad_in_a_row = torch.zeros((), dtype=torch.int64, device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.accumulate = config.train.accumulate
        """micro-batches of a step; more than the config's where memory ran out"""
        self.waited = 0.0
        """seconds spent on getting batches; whoever reports them sets them to 0"""
        self._loss = PixelCNNLoss()
        self._lr = torch.zeros((), device=device)
        """where a recorded step reads the learning rate"""
        self._parameters = list(model.parameters())
        self._recorded = RecordedStep(self._parameters)
        self._batch_size = min(config.train.batch_size, len(data.train))
        if self._batch_size < processes.count:
            raise UserError(f"{processes.count} processes cannot share a batch of {self._batch_size} images")
        lasting = model.state_dict()
        self._statistics = [b for name, b in model.named_buffers() if name in lasting and b.numel()]
        # Whether the first step has to be tried. A forward pass with BatchNorm already waits for the other processes.
        self._untried = processes.count > 1 and not self.keeps_statistics
        self._unordered = processes.count > 2

    def update(self, step: int, lr: float) -> None:
        """Takes the weights from `step` to `step + 1`; leaves them where loss or gradient is not finite."""
        if self._untried:
            self._try_together(step)
        if self._unordered:
            self._order_exchange(step)
        began = time.perf_counter()
        images, labels = self.batch(step)
        self.waited += time.perf_counter() - began
        torch.manual_seed(mix(self.config.train.seed, "global", step))
        buffers = [buffer.clone() for buffer in self._statistics]
        rate = self._lr.fill_(lr) if self._records else lr
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, norm = self._change_that_fits(images, labels, step, buffers)
        finite = loss.isfinite() & norm.isfinite()
        for buffer, before in zip(self._statistics, buffers, strict=True):
            buffer.copy_(torch.where(finite, buffer, before))
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(step, self.config.train.ema_decay)
        self.window.add(torch.stack([loss, norm]), finite)
        self.epoch.add(loss[None], finite)
        self.bad_in_a_row = torch.where(finite, 0, self.bad_in_a_row + 1)
        self.skipped += ~finite

    @property
    def keeps_statistics(self) -> bool:
        """Whether steps change buffers that are saved, as BatchNorm's, in which images see one another."""
        return bool(self._statistics)

    @property
    def share_size(self) -> int:
        """Images of a step that this process takes."""
        return sum(map(len, self._parts))

    @property
    def _smallest_share(self) -> int:
        """Images of a step that every process takes at least."""
        return self._batch_size // self.processes.count

    @property
    def _parts(self) -> list[range]:
        """This process's part of each micro-batch, as places in the step's batch.

        So that BatchNorm normalises over the same images in one process and in several, which have to have as many
        parts: they wait for one another.
        """
        count = min(self.accumulate, self._smallest_share)
        cuts = [self._batch_size * number // count for number in range(count + 1)]
        wholes = [range(start, stop) for start, stop in pairwise(cuts)]
        return [whole[self.processes.share(len(whole), turn)] for turn, whole in enumerate(wholes)]

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's training images uint8 [B, C, H, W] of a step, augmented, and their labels int64 [B]."""
        train, seed = self.data.train, self.config.train.seed
        places = torch.cat([torch.arange(part.start, part.stop) for part in self._parts])
        index = batch_indices(len(train), self.config.train.batch_size, seed, step)[places]
        index = index.to(train.images.device, non_blocking=True)  # without, this waits for all steps before
        images = augment(
            train.images.index_select(0, index),
            self.config.data.augmentations,
            self.data.levels,
            step_generator(seed, "augment", step),
            batch=self._batch_size,
            places=places,
        )
        return images, None if train.labels is None else train.labels[index]

    def _change_that_fits(
        self, images: Tensor, labels: Tensor | None, step: int, buffers: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """New weights; loss and gradient norm, fp32 []. Where memory for the gradients runs out, once more with
        micro-batches half as large. buffers: as before the step.

        Several processes halve together, before their first step; here the others wait for this one's gradients.
        There, and for a single image, raises OutOfMemoryError.
        """
        while True:
            try:
                if self._records:
                    self._make_ready(self._parts[0], step)
                    found = self._recorded(self._of_part, self._change_recorded, images, labels)
                    if found is not None:
                        return found
                loss = self._backward(images, labels, step)
                break
            except torch.OutOfMemoryError:
                if self.accumulate >= len(images) or self.processes.count > 1:
                    raise
            # Not in the handler: there the exception still holds the tensors of the step that did not fit.
            self._recorded.forget()
            self._forget(buffers)
            torch.cuda.empty_cache()
            self.accumulate = min(2 * self.accumulate, len(images))
        return loss, self._change(loss)

    def _try_together(self, step: int) -> None:
        """Before the first step of several processes: all halve until the step fits into the memory of each.

        Tried without the exchange of gradients, for which they would wait if one has run out of memory.
        """
        short = True
        while short:
            try:
                self._gradients(*self.batch(step), step, exchange=False)
                short = False
            except torch.OutOfMemoryError:
                pass
            self.optimizer.zero_grad(set_to_none=True)
            short = self.processes.any(short)
            if short:
                torch.cuda.empty_cache()
                if self.accumulate >= self._smallest_share:
                    raise torch.OutOfMemoryError("not even one image fits")
                self.accumulate = min(2 * self.accumulate, self._smallest_share)
        self._untried = False

    def _order_exchange(self, step: int) -> None:
        """Before the first step of three processes or more, also of those that go on: a step whose gradients come to
        nothing.

        DistributedDataParallel lays them out anew after the first exchange, and where one lies decides in which order
        it is added up: without, the first step after a resume would be rounded otherwise than in a run that was never
        stopped.
        """
        buffers = [buffer.clone() for buffer in self._statistics]
        self._gradients(*self.batch(step), step)
        self._forget(buffers)
        self._unordered = False

    def _forget(self, buffers: list[Tensor]) -> None:
        """Gradients there are; buffers become what they were."""
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(self._statistics, buffers, strict=True):
            buffer.copy_(before)

    def _backward(self, images: Tensor, labels: Tensor | None, step: int) -> Tensor:
        """Gradients of the mean loss of the whole batch, in every process; returns that loss, fp32 []."""
        return self.processes.sum(self._gradients(images, labels, step))

    def _gradients(self, images: Tensor, labels: Tensor | None, step: int, *, exchange: bool = True) -> Tensor:
        """Micro-batch by micro-batch; returns this process's part of the loss, fp32 []."""
        total = torch.zeros((), device=images.device)
        start = 0
        for places in self._parts:
            part = slice(start, start + len(places))
            start = part.stop
            own_labels = None if labels is None else labels[part]
            self._make_ready(places, step)
            with contextlib.ExitStack() as stack:
                last = exchange and part.stop == len(images)
                if isinstance(self.parallel, DistributedDataParallel) and not last:
                    stack.enter_context(self.parallel.no_sync())  # gradients are exchanged once a step
                total += self._of_part(images[part], own_labels)
        return total

    def _make_ready(self, places: range, step: int) -> None:
        """The model, for these images of the step."""
        if not self.model.training:
            self.model.train()
        self.model.seed_images([mix(self.config.train.seed, f"dropout/{place}", step) for place in places])

    def _of_part(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Adds a part's gradients to those there are; returns its part of the loss, fp32 []."""
        with self.precision.autocast():
            nats = self._loss(self.parallel, images, labels).nats_per_dim
        share: Tensor = nats * (len(images) / self._batch_size)
        loss: Tensor = share * self.processes.count  # the exchange takes the mean
        if self.scaler:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        return share.detach()

    @property
    def _records(self) -> bool:
        """Whether a step is one part on one GPU. What is to be the same in every run is not left to a recording."""
        alone = self.accumulate == 1 and self.processes.count == 1 and self.scaler is None
        return alone and self.precision.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()

    def _change(self, loss: Tensor) -> Tensor:
        """New weights by the gradients there are, if these and the loss are finite; returns the norm, fp32 []."""
        norm = self._clip()
        self._apply(loss.isfinite() & norm.isfinite())
        return norm

    def _change_recorded(self, loss: Tensor) -> Tensor:
        try:
            for group in self.optimizer.param_groups:
                group["capturable"] = True  # which fused optimizers are; torch asks while a graph is recorded
            return self._change(loss)
        finally:
            for group in self.optimizer.param_groups:
                group["capturable"] = False

    def _clip(self) -> Tensor:
        """Clips the gradient's L2 norm; returns it as it was before."""
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        largest = self.config.train.grad_clip or torch.inf
        return torch.nn.utils.clip_grad_norm_(self._parameters, largest, foreach=True)

    def _apply(self, finite: Tensor) -> None:
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            return
        # The fused kernels leave weights and moments alone where found_inf is 1, on the device: no synchronisation.
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return {
            **state.module_tensors("model", self.model),
            **state.module_tensors("ema", self.average),
            **state.optimizer_tensors(self.optimizer),
            "metrics/window": self.window.state,
            "metrics/epoch": self.epoch.state,
            "metrics/bad_in_a_row": self.bad_in_a_row,
            "metrics/skipped": self.skipped,
            "metrics/accumulate": torch.tensor(self.accumulate),
        }

    def scaler_state(self) -> dict[str, Any]:
        return self.scaler.state_dict() if self.scaler else {}

    def load(self, tensors: Mapping[str, Tensor], scaler: dict[str, Any]) -> None:
        state.load_module("model", self.model, tensors)
        state.load_module("ema", self.average, tensors)
        state.load_optimizer(self.optimizer, tensors)
        self._recorded.forget()
        with contextlib.suppress(KeyError):
            self.window.load(tensors["metrics/window"])
            self.epoch.load(tensors["metrics/epoch"])
            self.bad_in_a_row = tensors["metrics/bad_in_a_row"].to(self.bad_in_a_row.device)
            self.skipped = tensors["metrics/skipped"].to(self.skipped.device)
            self.accumulate = max(self.accumulate, int(tensors["metrics/accumulate"]))
        if self.scaler and scaler:
            self.scaler.load_state_dict(scaler)
