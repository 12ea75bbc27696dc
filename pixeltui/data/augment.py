"""Random changes of training images, on their device, without a loop over images.

Shapes: B images, C channels, H height, W width, p padding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.config import Augmentations

DRAWS = 8  # numbers in [0, 1) an image: crop y, x; flip; brightness, contrast, saturation; cutout y, x
LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision's rgb_to_grayscale rounds it


def augment(
    images: Tensor,
    config: Augmentations,
    levels: int,
    generator: torch.Generator,
    *,
    batch: int | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """Randomly cropped, mirrored, colour-jittered and cut-out images, in this order, each with its own draw.

    images: uint8 [B, C, H, W] on any device, values below `levels`; so is the result, and nothing is written into
    `images`. generator: on the CPU, from `step_generator(seed, "augment", step)`: the draws are the same on every
    device. Where `images` are a part of a step's batch (a process's share, a micro-batch), `batch` is the size of the
    whole and `places`, int64 [B] on the CPU, are theirs in it: the parts then are augmented as the whole would be.
    Every kind of change has draws of its own: switching one on or off leaves the others as they are.
    """
    if not (config.random_crop or config.horizontal_flip or config.color_jitter or config.cutout):
        return images
    draws = torch.rand(len(images) if batch is None else batch, DRAWS, generator=generator)
    if places is not None:
        if len(places) != len(images):
            raise ValueError(f"expected places of {len(images)} images, got {len(places)}")
        draws = draws[places]
    columns = draws.to(images.device, non_blocking=True).unbind(1)
    if config.random_crop or config.horizontal_flip:
        images = _crop_and_flip(images, config.random_crop, config.horizontal_flip, *columns[:3])
    if config.color_jitter:
        images = _jitter(images, config.color_jitter, levels, *columns[3:6])
    if config.cutout:
        images = _cutout(images, config.cutout, *columns[6:8])
    return images


def _crop_and_flip(images: Tensor, padding: int, flip: bool, *draws: Tensor) -> Tensor:
    """[B, C, H, W]: a window of the zero-padded image at one of (2p + 1)^2 places, mirrored where flip_draw < 1/2."""
    y_draw, x_draw, flip_draw = draws
    batch, channels, height, width = images.shape
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if flip:
        columns = torch.where(flip_draw[:, None] < 0.5, columns.flip(1), columns)
    columns = columns + _uniform_int(x_draw, 2 * padding + 1)[:, None]
    if padding:
        # Rows first, each in one piece: picking pixels one by one takes five times as long.
        rows = torch.arange(height, device=images.device) + _uniform_int(y_draw, 2 * padding + 1)[:, None]
        planes = torch.arange(batch * channels, device=images.device).view(batch, channels, 1) * (height + 2 * padding)
        padded = F.pad(images, (padding, padding, padding, padding))
        images = padded.reshape(-1, padded.shape[3]).index_select(0, (planes + rows[:, None]).flatten())
    lines = images.reshape(batch, channels * height, -1)
    return lines.gather(2, columns[:, None].expand(-1, channels * height, -1)).view(batch, channels, height, width)


def _jitter(images: Tensor, strength: float, levels: int, *draws: Tensor) -> Tensor:
    """Brightness, contrast and saturation, factors uniform in [1 - strength, 1 + strength], clamped after each.

    torchvision's adjust_brightness, adjust_contrast and adjust_saturation: a blend with black, with the mean of the
    grey image, and with the grey image. Rounded to levels once, at the end. In place: passes are what it costs.
    """
    brightness, contrast, saturation = ((1 + strength * (2 * draw - 1)).view(-1, 1, 1, 1) for draw in draws)
    top = levels - 1
    x = images.float().mul_(brightness).clamp_(max=top)
    mean = _grey(x.mean((2, 3), keepdim=True))
    x.mul_(contrast).add_(mean.mul_(1 - contrast)).clamp_(0, top)
    if images.shape[1] == 3:
        grey = _grey(x)
        x.mul_(saturation).add_(grey.mul_(1 - saturation)).clamp_(0, top)
    return x.round_().short().byte()  # at once it would be one by one


def _grey(x: Tensor) -> Tensor:
    """[B, 1, H, W], not x itself"""
    if x.shape[1] == 1:
        return x.clone()
    return (LUMA[0] * x[:, 0:1]).add_(x[:, 1:2], alpha=LUMA[1]).add_(x[:, 2:3], alpha=LUMA[2])


def _cutout(images: Tensor, side: int, y_draw: Tensor, x_draw: Tensor) -> Tensor:
    """A square set to 0 whose centre is any pixel, so that it may stick out (DeVries and Taylor 2017)."""
    height, width = images.shape[-2:]
    hit_rows = _near(y_draw, height, side)[:, None, :, None]
    hit_columns = _near(x_draw, width, side)[:, None, None, :]
    return images.masked_fill(hit_rows & hit_columns, 0)


def _near(draw: Tensor, length: int, side: int) -> Tensor:
    """bool [B, length]: the `side` places around a uniformly drawn one."""
    start = _uniform_int(draw, length)[:, None] - side // 2
    place = torch.arange(length, device=draw.device)
    return (place >= start) & (place < start + side)


def _uniform_int(draw: Tensor, n: int) -> Tensor:
    """int64 in 0..n-1 from draws in [0, 1)."""
    return (draw * n).long().clamp_(max=n - 1)
