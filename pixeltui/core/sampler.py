"""Exact ancestral sampling, pixel by pixel, from noise that is drawn beforehand.

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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pixeltui.core.parts import scale_levels

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

Rows = Iterator[tuple[Tensor, int]]
LARGEST_NOISE = 1 - 2**-24
"""the largest fp32 below 1"""


@dataclass(frozen=True)
class Request:
    """A checked call of sample_stream; tensors on the model's device."""

    images: Tensor
    """uint8 [B, C, H, W]: kept levels where known, 0 elsewhere; filled in"""
    known: Tensor
    """bool [B, C, H, W]"""
    noise: Tensor
    """fp32 [B, C, H, W] in [0, 1)"""
    labels: Tensor | None
    """int64 [B or 2 B] for the trunk: with guidance, the labels, then as many times "no label"; None: it has none"""
    guided: bool
    temperature: float
    top_p: float
    guidance: float


def sample_stream(
    model: "ConditionalPixelCNN",
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
) -> Rows:
    """Yields (images so far uint8 [B, C, H, W], rows done) after each row; levels not drawn yet are 0.

    labels: int [B], None for unconditional images. temperature divides the log-probabilities. top_p keeps the fewest
    levels that hold this probability. guidance g: log p(x) + g (log p(x | label) - log p(x)), so that 0 is
    unconditional and 1 conditional. The order is guidance, temperature, top_p. seed None: fresh noise. first_index:
    number of the first image in the series of a seed. given uint8 [B, C, H, W] keeps its levels bit for bit where
    known, bool [H, W] or [B, 1 or C, H, W].

    The model samples in evaluation mode and is left in the modes that it was in; torch's global random generator is not
    touched. Raises ValueError at once for arguments that cannot be.
    """
    request = _check(
        model, batch_size, labels, temperature, top_p, guidance, seed, given, known, first_index=first_index
    )
    return _stream(model, request, _cropped_features)


def naive_sample_stream(model: "ConditionalPixelCNN", batch_size: int, **options: Any) -> Rows:
    """sample_stream by one full forward of the trunk for each pixel: the method that others are measured against."""
    return _stream(model, _check(model, batch_size, **options), _full_features)


def _stream(model: "ConditionalPixelCNN", request: Request, features_at: "FeaturesAt") -> Rows:
    height = request.images.shape[2]
    for row in range(height):
        if not bool(request.known[:, :, row].all()):
            with torch.no_grad(), _evaluating(model):
                _draw_row(model, request, row, features_at)
        yield request.images.clone(), row + 1


def _draw_row(model: "ConditionalPixelCNN", request: Request, row: int, features_at: "FeaturesAt") -> None:
    images = request.images
    for column in (~request.known[:, :, row]).any(dim=0).any(dim=0).nonzero().flatten().tolist():
        features = features_at(model, request, row, column)
        for channel in range(images.shape[1]):
            earlier = images[:, :channel, row, column].long()
            if request.guided:
                earlier = earlier.repeat(2, 1)
            log_probs = model.head.level_log_probs(features, earlier)
            probs = level_probs(log_probs, request)
            drawn = inverse_cdf(probs, request.noise[:, channel, row, column])
            kept, old = request.known[:, channel, row, column], images[:, channel, row, column]
            images[:, channel, row, column] = torch.where(kept, old, drawn.to(torch.uint8))


FeaturesAt = Callable[["ConditionalPixelCNN", Request, int, int], Tensor]
"""Features [B, D] of a pixel (row, column); [2 B, D] where guided"""


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
    features: Tensor = model.trunk(x.to(next(model.parameters()).dtype), request.labels)
    return features


def level_probs(log_probs: Tensor, request: Request) -> Tensor:
    """Probabilities [B, L] to draw from, by guidance, temperature and top_p; log_probs [B, L], [2 B, L] if guided."""
    if request.guided:
        conditional, unconditional = log_probs.chunk(2)
        log_probs = unconditional + request.guidance * (conditional - unconditional)
    probs = torch.softmax(log_probs / request.temperature, dim=1)
    return probs if request.top_p >= 1 else nucleus(probs, request.top_p)


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """probs [B, L] without all but the fewest levels that hold `top_p` (Holtzman et al. 2020, eq. 2), renormalised."""
    ordered, order = probs.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(dim=1) - ordered
    kept = torch.zeros_like(probs).scatter(1, order, torch.where(before < top_p, ordered, 0.0))
    return kept / kept.sum(dim=1, keepdim=True)


def inverse_cdf(probs: Tensor, noise: Tensor) -> Tensor:
    """Levels int64 [B]: the first at which the cumulative distribution of probs [B, L] is over noise [B] in [0, 1)."""
    cumulative = probs.cumsum(dim=1)
    # rounding may leave the last sum a little off 1, and noise * sum may round up to it
    threshold = noise[:, None] * cumulative[:, -1:]
    last_possible = (probs.shape[1] - 1) - (probs.flip(1) > 0).int().argmax(dim=1)
    found = torch.searchsorted(cumulative, threshold, right=True)[:, 0]
    return torch.minimum(found, last_possible)


def noise_of(seed: int, index: int, shape: tuple[int, ...]) -> Tensor:
    """Uniform fp32 in [0, 1) of image `index` in the series of `seed`; on the CPU, a function of its arguments."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.rand(shape, generator=generator, dtype=torch.float64).float().clamp(max=LARGEST_NOISE)


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _check(
    model: "ConditionalPixelCNN",
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
) -> Request:
    if batch_size < 1:
        raise ValueError(f"expected a batch size of 1 or more, got {batch_size}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"expected a temperature over 0, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"expected top_p over 0, up to 1, got {top_p}")
    if not (guidance >= 0 and math.isfinite(guidance)):
        raise ValueError(f"expected guidance of 0 or more, got {guidance}")
    if first_index < 0:
        raise ValueError(f"expected first_index of 0 or more, got {first_index}")
    device = next(model.parameters()).device
    images, kept = _kept(model, batch_size, given, known)
    seed = secrets.randbits(63) if seed is None else seed
    noise = [noise_of(seed, first_index + i, model.image_shape) for i in range(batch_size)]
    index, guided = _trunk_labels(model, batch_size, labels, guidance)
    return Request(
        images.to(device), kept.to(device), torch.stack(noise).to(device), index, guided, temperature, top_p, guidance
    )


def _trunk_labels(
    model: "ConditionalPixelCNN", batch: int, labels: Tensor | Sequence[int] | None, guidance: float
) -> tuple[Tensor | None, bool]:
    device = next(model.parameters()).device
    with _evaluating(model):  # no label dropout
        none = model.label_index(None, batch, device)
        if labels is None or none is None:
            return none, False
        own = model.label_index(torch.as_tensor(labels), batch, device)
    assert own is not None
    own = own.to(device)
    if guidance == 0:
        return none, False
    return (own, False) if guidance == 1 else (torch.cat([own, none]), True)


def _kept(
    model: "ConditionalPixelCNN", batch: int, given: Tensor | None, known: Tensor | None
) -> tuple[Tensor, Tensor]:
    """uint8 levels, 0 where they are to be drawn, and bool, where they are known; both [B, C, H, W]."""
    shape = (batch, *model.image_shape)
    if (given is None) != (known is None):
        raise ValueError("expected `given` and `known` together, got one of them")
    if given is None or known is None:
        return torch.zeros(shape, dtype=torch.uint8), torch.zeros(shape, dtype=torch.bool)
    if given.dtype != torch.uint8 or given.shape != shape:
        raise ValueError(f"expected given uint8 {list(shape)}, got {given.dtype} {list(given.shape)}")
    mask_shapes = (shape, (batch, 1, *shape[2:]), shape[2:])
    if known.dtype != torch.bool or tuple(known.shape) not in mask_shapes:
        wanted = " or ".join(str(list(one)) for one in mask_shapes)
        raise ValueError(f"expected known bool {wanted}, got {known.dtype} {list(known.shape)}")
    known = known.to(given.device).expand(shape)
    images = torch.where(known, given, 0)
    if model.levels < 256 and int(images.max()) >= model.levels:
        raise ValueError(f"expected given levels from 0 to {model.levels - 1}, got {int(images.max())}")
    return images, known.contiguous()
