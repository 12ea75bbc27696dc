"""A PixelCNN: p(image | label) as a product over sub-pixels in raster order, then channel order.

Shapes: images [B, C, H, W], D features, L levels, labels int64 [B].
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import index
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from pixeltui import registry
from pixeltui.config import Attention, Config, Model
from pixeltui.core import sampler
from pixeltui.core.dropout import Dropout, seed_dropouts
from pixeltui.core.full_fp32 import full_fp32
from pixeltui.core.fused import plain
from pixeltui.core.parts import Head, Trunk, dtype_of, scale_levels

LABEL_STREAM = 0x6C6162656C
"""keeps the draws of hidden labels apart from those of dropout"""


class ConditionalPixelCNN(nn.Module):
    """A trunk, which turns an image into features that never look ahead, and a head, which turns these into levels.

    image_shape: (C, H, W). levels: values that a sub-pixel can take, 2 to 256. num_classes: 0 for a model without
    labels, which takes them and passes them over. label_dropout: share of labels that are hidden from the model in
    training mode, drawn, as dropout is, from torch's global random generator or as `seed_images` says.
    """

    def __init__(
        self,
        trunk: Trunk,
        head: Head,
        image_shape: tuple[int, int, int],
        levels: int,
        num_classes: int,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.image_shape = image_shape
        self.levels = levels
        self.num_classes = num_classes
        self.label_dropout = label_dropout
        self._seeded: int | None = None
        """images that the draws of dropout and hidden labels are for"""
        self._label_draws: Tensor | None = None
        self._compiled = False

    def seed_images(self, seeds: Sequence[int]) -> None:
        """In training mode, makes dropout and label dropout of image i of the next batches functions of seeds[i].

        `forward` then raises ValueError for a batch of another size.
        """
        self._seeded = len(seeds)
        device = next(self.parameters()).device
        layers = [module for module in self.modules() if isinstance(module, Dropout)]
        seed_dropouts(layers, seeds, self.image_shape[1:], device)
        if self.num_classes and self.label_dropout > 0:
            generator = torch.Generator()
            draws = [torch.rand(1, generator=generator.manual_seed(seed ^ LABEL_STREAM)) for seed in seeds]
            before, now = self._label_draws, torch.cat(draws)
            if before is not None and before.shape == now.shape and before.device == device:
                before.copy_(now, non_blocking=True)  # a recorded step reads them where they lay
            else:
                self._label_draws = now.to(device, non_blocking=True)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The head's parameters at every pixel, given the true image: [B, P, H, W].

        x: uint8 levels, or floats in [-1, 1], through which gradients flow. labels: of the classes, None for p(image).
        In evaluation mode fp32 is computed in full (core.full_fp32), unless autocast is on.
        Raises ValueError for a wrong shape or dtype, and, where they lie on the CPU, levels and labels out of range.
        """
        scaled = self._scaled(x)
        if self.training or torch.is_autocast_enabled(x.device.type) or torch.compiler.is_compiling():
            return self._forward(scaled, labels)
        with full_fp32(x.device):
            return self._forward(scaled, labels)

    def _forward(self, scaled: Tensor, labels: Tensor | None) -> Tensor:
        batch = len(scaled)
        if self.training and self._seeded not in (None, batch):
            raise ValueError(f"expected the {self._seeded} images that seed_images was told of, got {batch}")
        features: Tensor = self.trunk(scaled.to(dtype_of(self)), self.label_index(labels, batch, scaled.device))
        params: Tensor = self.head(features, scaled)
        return params

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """torch's, and `score_pixels` is compiled too: that of a mixture is dozens of passes over its parameters."""
        super().compile(*args, **kwargs)
        self._compiled = True

    def score(self, params: Tensor, x: Tensor) -> Tensor:
        """Natural log-probability of every sub-pixel of x from what `forward` made of x: fp32 [B, C, H, W]."""
        return self.head.log_prob(params, self._scaled(x))

    def score_pixels(self, params: Tensor, x: Tensor) -> Tensor:
        """`score` summed over the channels of a pixel, fp32 [B, H, W], in fewer passes where the head knows how."""
        score = _compiled_score() if self._compiled else _pixel_log_prob
        return score(self.head, params, self._scaled(x))

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Natural log-probability of every sub-pixel given the earlier ones: fp32 [B, C, H, W]; see `forward`.

        A float x is scored at the nearest levels.
        """
        return self.score(self(x, labels), x)

    def sample(
        self,
        batch_size: int,
        labels: Tensor | Sequence[int] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        guidance: float = 1.0,
        seed: int | None = None,
        given: Tensor | None = None,
        known: Tensor | None = None,
        *,
        first_index: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """uint8 [B, C, H, W] from the model's distribution, by an exact sampler that computes only what changes; where
        modules have hooks or others are in their place, by whole forward passes, hundreds of times slower.

        pixeltui.core.sampler.Settings explains the arguments. Raises ValueError for those that cannot be.
        """
        settings = sampler.Settings(
            batch_size, labels, temperature, top_p, guidance, seed, given, known, first_index, dtype
        )
        for images, _ in sampler.sample_stream(self, settings):
            result = images
        return result

    def sample_stream(
        self,
        batch_size: int,
        labels: Tensor | Sequence[int] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        guidance: float = 1.0,
        seed: int | None = None,
        given: Tensor | None = None,
        known: Tensor | None = None,
        *,
        first_index: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Iterator[tuple[Tensor, int]]:
        """Yields (images so far uint8 [B, C, H, W], rows done) after each row; arguments as of `sample`."""
        settings = sampler.Settings(
            batch_size, labels, temperature, top_p, guidance, seed, given, known, first_index, dtype
        )
        return sampler.sample_stream(self, settings)

    def label_index(self, labels: Tensor | None, batch: int, device: torch.device) -> Tensor | None:
        """Checked labels int64 [B] for the trunk, num_classes standing for none; None for a model without labels."""
        if not self.num_classes:
            return None
        if labels is None:
            return torch.full((batch,), self.num_classes, dtype=torch.int64, device=device)
        whole = isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.dtype == torch.bool)
        if not whole or labels.shape != (batch,):
            raise ValueError(f"expected labels int64 [{batch}], got {_describe(labels)}")
        labels = labels.long()
        if _on_cpu(labels) and batch and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            low, high = int(labels.min()), int(labels.max())
            raise ValueError(f"expected labels from 0 to {self.num_classes - 1}, got {low} to {high}")
        if self.training and self.label_dropout > 0:
            draws = torch.rand(batch, device=labels.device) if self._label_draws is None else self._label_draws
            labels = torch.where(draws < self.label_dropout, self.num_classes, labels)
        return labels

    def _scaled(self, x: Tensor) -> Tensor:
        """x in [-1, 1], checked; fp32 where it was uint8."""
        if not isinstance(x, Tensor) or x.shape[1:] != self.image_shape or x.ndim != 4:
            raise ValueError(f"expected images [B, {', '.join(map(str, self.image_shape))}], got {_describe(x)}")
        if x.is_floating_point():
            return x
        if x.dtype != torch.uint8:
            raise ValueError(f"expected images of dtype uint8, or floats in [-1, 1], got {_describe(x)}")
        if self.levels < 256 and _on_cpu(x) and x.numel() and int(x.max()) >= self.levels:
            raise ValueError(f"expected levels from 0 to {self.levels - 1}, got {int(x.max())}")
        return scale_levels(x, self.levels)


def build_model(
    config: Config | Model | Mapping[str, Any],
    image_shape: tuple[int, int, int] = (3, 32, 32),
    levels: int = 256,
    num_classes: int = 10,
) -> ConditionalPixelCNN:
    """The model that a config, or its `model` table, describes, with fresh weights from torch's global generator.

    config: also as tomllib and json read either; what is not there is as in the default, whatever its `preset` says,
    which load_config reads. image_shape: (C, H, W).
    Raises ValueError where shape, levels, classes, keys or the names of parts cannot be.
    """
    if isinstance(config, Mapping):
        config = _converted(config)
    model = config.model if isinstance(config, Config) else config
    if not isinstance(model, Model):
        raise ValueError(f"expected a Config or its model table, got {type(model).__name__}")  # noqa: TRY004
    shape = tuple(map(_whole, image_shape)) if isinstance(image_shape, Iterable) else ()
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"expected image_shape (channels, height, width), got {image_shape!r}")
    if not 2 <= _whole(levels) <= 256:
        raise ValueError(f"expected 2 to 256 levels, got {levels}")
    if _whole(num_classes) < 0:
        raise ValueError(f"expected 0 or more classes, got {num_classes}")
    for after in model.attention.after:
        if not 1 <= after <= model.blocks:
            raise ValueError(f"expected attention after blocks from 1 to {model.blocks}, got {after}")
    classes = num_classes if model.conditional else 0
    trunk: Trunk = registry.part(registry.ARCHITECTURES, model.architecture, "architecture")(shape[0], classes, model)
    of_head = msgspec.structs.replace(model, linear_skip=trunk.linear)
    head: Head = registry.part(registry.HEADS, model.head, "head")(trunk.channels, shape[0], levels, of_head)
    return ConditionalPixelCNN(trunk, head, shape, levels, classes, model.label_dropout)


def _converted(config: Mapping[str, Any]) -> Config | Model:
    whole = not set(Config.__struct_fields__).isdisjoint(config)
    table = config.get("model", {}) if whole else config
    attention = table.get("attention") if isinstance(table, Mapping) else None
    for name, part, kind in (("model", table, Model), ("model.attention", attention, Attention)):
        if isinstance(part, Mapping) and (unknown := sorted(map(str, set(part) - set(kind.__struct_fields__)))):
            raise ValueError(f"the {name} table has no key {unknown[0]!r}; it has {', '.join(kind.__struct_fields__)}")
    try:
        return msgspec.convert(config, Config) if whole else msgspec.convert(config, Model)
    except msgspec.ValidationError as error:
        raise ValueError(f"cannot build that: {error}") from None


def _pixel_log_prob(head: Head, params: Tensor, x: Tensor) -> Tensor:
    return head.pixel_log_prob(params, x)


@cache
def _compiled_score() -> Callable[[Head, Tensor, Tensor], Tensor]:
    """Not of a model, whose copies and pickles it would be in."""
    return torch.compile(_pixel_log_prob)


def _whole(number: Any) -> int:
    """-1 for what is none."""
    try:
        return index(number)
    except TypeError:
        return -1


def _on_cpu(x: Tensor) -> bool:
    """Whether a look at the values neither waits for a device nor is one that `plain` rules out."""
    return x.device.type == "cpu" and not plain()


def _describe(x: object) -> str:
    if not isinstance(x, Tensor):
        return f"{type(x).__name__}, which is no tensor"
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
