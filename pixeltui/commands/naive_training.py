"""The usual way to train the same network: what `pixeltui bench train` measures beside ours.

Full masked kernels, whose lower rows are multiplied by zero, fp32, images changed one by one in two worker processes,
an optimizer and an average that take the weights one by one.
"""

import copy
import os
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.config import Augmentations, Train
from pixeltui.core import ConditionalPixelCNN, MaskedConv2d, PixelCNNLoss
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.core.layers import DownRightShiftedConv2d, DownShiftedConv2d
from pixeltui.data import DataSet
from pixeltui.data.torchvision_sets import import_datasets

WORKERS = 2


class FullMaskedConv2d(nn.Module):
    """A causal convolution as a full kernel, odd in both directions, and a mask over all of it."""

    mask: Tensor

    def __init__(self, conv: MaskedConv2d | DownShiftedConv2d | DownRightShiftedConv2d | DepthwiseConv2d) -> None:
        super().__init__()
        weight = conv.weight.detach()
        live = torch.ones_like(weight)
        if isinstance(conv, MaskedConv2d | DepthwiseConv2d):
            live = conv.mask.expand_as(weight)
        self.groups = 1 if isinstance(conv, MaskedConv2d) else conv.groups
        rows, columns = weight.shape[2:]
        right = columns - 1 if isinstance(conv, DownRightShiftedConv2d) else 0
        full = (0, right, 0, rows - 1)
        self.weight = nn.Parameter(F.pad(weight * live, full).contiguous())
        self.bias = conv.bias
        self.register_buffer("mask", F.pad(live, full).contiguous())
        self.padding = (rows - 1, (columns + right) // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding, groups=self.groups)


def naive_copy(model: ConditionalPixelCNN) -> ConditionalPixelCNN:
    """The same function, with full masked kernels."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MaskedConv2d | DownShiftedConv2d | DownRightShiftedConv2d | DepthwiseConv2d):
                setattr(parent, name, FullMaskedConv2d(child))
    return model


class ImagesOneByOne(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A training image at a time, as PIL image, through torchvision's transforms."""

    def __init__(self, data: DataSet, augmentations: Augmentations) -> None:
        import_datasets()  # mends torchvision where it and torch were built for different devices
        from torchvision import transforms

        size = data.image_shape[1:]
        steps = [transforms.RandomCrop(size, padding=augmentations.random_crop)] if augmentations.random_crop else []
        steps += [transforms.RandomHorizontalFlip()] if augmentations.horizontal_flip else []
        strength = augmentations.color_jitter
        steps += [transforms.ColorJitter(strength, strength, strength)] if strength else []
        self._change = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
        self._images = data.train.images.permute(0, 2, 3, 1).numpy()
        self._labels = None if data.train.labels is None else data.train.labels.tolist()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self._images[index].squeeze())
        return self._change(image), 0 if self._labels is None else self._labels[index]


def naive_batches(data: DataSet, augmentations: Augmentations, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Without end: scaled float images [B, C, H, W] and labels [B], from worker processes."""
    loader = torch.utils.data.DataLoader(
        ImagesOneByOne(data, augmentations),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        worker_init_fn=_apart,
    )
    while True:
        yield from loader


def _apart(worker: int) -> None:
    """A signal to the process group is the command's to heed, which then ends the workers."""
    os.setpgrp()


class NaiveTraining:
    """A step at a time, on `device`."""

    def __init__(
        self,
        model: ConditionalPixelCNN,
        data: DataSet,
        augmentations: Augmentations,
        train: Train,
        device: torch.device,
    ) -> None:
        self.model = naive_copy(model).to(device).train()
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model, avg_fn=lambda average, new, _: average + (1 - train.ema_decay) * (new - average)
        )
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=train.lr, weight_decay=train.weight_decay, foreach=False, fused=False
        )
        self.batches = naive_batches(data, augmentations, train.batch_size)
        self._loss, self._clip, self._device = PixelCNNLoss(), train.grad_clip, device

    def step(self) -> None:
        images, labels = (tensor.to(self._device) for tensor in next(self.batches))
        self.optimizer.zero_grad()
        loss = self._loss(self.model, images, labels).nats_per_dim
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._clip or torch.inf)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        loss.item()  # as progress bars show it
