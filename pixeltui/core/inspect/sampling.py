"""Whether the sampler draws what the naive loop draws from the same noise, and from the distribution that is scored.

The naive loop takes a forward pass a pixel. At chosen pixels it is followed to the letter: the image as it was before
them, one forward pass, the level at the noise. At all pixels at once it is followed by one forward pass of the images
that were drawn: what a causal model makes of a pixel is the same there.

Shapes: images uint8 [B, C, H, W], D features, L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixeltui.core.cached import AnyHead
from pixeltui.core.draw import running_sums
from pixeltui.core.inspect.probing import Place, Told, exact, features_of, place_of, spread
from pixeltui.core.parts import WaveTrunk, scale_levels
from pixeltui.core.sampler import noise_of
from pixeltui.core.sequence import in_order

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

OFF = 1e-4
"""by which the noise may lie outside of the drawn level's share of the probability: rounding"""
APART = 1e-3
"""total variation between a sub-pixel's distribution in the cache and in a forward pass"""
COUNTS = 1e-3
"""probability from which on a level's log-probability is compared"""


@dataclass(frozen=True)
class SamplerCheck:
    images: int
    cached: bool
    """whether the trunk computes pixel by pixel; otherwise the rows that reach a pixel are computed for each"""
    compared: int
    """sub-pixels at which the naive loop was followed"""
    off: float
    """the farthest that noise lay outside of the drawn level's share: 0 where the naive loop draws the same level"""
    first_off: Place | None
    """where it drew another one, beyond rounding"""
    forced_off: float
    """the same at every sub-pixel, by one forward pass of the images"""
    apart: float | None
    """largest total variation between the cache's distribution and the forward pass's; None without a cache"""
    log_prob_apart: float | None
    """nats, of levels that have a thousandth of the probability or more"""

    @property
    def follows(self) -> bool:
        """Whether it draws what the naive loop draws."""
        return self.off <= OFF

    @property
    def agrees(self) -> bool:
        """Whether every sub-pixel was drawn from the distribution that is scored, as a causal model's has to be."""
        return self.forced_off <= OFF and (self.apart is None or self.apart <= APART)


def check_sampler(
    model: "ConditionalPixelCNN",
    labels: Tensor | Sequence[int] | None = None,
    *,
    count: int = 4,
    pixels: int = 16,
    seed: int = 0,
    progress: Told | None = None,
) -> SamplerCheck:
    """Draws `count` images by model.sample, with labels, and follows them. pixels: where to the letter.

    progress: told the share that is done.
    """
    images = model.sample(count, labels, seed=seed)
    with exact(model), torch.no_grad():
        follower = _Follower(model, images, labels, seed, progress or (lambda share: None))
        off, first_off, compared = follower.naive(pixels)
        forced, expected = follower.forced()
        cached = follower.cached()
    apart = log_prob_apart = None
    if cached is not None:
        apart = float((cached.exp() - expected.exp()).abs().sum(-1).max()) / 2
        counted = expected >= torch.tensor(COUNTS).log()
        log_prob_apart = float(((cached - expected).abs() * counted).max())
    return SamplerCheck(count, cached is not None, compared, off, first_off, forced, apart, log_prob_apart)


class _Follower:
    """Images that were drawn, and their noise."""

    def __init__(
        self,
        model: "ConditionalPixelCNN",
        images: Tensor,
        labels: Tensor | Sequence[int] | None,
        seed: int,
        tell: Told,
    ) -> None:
        self.model, self.images, self.tell = model, images, tell
        own = None if labels is None else torch.as_tensor(labels, device=images.device)
        self.labels = own if model.num_classes else None
        noise = [noise_of(seed, i, model.image_shape) for i in range(len(images))]
        self.noise = torch.stack(noise).to(images.device)

    def naive(self, pixels: int) -> tuple[float, Place | None, int]:
        """The largest distance, the first place of one beyond rounding, and how many sub-pixels were followed."""
        channels, height, width = self.model.image_shape
        worst, first, compared = 0.0, None, 0
        chosen = spread(height * width, pixels)
        for number, pixel in enumerate(chosen):
            self.tell(0.1 + 0.5 * number / len(chosen))
            row, column = divmod(pixel, width)
            before = self.images.flatten(2).clone()
            before[:, :, pixel:] = 0
            features = self._features(before.view_as(self.images))[:, :, row, column]
            for channel in range(channels):
                earlier = self.images[:, :channel, row, column].long()
                log_probs = self.model.head.level_log_probs(features, earlier)
                off = _distance(log_probs, self.images[:, channel, row, column], self.noise[:, channel, row, column])
                distance = float(off.max())
                if distance > OFF and first is None:
                    first = place_of(pixel * channels + channel, self.model.image_shape)
                worst, compared = max(worst, distance), compared + len(off)
        return worst, first, compared

    def forced(self) -> tuple[float, Tensor]:
        """The largest distance at any sub-pixel, and the log-probabilities [H W, C, B, L] on the CPU."""
        model = self.model
        channels, height, width = model.image_shape
        features = self._features(self.images).flatten(2)
        levels, noise = self.images.flatten(2), self.noise.flatten(2)
        worst = 0.0
        found = torch.empty(height * width, channels, len(levels), model.levels)
        for row in range(height):
            pixels = slice(row * width, (row + 1) * width)
            own = features[:, :, pixels].movedim(2, 0).flatten(0, 1)
            drawn = levels[:, :, pixels].permute(2, 0, 1).flatten(0, 1)
            at = noise[:, :, pixels].permute(2, 0, 1).flatten(0, 1)
            for channel in range(channels):
                log_probs = model.head.level_log_probs(own, drawn[:, :channel].long())
                worst = max(worst, float(_distance(log_probs, drawn[:, channel], at[:, channel]).max()))
                found[pixels, channel] = log_probs.view(width, -1, model.levels).cpu()
        return worst, found

    def cached(self) -> Tensor | None:
        """[H W, C, B, L] on the CPU, from the trunk and head that the fast sampler uses, given the same images."""
        model, (channels, height, width) = self.model, self.model.image_shape
        dtype = next(model.trunk.parameters()).dtype
        index, batch = model.label_index(self.labels, len(self.images), self.images.device), len(self.images)
        wave = model.trunk.in_waves(index, batch, width, 1, dtype)
        if wave is not None:
            return self._in_waves(wave)
        trunk = model.trunk.incremental(index, batch, height, width, dtype)
        if trunk is None:
            return None
        drawn = self.images.permute(2, 3, 1, 0).flatten(0, 2).long()
        found = torch.empty(*drawn.shape, model.levels)
        steps = in_order(model, trunk)
        log_probs = next(steps)
        for number, levels in enumerate(drawn):
            if number % (width * channels) == 0:
                self.tell(0.6 + 0.4 * number / len(drawn))
            found[number] = log_probs.cpu()
            if number + 1 < len(drawn):
                log_probs = steps.send(levels)
        return found.view(height * width, channels, *found.shape[1:])

    def _in_waves(self, trunk: WaveTrunk) -> Tensor:
        """`cached`, of a trunk that has several pixels of an image at once."""
        model, (channels, height, width) = self.model, self.model.image_shape
        head, batch = model.head.incremental() or AnyHead(model.head), len(self.images)
        levels = self.images.flatten(2).permute(2, 0, 1).long()
        scaled = scale_levels(levels, model.levels).to(trunk.current.dtype)
        found = torch.empty(height * width, channels, batch, model.levels)
        places = trunk.front.places(0, height)
        for step, own in enumerate(places.to(levels.device)):
            self.tell(0.6 + 0.4 * step / len(places))
            there, at = own >= 0, own.clamp(min=0)
            columns = trunk.columns_of(own)
            head.begin(trunk.pixels(columns).float())
            for channel in range(channels):
                log_probs = head.log_probs(channel).view(len(own), batch, -1)
                found[own[there].cpu(), channel] = log_probs[there].cpu()
                if channel + 1 < channels:
                    head.observe(channel, levels[at, :, channel].flatten())
            trunk.current[:, 0] = scaled[at].flatten(0, 1)
            trunk.take(columns)
        return found

    def _features(self, images: Tensor) -> Tensor:
        with features_of(self.model) as caught:
            self.model(images, self.labels)
        return caught[0]


def _distance(log_probs: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
    """[B]: how far noise lies outside of the share of the cumulative distribution that the level drawn has."""
    upper = running_sums(log_probs.double().softmax(1))
    index = levels.long()[:, None]
    above = upper.gather(1, index)[:, 0]
    below = torch.where(levels > 0, upper.gather(1, (index - 1).clamp(min=0))[:, 0], 0.0)
    return torch.maximum(below - noise, noise - above).clamp(min=0)
