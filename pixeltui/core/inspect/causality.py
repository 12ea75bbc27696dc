"""Whether a model is a distribution over images: no sub-pixel hangs on a later one, and levels sum to one.

The future is changed behind many places, everything at once; what came before must not move. That finds every leak
across a place in one forward pass, where changing sub-pixels one by one takes as many as there are. What moves in
single precision is looked at again in double: rounding vanishes there, a leak does not, and is then narrowed down.

Shapes: images uint8 [B, C, H, W], L levels. Log-probabilities are natural.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixeltui.core.inspect.probing import Place, Told, exact, features_of, flat, place_of, spread, unflat
from pixeltui.core.parts import scale_levels
from pixeltui.core.readable import copied

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

MOVES = 1e-5
"""nats by which an earlier log-probability may move"""
SUM = 1e-4
"""by which the probabilities of a sub-pixel's levels may miss 1"""
SAME = 1e-3
"""nats between a log-probability of the whole image and that of its pixel alone, from the same features"""
GRADIENT = 1e-6
"""of the largest gradient, which no later sub-pixel may have"""


@dataclass(frozen=True)
class Leak:
    """`later` tells on `earlier`; the same place: a sub-pixel's distribution hangs on its own level."""

    later: Place
    earlier: Place
    moved: float
    """nats, in double precision"""


@dataclass(frozen=True)
class Causality:
    """What was found; nats. Matrices: [c][k], how far channel k of a pixel moves the log-probability of channel c."""

    cuts: int
    """places behind which the future was changed"""
    sub_pixels: int
    moved: float
    """the farthest that an earlier log-probability moved"""
    gradient: float
    """the largest in a later sub-pixel or the own one, over the largest in an earlier one"""
    gradient_cuts: int
    sum_error: float
    """the farthest that the levels of a sub-pixel were from summing to 1"""
    sums: int
    """sub-pixels whose levels were summed"""
    leak: Leak | None
    same_pixel: list[list[float]]
    """of the same pixel"""
    later_pixels: list[list[float]]
    """of the later pixel that moves most"""

    @property
    def causal(self) -> bool:
        return self.leak is None

    @property
    def normed(self) -> bool:
        return self.sum_error <= SUM


def check_causality(
    model: "ConditionalPixelCNN",
    images: Tensor,
    labels: Tensor | None = None,
    *,
    cuts: int = 128,
    gradients: int = 16,
    progress: Told | None = None,
) -> Causality:
    """Tests the model on up to 8 of the images, on its device, with their labels int64 [B].

    cuts, gradients: how many places, of all sub-pixels. All of them make the test complete; fewer find every leak
    that does not hang on the place, which those of convolutions do not. progress: told the share that is done.
    """
    images = images[:8]
    labels = None if labels is None else labels[:8]
    size = images[0].numel()
    with exact(model):
        probe = _Probe(model, images, labels)
        found = _Suspicions(probe, progress or (lambda share: None))
        found.change_the_future(spread(size, cuts))
        chosen = spread(size, gradients)
        found.follow_gradients(chosen)
        same, later = _dependencies(probe)
        return Causality(
            cuts=min(cuts, size),
            sub_pixels=size,
            moved=found.moved,
            gradient=found.gradient,
            gradient_cuts=len(chosen),
            sum_error=found.sum_error,
            sums=min(cuts, size),
            leak=found.leak,
            same_pixel=same,
            later_pixels=later,
        )


class _Probe:
    """A model, images, and what it makes of them unchanged."""

    def __init__(self, model: "ConditionalPixelCNN", images: Tensor, labels: Tensor | None) -> None:
        self.model, self.images, self.labels = model, images, labels
        self.shape, self.levels = model.image_shape, model.levels
        self.x = flat(images)
        generator = torch.Generator().manual_seed(0)
        step = torch.randint(1, self.levels, self.x.shape, generator=generator).to(images.device)
        self.others = ((self.x + step) % self.levels).to(torch.uint8)
        """a level for each sub-pixel, another than it has"""
        with torch.no_grad(), features_of(model) as caught:
            self.before = flat(model.log_prob(images, labels))
        self.features = caught[0]

    def double(self) -> "_Probe":
        return _Probe(copied(self.model).double(), self.images, self.labels)

    @torch.no_grad()
    def log_prob(self, changed: Tensor) -> Tensor:
        """Of images where bool [B, n] says which sub-pixels are changed: [B, n]."""
        x = torch.where(changed, self.others, self.x)
        return flat(self.model.log_prob(unflat(x, self.shape), self.labels))

    def alone(self, image: int, numbers: list[int]) -> Tensor:
        """[n]: log-probabilities of an image in which these sub-pixels are changed."""
        changed = torch.zeros_like(self.x, dtype=torch.bool)
        changed[image, numbers] = True
        return self.log_prob(changed)[image]

    def gradient(self, image: int, n: int) -> Tensor:
        """[n]: size of the gradient, in every sub-pixel, of a random sum of an image's log-probabilities up to n."""
        generator = torch.Generator().manual_seed(1)
        weights = torch.rand(self.x.shape[1], generator=generator).to(self.x.device) + 0.5
        weights[n + 1 :] = 0
        labels = None if self.labels is None else self.labels[image : image + 1]
        with torch.enable_grad():
            x = scale_levels(self.images[image : image + 1], self.levels).requires_grad_()
            log_prob = flat(self.model.log_prob(x, labels))[0]
            (found,) = torch.autograd.grad((log_prob * weights).sum(), x)
        return flat(found)[0].abs()

    @torch.no_grad()
    def table(self, image: int, number: int) -> Tensor:
        """[L]: log-probability of every level at a sub-pixel, by the head, from the features of its pixel alone."""
        row, column, channel = place_of(number, self.shape)
        features = self.features[image, :, row, column][None, :, None, None].expand(self.levels, -1, 1, 1)
        pixel = self.images[image, :, row, column].long().repeat(self.levels, 1)
        pixel[:, channel] = torch.arange(self.levels, device=pixel.device)
        x = scale_levels(pixel, self.levels)[:, :, None, None]
        return self.model.head.log_prob(self.model.head(features, x), x)[:, channel, 0, 0]


class _Suspicions:
    """The worst that was seen, and the first leak that holds in double precision."""

    def __init__(self, probe: _Probe, tell: Told) -> None:
        self.probe, self.tell = probe, tell
        self.moved = self.gradient = self.sum_error = 0.0
        self.leak: Leak | None = None
        self._double: _Probe | None = None

    def change_the_future(self, cuts: list[int]) -> None:
        """At each cut n: other levels from n on; log-probabilities before n stay, and n's new level has the one that
        the head gives it from the old features."""
        probe = self.probe
        count, size = probe.x.shape
        places = torch.arange(size, device=probe.x.device)
        for first in range(0, len(cuts), count):
            self.tell(0.6 * first / len(cuts))
            part = torch.tensor(cuts[first : first + count], device=places.device)
            chosen = torch.cat([part, part[-1:].expand(count - len(part))])[:, None]
            after = probe.log_prob(places >= chosen)
            moves = ((after - probe.before).abs() * (places < chosen)).amax(1)
            for image, n in enumerate(part.tolist()):
                table = probe.table(image, n)
                self.sum_error = max(self.sum_error, abs(float(table.exp().sum()) - 1))
                new = int(probe.others[image, n])
                own = max(
                    abs(float(table[new] - after[image, n])),
                    abs(float(table[int(probe.x[image, n])] - probe.before[image, n])),
                )
                moved = float(moves[image])
                self.moved = max(self.moved, moved)
                if (moved > MOVES or own > SAME) and self.leak is None:
                    self.leak = self._confirm(image, n)

    def follow_gradients(self, chosen: list[int]) -> None:
        """At each n: the gradient of a random sum of the log-probabilities up to n, in n and later ones."""
        for number, n in enumerate(chosen):
            self.tell(0.6 + 0.4 * number / len(chosen))
            image = number % len(self.probe.images)
            reached = self.probe.gradient(image, n)
            largest, later = float(reached.max()), float(reached[n:].max())
            self.gradient = max(self.gradient, later / largest if largest else 0.0)
            if later > GRADIENT * largest and self.leak is None:
                reached = self._in_double().gradient(image, n)
                later, culprit = (x.item() for x in reached[n:].max(0))
                if later > GRADIENT * float(reached.max()):
                    place = place_of(n, self.probe.shape)
                    found = Leak(place_of(n + int(culprit), self.probe.shape), place, later)
                    self.leak = self._confirm(image, n) or found

    def _in_double(self) -> _Probe:
        if self._double is None:
            self._double = self.probe.double()
        return self._double

    def _confirm(self, image: int, n: int) -> Leak | None:
        """A single sub-pixel that moves an earlier or its own log-probability, in double precision."""
        probe = self._in_double()
        own = abs(float(probe.alone(image, [n])[n]) - float(probe.table(image, n)[int(probe.others[image, n])]))
        if own > SAME:
            return Leak(place_of(n, probe.shape), place_of(n, probe.shape), own)

        def moves(later: list[int], before: int) -> Tensor:
            return (probe.alone(image, later)[:before] - probe.before[image, :before]).abs()

        for later, before in ((list(range(n + 1, probe.x.shape[1])), n + 1), ([n], n)):
            if later and before and float(moves(later, before).max()) > MOVES:
                while len(later) > 1:
                    half = later[: len(later) // 2]
                    later = half if float(moves(half, before).max()) > MOVES else later[len(half) :]
                moved, earlier = moves(later, before).max(0)
                return Leak(place_of(later[0], probe.shape), place_of(int(earlier), probe.shape), float(moved))
        return None


def _dependencies(probe: _Probe) -> tuple[list[list[float]], list[list[float]]]:
    """Matrices [C][C] of Causality: means over a pixel in each of the images."""
    count, size = probe.x.shape
    channels, _, width = probe.shape
    pixels = torch.tensor(spread(max(size // channels - width - 1, 1), count + 2)[1:-1] or [0], device=probe.x.device)
    pixels = pixels.repeat(-(-count // len(pixels)))[:count]
    rows = torch.arange(count, device=pixels.device)
    same, later = torch.zeros(channels, channels), torch.zeros(channels, channels)
    for k in range(channels):
        changed = torch.zeros_like(probe.x, dtype=torch.bool)
        changed[rows, pixels * channels + k] = True
        moves = (probe.log_prob(changed) - probe.before).abs().view(count, -1, channels)
        own = moves[rows, pixels]
        own[:, k] = 0  # its own level is another one
        same[:, k] = own.mean(0).cpu()
        behind = torch.arange(moves.shape[1], device=pixels.device) > pixels[:, None]
        later[:, k] = (moves * behind[:, :, None]).amax(1).mean(0).cpu()
    return same.tolist(), later.tolist()
