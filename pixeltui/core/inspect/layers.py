"""What the layers of a model give: maps of their units, and what these do over many images.

Layers: the children of trunk and head, the blocks of a list one by one, and what gates let through, which is where the
dropout before the last convolution of a block stands. Whatever gives features [B, D, H, W] of the image's size counts;
of a layer that gives several, each does: "blocks.0:1" is the second output of the first block.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from pixeltui.core.dropout import Dropout
from pixeltui.core.inspect.probing import exact

if TYPE_CHECKING:
    from pixeltui.core.model import ConditionalPixelCNN

KEPT = 2048
"""pixels of a layer whose features are kept"""
NEAR_ZERO = 1e-3
"""of a layer's root mean square"""
EDGE = 0.01
"""of a unit's range, from either end"""
BINS = 48
BATCH = 16
"""images a forward pass"""


@dataclass(frozen=True)
class LayerStatistics:
    """Over all units and, for mean to highest and `dead`, all pixels of all images; else over KEPT pixels."""

    name: str
    units: int
    mean: float
    std: float
    lowest: float
    highest: float
    zeros: float
    """share of values within a thousandth of the layer's root mean square of 0"""
    saturated: float
    """share of values in the outermost hundredth of their unit's range, at either end"""
    dead: list[int]
    """units that had one value at every pixel of every image"""
    edges: tuple[float, float]
    """of the histogram"""
    histogram: list[int]
    """values in bins of equal width, those beyond the edges in the outermost"""


@dataclass(frozen=True)
class FeatureMaps:
    name: str
    units: list[int]
    """those that vary most, in order"""
    maps: Tensor
    """fp32 [units, H, W] on the CPU"""


def named_layers(model: "ConditionalPixelCNN") -> Iterator[tuple[str, nn.Module]]:
    for part, prefix in ((model.trunk, ""), (model.head, "head.")):
        for name, module in part.named_modules():
            depth = name.count(".")
            listed = isinstance(part.get_submodule(name.rpartition(".")[0]), nn.ModuleList | nn.ModuleDict)
            child = depth == 0 or (depth == 1 and listed)
            containers = isinstance(module, nn.ModuleList | nn.ModuleDict)
            if name and not containers and (child or isinstance(module, Dropout)):
                yield prefix + (name.replace("dropout", "gate") if isinstance(module, Dropout) else name), module


AnyHooks = TypeVar("AnyHooks", bound="_Hooks")


class _Hooks:
    """Calls take(name, features [B, D, H, W]) for each output of a layer, within `with`."""

    def __init__(self, model: "ConditionalPixelCNN", take: Callable[[str, Tensor], None]) -> None:
        self._model, self._take = model, take
        self._handles: list[Any] = []

    def __enter__(self: AnyHooks) -> AnyHooks:
        for name, module in named_layers(self._model):
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(self, *_: object) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        size = self._model.image_shape[1:]

        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            several = isinstance(output, tuple | list)
            for number, features in enumerate(output if several else (output,)):
                if isinstance(features, Tensor) and features.ndim == 4 and features.shape[2:] == size:
                    self._take(f"{name}:{number}" if several else name, features.detach())

        return look


class Recorder(_Hooks):
    """Watches the layers through whatever forward passes happen within `with Recorder(model) as recorder:`."""

    def __init__(self, model: "ConditionalPixelCNN", images: int = 64) -> None:
        """images: how many will pass, about."""
        super().__init__(model, self._record)
        pixels = model.image_shape[1] * model.image_shape[2]
        self._per_image = max(1, -(-KEPT // images))
        self._pixels = pixels
        self._generator = torch.Generator().manual_seed(0)
        self._found: dict[str, _Layer] = {}

    def _record(self, name: str, features: Tensor) -> None:
        layer = self._found.get(name)
        if layer is None:
            places = torch.randperm(self._pixels, generator=self._generator)[: self._per_image]
            layer = self._found[name] = _Layer(places.to(features.device))
        layer.take(features.float())

    def statistics(self) -> list[LayerStatistics]:
        """In the order in which layers computed."""
        return [layer.statistics(name) for name, layer in self._found.items()]


class _Layer:
    def __init__(self, places: Tensor) -> None:
        self.places = places
        self.count = 0
        self.sums = self.squares = torch.zeros(())
        self.low = self.high = torch.zeros(())
        self.kept: list[Tensor] = []

    def take(self, x: Tensor) -> None:
        low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
        if self.count:
            low, high = torch.minimum(low, self.low), torch.maximum(high, self.high)
        self.low, self.high = low, high
        self.sums = self.sums.to(x.device) + x.sum((0, 2, 3), dtype=torch.float64)
        self.squares = self.squares.to(x.device) + x.double().square().sum((0, 2, 3))
        self.count += len(x) * x.shape[2] * x.shape[3]
        if sum(map(len, self.kept)) < KEPT:
            self.kept.append(x.flatten(2)[:, :, self.places].movedim(1, 2).flatten(0, 1).cpu())

    def statistics(self, name: str) -> LayerStatistics:
        kept = torch.cat(self.kept)[:KEPT]
        low, high = self.low.cpu(), self.high.cpu()
        mean = float(self.sums.mean()) / self.count
        power = float(self.squares.mean()) / self.count
        rms = power**0.5
        ranges = high - low
        alive = ranges > 1e-6 * max(rms, 1e-30)
        margin = EDGE * ranges
        outer = (kept <= low + margin) | (kept >= high - margin)
        edges = [float(kept.flatten().kthvalue(k).values) for k in _tails(kept.numel())]
        if edges[0] == edges[1]:
            edges = [edges[0] - 0.5, edges[1] + 0.5]
        return LayerStatistics(
            name=name,
            units=kept.shape[1],
            mean=mean,
            std=max(power - mean**2, 0.0) ** 0.5,
            lowest=float(low.min()),
            highest=float(high.max()),
            zeros=float((kept.abs() <= NEAR_ZERO * rms).float().mean()),
            saturated=float(outer[:, alive].float().mean()) if bool(alive.any()) else 0.0,
            dead=(~alive).nonzero().flatten().tolist(),
            edges=(edges[0], edges[1]),
            histogram=torch.histc(kept.clamp(edges[0], edges[1]), BINS, edges[0], edges[1]).long().tolist(),
        )


def _tails(count: int) -> tuple[int, int]:
    """Ranks, from 1, of the values between which 99.8 % lie."""
    return 1 + count // 1000, count - count // 1000


@torch.no_grad()
def feature_maps(
    model: "ConditionalPixelCNN",
    image: Tensor,
    label: Tensor | None = None,
    *,
    layers: Sequence[str] | None = None,
    units: int = 16,
) -> list[FeatureMaps]:
    """Of one image uint8 [C, H, W] and its label int64 []: the `units` units of each layer that vary most over it.

    layers: names of LayerStatistics; None: all. Raises ValueError for one that there is not.
    """
    found: dict[str, Tensor] = {}

    def take(name: str, features: Tensor) -> None:
        found.setdefault(name, features[0].float().cpu())

    with exact(model), _Hooks(model, take):
        model(image[None], None if label is None else label[None])
    missing = [name for name in layers or () if name not in found]
    if missing:
        raise ValueError(f"expected layers among {', '.join(found)}, got {', '.join(missing)}")
    result = []
    for name in found if layers is None else layers:
        maps = found[name]
        order = maps.flatten(1).var(1, correction=0).argsort(descending=True, stable=True)[:units]
        result.append(FeatureMaps(name, order.tolist(), maps[order]))
    return result


@torch.no_grad()
def score(
    model: "ConditionalPixelCNN", images: Tensor, labels: Tensor | None = None, *, batch_size: int = BATCH
) -> Tensor:
    """Bits of every sub-pixel of images uint8 [N, C, H, W] with labels int64 [N]: fp32 [N, C, H, W] on the CPU."""
    return torch.cat(list(score_stream(model, images, labels, batch_size=batch_size)))


@torch.no_grad()
def score_stream(
    model: "ConditionalPixelCNN", images: Tensor, labels: Tensor | None = None, *, batch_size: int = BATCH
) -> Iterator[Tensor]:
    """The same, a batch after another."""
    ln2 = torch.log(torch.tensor(2.0))
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        with exact(model):
            log_prob = model.log_prob(images[part], None if labels is None else labels[part])
        yield -log_prob.float().cpu() / ln2
