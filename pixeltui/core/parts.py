"""What a trunk and a head are. A model is one of each; a new one is a file and a line in pixeltui.registry.

Shapes: images [B, C, H, W], features [B, D, H, W], L levels, labels int64 [B] in [0, num_classes], the last "no label".
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pixeltui.core.draw import inverse_cdf
from pixeltui.core.readable import hooked, readable
from pixeltui.core.recompute import recomputed
from pixeltui.core.wavefront import Wavefront


class Trunk(nn.Module, ABC):
    """From a scaled image to features that are strictly causal: those of a pixel hang on earlier pixels only.

    Built as Trunk(image_channels, num_classes, config.model); num_classes is 0 for a model without labels.
    """

    channels: int
    """D, those of `linear` included"""
    linear: int = 0
    """how many of the features, the last ones, are linear functions of nearby pixels"""
    rows_above: int | None
    """Rows above a pixel that its features can hang on; None: all of them."""
    recompute: bool = False
    """in training mode, blocks go through `recomputed`: less memory, a second forward pass, the same gradients"""

    @abstractmethod
    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """x in [-1, 1] [B, C, H, W], labels None where num_classes is 0, to features [B, D, H, W]."""

    def through(self, block: nn.Module, *inputs: Tensor | None) -> Any:
        """block(*inputs), whose inside is kept for the gradients or, where `recompute` says so, is not."""
        return recomputed(block, *inputs) if self.recompute and self.training else block(*inputs)

    def incremental(
        self, labels: Tensor | None, batch: int, height: int, width: int, dtype: torch.dtype
    ) -> "IncrementalTrunk | None":
        """The trunk in evaluation mode, pixel by pixel, on a copy of its weights in `dtype`; labels int64 [B].

        None, the default, where there is no such thing: the sampler then computes a pixel's features by `forward`.
        """
        return None

    def in_waves(
        self, labels: Tensor | None, batch: int, width: int, copies: int, dtype: torch.dtype
    ) -> "WaveTrunk | None":
        """As `incremental`, for several pixels of an image at once; labels int64 [copies B].

        None, the default, where there is no such thing. A subclass with a `forward` of its own has to say so again.
        """
        return None


def takes_rows(trunk: Trunk) -> bool:
    """Whether a trunk gives the features of a row from the rows that these hang on: not where modules of it have hooks,
    or are others than it was made with, which may look for a place in the image, or reach further."""
    own = type(trunk).incremental is Trunk.incremental
    return not hooked(trunk) if own else readable(trunk)


class Head(nn.Module, ABC):
    """From the features of a pixel to a distribution over the levels of each of its channels.

    Built as Head(D, C, L, config.model), whose linear_skip is the trunk's `linear`. Log-probabilities are natural and
    fp32, whatever autocast says; products may be in TF32 in training, as torch's switches say.
    """

    in_order: bool = False
    """whether the distribution of a channel hangs on the channels before it"""

    def __init__(self, image_channels: int, levels: int) -> None:
        super().__init__()
        self.image_channels = image_channels
        self.levels = levels

    def hidden_kernels(self) -> list[Tensor]:
        """[C', C, rows, columns]: those that give features, not parameters. Muon updates them, as the trunk's."""
        return []

    @abstractmethod
    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Parameters [B, P, H, W] of the distribution, given the image x, scaled, [B, C, H, W]."""

    @abstractmethod
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """[B, C, H, W]: log-probability of the level that each sub-pixel of x, scaled, is nearest to.

        A gradient reaches x only as the condition of later channels, never as the level that is scored.
        """

    def pixel_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """[B, H, W]: log_prob summed over the channels, for a loss; a head may have a shorter way."""
        return self.log_prob(params, x).sum(1)

    @abstractmethod
    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        """[B, L]: of every level of channel c, given features [B, D] and the c channels before it, int64 [B, c]."""

    def incremental(self) -> "IncrementalHead | None":
        """The head on a copy of its weights, for one pixel after another; None: the sampler uses level_log_probs."""
        return None


class IncrementalTrunk(ABC):
    """Features of one pixel after another, in raster order, B images at once. The rows before the first are zeros.

    For each row to draw: set_row, begin_row, `pixel` for each column in order, end_row. Rows that are known are taken
    in by fill_rows, many at once. Those that no later pixel hangs on may be left out at the beginning.
    """

    current: Tensor
    """[B, W, C] of the row, scaled: the caller writes a pixel after its features were asked for"""
    rows_above: int | None = None
    """Rows above a pixel that its features hang on, by the weights that it has; None: all of them."""

    @abstractmethod
    def set_row(self, row: int) -> None:
        """The number of the row that begins. The only call whose work may differ from row to row: on CUDA the others
        are recorded once, as a graph, and replayed."""

    @abstractmethod
    def begin_row(self) -> None:
        """Computes whatever hangs on the rows above alone."""

    @abstractmethod
    def pixel(self, column: int) -> Tensor:
        """Features [B, D], valid until the next call."""

    @abstractmethod
    def end_row(self) -> None:
        """Makes the row the one above."""

    @abstractmethod
    def fill_rows(self, row: int, x: Tensor) -> None:
        """Takes in known rows, scaled [B, R, W, C], the first of which is number `row`, in one pass: what later rows
        need, and no features. Makes the last of them the one above."""


class WaveTrunk(ABC):
    """Features of all pixels that a wavefront has at a step, T tracks of B images; copies: 2 with guidance, else 1.

    For each step: `pixels`, their scaled levels into `current`, `take`. Known rows are taken in by fill_rows, as
    IncrementalTrunk's. On CUDA a step is recorded once, as a graph, and replayed.
    """

    front: Wavefront
    features: Tensor
    """[copies T B, D], what `pixels` returns"""
    current: Tensor
    """[copies T B, 1, C]"""
    nowhere: int
    """column of a track that has no pixel"""
    rows_above: int | None = None
    """as IncrementalTrunk's"""
    recorded: Hashable = None
    """numbers and kernels that a recorded step has for good: it is not replayed for a trunk with others"""

    def columns_of(self, places: Tensor) -> Tensor:
        """Columns for `pixels` and `take`, of places as the front's."""
        return torch.where(places < 0, self.nowhere, places % self.front.width)

    @abstractmethod
    def pixels(self, columns: Tensor) -> Tensor:
        """Features [copies T B, D] at columns int64 [T], valid until the next call."""

    @abstractmethod
    def take(self, columns: Tensor) -> None:
        """Makes `current` the pixels at these columns."""

    @abstractmethod
    def fill_rows(self, row: int, x: Tensor) -> None:
        """Takes in known rows, scaled [copies B, R, W, C], the first of which is number `row`."""


class IncrementalHead(ABC):
    """A head at one pixel after another: `begin`, then `draw` or `log_probs`, and `observe`, for each channel."""

    @abstractmethod
    def begin(self, features: Tensor) -> None:
        """Features [B, D] of the pixel."""

    @abstractmethod
    def log_probs(self, channel: int) -> Tensor:
        """[B, L], fp32, given the channels observed."""

    def draw(self, channel: int, noise: Tensor) -> Tensor:
        """Levels int64 [B]: the first whose cumulative probability is over noise [B] in [0, LARGEST_NOISE]."""
        return inverse_cdf(self.log_probs(channel).exp(), noise)

    @abstractmethod
    def observe(self, channel: int, levels: Tensor) -> None:
        """Levels int64 [B] of a channel other than the last."""


class Unsupported(Exception):
    """A part that the compiled steps, or a GPU's kernels, do not know; the sampler then goes on in torch."""


def scale_levels(levels: Tensor, number: int) -> Tensor:
    """Levels 0 .. number - 1 to fp32 in [-1, 1]."""
    return levels.float() * (2 / (number - 1)) - 1


def nearest_levels(x: Tensor, number: int) -> Tensor:
    """The inverse of scale_levels: int64, x rounded to the nearest level; no gradient."""
    return ((x.detach().float() + 1) * ((number - 1) / 2)).round().clamp(0, number - 1).long()


def fp32(device: torch.device) -> torch.autocast:
    """A context in which autocast is off."""
    return torch.autocast(device.type, enabled=False)


def dtype_of(part: nn.Module) -> torch.dtype:
    """Of its weights, which the copies that nn.DataParallel makes have as attributes: they have no parameters."""
    for weight in part.parameters():  # not next with a default, which the compiler of torch 2.8 cannot read
        return weight.dtype
    former: Iterator[Tensor] = (one for inner in part.modules() for one in vars(inner)["_former_parameters"].values())
    return next(former).dtype
