"""Exact ancestral sampling, pixel by pixel, from noise that is drawn beforehand: the request and the three methods.

Cached (core.cached) where the trunk offers `in_waves` or `incremental`; otherwise a forward of the rows that reach the
pixel; naive, one full forward a pixel, for comparison. Where a module has hooks, whatever these do, the model is called
for every sub-pixel. The same noise gives the same image by each, up to float rounding.

Each image's noise is a function of (seed, index of the image), one uniform number a sub-pixel, so that an image does
not hang on the batch it is drawn in. A level is the inverse of its cumulative distribution at that number.

Shapes: images [B, C, H, W], D features, L levels.
"""

import contextlib
import hashlib
import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pixeltui.core.cached import CachedSampler
from pixeltui.core.draw import LARGEST_NOISE, inverse_cdf, nucleus
from pixeltui.core.full_fp32 import drawing
from pixeltui.core.parts import dtype_of, scale_levels, takes_rows
from pixeltui.core.readable import copied, hooked
from pixeltui.core.samplers import cached_sampler

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

Rows = Iterator[tuple[Tensor, int]]
EXTREME = 1e12
"""A guidance, a temperature, its inverse or that of top_p beyond this draws what this draws, and fp32 can do this."""


@dataclass(frozen=True)
class Settings:
    """What is asked of a sampler: the arguments of model.sample and model.sample_stream.

    labels: int [B], None for unconditional images. temperature divides the log-probabilities. top_p keeps the fewest
    levels that hold this probability. guidance g: log p(x) + g (log p(x | label) - log p(x)), so that 0 is
    unconditional and 1 conditional. The order is guidance, temperature, top_p. seed None: fresh noise. first_index:
    number of the first image in the series of a seed. given uint8 [B, C, H, W] keeps its levels bit for bit where
    known, bool [H, W] or [1 or B, 1 or C, H, W]. dtype: of the trunk's weights and features, None for the model's own;
    bfloat16 is faster on some devices and not exact: its logits are off by about 1e-2.
    """

    batch_size: int
    labels: Tensor | Sequence[int] | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    guidance: float = 1.0
    seed: int | None = None
    given: Tensor | None = None
    known: Tensor | None = None
    first_index: int = 0
    dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Request:
    """Settings checked for a model, whose device the tensors are on."""

    images: Tensor
    """uint8 [B, C, H, W]: kept levels where known, 0 elsewhere; filled in"""
    known: Tensor
    """bool [B, C, H, W]"""
    any_known: bool
    rows: list[int]
    """those in which something is to be drawn, in order"""
    noise: Tensor
    """fp32 [B, C, H, W] in [0, LARGEST_NOISE]"""
    labels: Tensor | None
    """int64 [B or 2 B] for the trunk: with guidance, the labels, then as many times "no label"; None: it has none"""
    guided: bool
    temperature: float
    top_p: float
    guidance: float


def sample_stream(model: "ConditionalPixelCNN", settings: Settings) -> Rows:
    """Yields (images so far uint8 [B, C, H, W], rows done) after each row; levels not drawn yet are 0.

    The weights are copied at once: the model may train on between rows. It samples in evaluation mode and is left in
    the modes that it was in; torch's global random generator is not touched. Raises ValueError at once for settings
    that cannot be.
    """
    with drawing(next(model.parameters()).device):
        request = _checked(model, settings)
        if hooked(model):
            whole = copied(model)
            whole.to(torch.promote_types(settings.dtype or dtype_of(whole), dtype_of(whole)))
            return _stream(whole, request, _by_calls)
        sampler = fast_sampler(model, settings)
        if sampler is not None:
            return sampler.stream()
        whole = copied(model)
        if settings.dtype is not None:
            whole.trunk.to(settings.dtype)
        features_at = _cropped_features if takes_rows(whole.trunk) else _full_features
        return _stream(whole, request, partial(_by_features, features_at))


def fast_sampler(model: "ConditionalPixelCNN", settings: Settings) -> CachedSampler[Any] | None:
    """What sample_stream draws with; None where the trunk offers neither `in_waves` nor `incremental`."""
    request = _checked(model, settings)
    temper = request.guided or request.temperature != 1 or request.top_p < 1
    draw = partial(_draw_levels, request) if temper else None
    with evaluating(model):  # a spectral norm moves in training mode when its weight is read
        return cached_sampler(model, request, draw, settings.dtype)


def naive_sample_stream(model: "ConditionalPixelCNN", batch_size: int, **options: Any) -> Rows:
    """The same by one full forward of the trunk for each pixel: the method that others are measured against."""
    with drawing(next(model.parameters()).device):
        return _stream(model, _checked(model, Settings(batch_size, **options)), partial(_by_features, _full_features))


def _stream(model: "ConditionalPixelCNN", request: Request, log_probs_at: "LogProbsAt") -> Rows:
    height = request.images.shape[2]
    for row in range(height):
        if row in request.rows:
            with drawing(request.images.device), evaluating(model):
                _draw_row(model, request, row, log_probs_at)
        yield request.images.clone(), row + 1


def _draw_row(model: "ConditionalPixelCNN", request: Request, row: int, log_probs_at: "LogProbsAt") -> None:
    images = request.images
    for column in (~request.known[:, :, row]).any(dim=0).any(dim=0).nonzero().flatten().tolist():
        for channel, log_probs in enumerate(log_probs_at(model, request, row, column)):
            drawn = _draw_levels(request, log_probs, request.noise[:, channel, row, column])
            kept, old = request.known[:, channel, row, column], images[:, channel, row, column]
            images[:, channel, row, column] = torch.where(kept, old, drawn.to(torch.uint8))


LogProbsAt = Callable[["ConditionalPixelCNN", Request, int, int], Iterator[Tensor]]
"""[B, L] of each channel of a pixel (row, column), asked for when those before it are drawn; [2 B, L] where guided"""
FeaturesAt = Callable[["ConditionalPixelCNN", Request, int, int], Tensor]
"""Features [B, D] of a pixel; [2 B, D] where guided"""


def _by_calls(model: "ConditionalPixelCNN", request: Request, row: int, column: int) -> Iterator[Tensor]:
    """By what the model says of the image so far: its score of every level."""
    images, own = request.images, request.labels
    parts = [None] if own is None else own.chunk(2 if request.guided else 1)
    labels = [None if part is None or part[0] == model.num_classes else part for part in parts]
    for channel in range(images.shape[1]):
        params = torch.cat([model(images, one) for one in labels])[:, :, row, column, None, None]
        levels = images[:, :, row, column, None, None].repeat(len(labels), 1, 1, model.levels)
        levels[:, channel, 0] = torch.arange(model.levels, device=images.device)
        log_probs = model.head.log_prob(params.expand(-1, -1, -1, model.levels), scale_levels(levels, model.levels))
        yield log_probs[:, channel, 0]


def _by_features(
    features_at: FeaturesAt, model: "ConditionalPixelCNN", request: Request, row: int, column: int
) -> Iterator[Tensor]:
    features, images = features_at(model, request, row, column), request.images
    for channel in range(images.shape[1]):
        earlier = images[:, :channel, row, column].long()
        yield model.head.level_log_probs(features, earlier.repeat(2, 1) if request.guided else earlier)


def _full_features(model: "ConditionalPixelCNN", request: Request, row: int, column: int) -> Tensor:
    return _features(model, request, 0, request.images.shape[2])[:, :, row, column]


def _cropped_features(model: "ConditionalPixelCNN", request: Request, row: int, column: int) -> Tensor:
    """From the rows that the pixel's features can hang on, and no others.

    Exact: the padding above the crop takes the place of rows that cannot reach the pixel.
    """
    rows_above = model.trunk.rows_above
    top = 0 if rows_above is None else max(0, row - rows_above)
    return _features(model, request, top, row + 1)[:, :, -1, column]


def _features(model: "ConditionalPixelCNN", request: Request, top: int, bottom: int) -> Tensor:
    x = scale_levels(request.images[:, :, top:bottom], model.levels)
    if request.guided:
        x = x.repeat(2, 1, 1, 1)
    features: Tensor = model.trunk(x.to(next(model.trunk.parameters()).dtype), request.labels)
    return features.to(next(model.head.parameters(), features).dtype)


def _draw_levels(request: Request, log_probs: Tensor, noise: Tensor) -> Tensor:
    return inverse_cdf(level_probs(log_probs, request), noise)


def level_probs(log_probs: Tensor, request: Request) -> Tensor:
    """Probabilities [B, L] to draw from, by guidance, temperature and top_p; log_probs [B, L], [2 B, L] if guided."""
    if request.guided:
        conditional, unconditional = log_probs.chunk(2)
        log_probs = unconditional + request.guidance * (conditional - unconditional)
    probs = torch.softmax(log_probs / request.temperature, dim=1)
    return probs if request.top_p >= 1 else nucleus(probs, request.top_p)


def noise_of(seed: int, index: int, shape: tuple[int, ...]) -> Tensor:
    """Uniform fp32 in [0, LARGEST_NOISE] of image `index` of a `seed`; on the CPU, a function of its arguments."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.rand(shape, generator=generator, dtype=torch.float64).float().clamp(max=LARGEST_NOISE)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _checked(model: "ConditionalPixelCNN", settings: Settings) -> Request:
    batch, temperature, top_p, guidance = settings.batch_size, settings.temperature, settings.top_p, settings.guidance
    _check_kinds(settings)
    if batch < 1:
        raise ValueError(f"expected a batch size of 1 or more, got {batch}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"expected a temperature over 0, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"expected top_p over 0, up to 1, got {top_p}")
    if not (guidance >= 0 and math.isfinite(guidance)):
        raise ValueError(f"expected guidance of 0 or more, got {guidance}")
    if settings.first_index < 0:
        raise ValueError(f"expected first_index of 0 or more, got {settings.first_index}")
    device = next(model.parameters()).device
    images, kept = _kept(model, settings)
    seed = secrets.randbits(63) if settings.seed is None else settings.seed
    noise = [noise_of(seed, settings.first_index + i, model.image_shape) for i in range(batch)]
    index, guided = _trunk_labels(model, settings)
    rows = (~kept).flatten(0, 1).any(dim=2).any(dim=0).nonzero().flatten().tolist()
    return Request(
        *(images.to(device), kept.to(device), bool(kept.any()), rows, torch.stack(noise).to(device)),
        *(index, guided, min(max(temperature, 1 / EXTREME), EXTREME), max(top_p, 1 / EXTREME), min(guidance, EXTREME)),
    )


def _check_kinds(settings: Settings) -> None:
    """Whether each setting is of a kind that it can be. Raises ValueError."""
    for name in ("temperature", "top_p", "guidance"):
        value: object = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"expected a number for {name}, got {value!r}")  # noqa: TRY004
    whole = {"batch_size": settings.batch_size, "seed": settings.seed, "first_index": settings.first_index}
    for name, number in whole.items():
        if isinstance(number, bool) or not (isinstance(number, Integral) or (number is None and name == "seed")):
            raise ValueError(f"expected a whole number for {name}, got {number!r}")
    for name in ("given", "known"):
        pixels: object = getattr(settings, name)
        if not isinstance(pixels, Tensor | None):
            raise ValueError(f"expected a tensor for {name}, got {type(pixels).__name__}")  # noqa: TRY004
    dtype = settings.dtype
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"expected a floating-point torch.dtype, got {dtype!r}")


def _trunk_labels(model: "ConditionalPixelCNN", settings: Settings) -> tuple[Tensor | None, bool]:
    batch, labels, guidance = settings.batch_size, settings.labels, settings.guidance
    device = next(model.parameters()).device
    with evaluating(model):  # no label dropout
        none = model.label_index(None, batch, device)
        if labels is None or none is None:
            return none, False
        try:
            given = torch.as_tensor(labels)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"expected labels int64 [{batch}], got {labels!r}") from None
        own = model.label_index(given, batch, device)
    assert own is not None
    own = own.to(device)
    if guidance == 0:
        return none, False
    return (own, False) if guidance == 1 else (torch.cat([own, none]), True)


def _kept(model: "ConditionalPixelCNN", settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 levels, 0 where they are to be drawn, and bool, where they are known; both [B, C, H, W]."""
    batch, given, known = settings.batch_size, settings.given, settings.known
    shape = (batch, *model.image_shape)
    if (given is None) != (known is None):
        raise ValueError("expected `given` and `known` together, got one of them")
    if given is None or known is None:
        return torch.zeros(shape, dtype=torch.uint8), torch.zeros(shape, dtype=torch.bool)
    if given.dtype != torch.uint8 or given.shape != shape:
        raise ValueError(f"expected given uint8 {list(shape)}, got {given.dtype} {list(given.shape)}")
    channels, height, width = model.image_shape
    mask_shapes = ((height, width), *((b, c, height, width) for b in (1, batch) for c in (1, channels)))
    if known.dtype != torch.bool or tuple(known.shape) not in mask_shapes:
        wanted = f"[{height}, {width}] or [1 or {batch}, 1 or {channels}, {height}, {width}]"
        raise ValueError(f"expected known bool {wanted}, got {known.dtype} {list(known.shape)}")
    known = known.to(given.device).expand(shape)
    images = torch.where(known, given, 0)
    if model.levels < 256 and int(images.max()) >= model.levels:
        raise ValueError(f"expected given levels from 0 to {model.levels - 1}, got {int(images.max())}")
    return images, known.contiguous()
