"""What the console's panes of an inspection show, computed when one looks at them. Runs in the studio's process."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from pixeltui.core import inspect
from pixeltui.core.inspect.layers import score_stream
from pixeltui.data import DataSet
from pixeltui.data.grid import to_rgb
from pixeltui.inspection.colors import DIVERGING, colors
from pixeltui.inspection.files import write_inspection
from pixeltui.inspection.findings import BESIDE, CHECKED, FIELD_IMAGES, FUTURE, SAMPLES
from pixeltui.inspection.sheets.sight import field_colors
from pixeltui.inspection.verdicts import (
    channel_names,
    mask_verdict,
    mean_bits,
    model_verdict,
    sampler_verdict,
)
from pixeltui.session.wishes import Group, Pane, Tile
from pixeltui.train.live import labels_in_turn
from pixeltui.train.load import LoadedModel
from pixeltui.train.nearest import nearest

UNITS = 24
"""of a layer that are shown"""
BLOCKS = "▁▂▃▄▅▆▇█"
Tell = Callable[[str, float], None]
"""what is being done and the share of it; raises Superseded where something else is wanted"""


class Superseded(Exception):
    """The console asked for something else."""


class Inspector:
    """Of one model, on some images of the test split. What several panes need is computed once."""

    def __init__(self, loaded: LoadedModel, data: DataSet, count: int) -> None:
        self.loaded, self.data = loaded, data
        split = data.test.spread(count)
        self.count, self.most = len(split), len(data.test)
        self.model, self.levels = loaded.model, loaded.data["levels"]
        device = next(self.model.parameters()).device
        self.images = split.images.to(device)
        self.classes = None if split.labels is None else split.labels
        self.labels = split.labels.to(device) if split.labels is not None and self.model.num_classes else None
        self.names = channel_names(self.model.image_shape[0])
        self._scored: tuple[Tensor, list[inspect.LayerStatistics]] | None = None
        self._drawn: tuple[Tensor, list[int], Tensor] | None = None

    def is_of(self, loaded: LoadedModel, count: int) -> bool:
        return self.loaded is loaded and self.count == min(count, self.most)

    def pane(self, wish_id: int, name: str, tell: Tell) -> Pane:
        """Raises KeyError for a name that there is not."""
        makers: dict[str, Callable[[int, Tell], Pane]] = {
            "verdicts": self._verdicts,
            "bits": self._bits,
            "features": self._features,
            "units": self._units,
            "field": self._field,
            "classes": self._classes,
            "nearest": self._nearest,
        }
        return msgspec.structs.replace(makers[name](wish_id, tell), images=self.count, most=self.most)

    def write(self, run: str, tell: Tell) -> str:
        """As `pixeltui inspect`; the folder."""
        path = Path(run)
        out = path / "inspect"
        write_inspection(self.loaded, path.name, self.data, out, split="test", images=self.count, progress=tell)
        return str(out)

    # -- what several need -----------------------------------------------------------------------------------------

    def scored(self, tell: Tell, upto: float = 1.0) -> tuple[Tensor, list[inspect.LayerStatistics]]:
        """Bits of every sub-pixel of the images, and statistics of the layers."""
        if self._scored is None:
            text = f"scoring {len(self.images)} images"
            parts: list[Tensor] = []
            tell(text, 0.0)
            with inspect.Recorder(self.model, len(self.images)) as recorder:
                for part in score_stream(self.model, self.images, self.labels):
                    parts.append(part)
                    tell(text, upto * sum(map(len, parts)) / len(self.images))
            self._scored = torch.cat(parts), recorder.statistics()
        return self._scored

    def drawn(self, tell: Tell, share: float = 0.0) -> tuple[Tensor, list[int], Tensor]:
        """The model's own samples, their labels and bits."""
        if self._drawn is None:
            in_turn = labels_in_turn(self.model, SAMPLES)
            labels = torch.tensor(in_turn, device=self.images.device) if in_turn else None
            for samples, row in self.model.sample_stream(SAMPLES, labels, seed=0):
                tell(f"drawing {SAMPLES} images", share + (1 - share) * 0.9 * row / samples.shape[2])
            self._drawn = samples, in_turn, inspect.score(self.model, samples, labels)
        return self._drawn

    def _tile(self, values: Tensor, low: float, high: float, label: str, note: str = "") -> Tile:
        height, width = values.shape
        return Tile(
            rgb=colors(values.flatten().tolist(), low, high), width=width, height=height, label=label, note=note
        )

    def _picture(self, image: Tensor, label: str, note: str = "") -> Tile:
        """image: uint8 [C, H, W]"""
        rgb = to_rgb(image[None], self.levels)[0].numpy().tobytes()
        return Tile(rgb=rgb, width=image.shape[2], height=image.shape[1], label=label, note=note)

    def _class(self, label: int) -> str:
        return str(self.loaded.classes[label]) if self.loaded.classes else ""

    # -- panes -----------------------------------------------------------------------------------------------------

    def _verdicts(self, wish_id: int, tell: Tell) -> Pane:
        channels = len(self.names)
        causality = inspect.check_causality(
            self.model, self.images, self.labels, progress=lambda share: tell(FUTURE, 0.4 * share)
        )
        own = labels_in_turn(self.model, CHECKED) or None
        sampler = inspect.check_sampler(
            self.model, own, count=CHECKED, progress=lambda share: tell(BESIDE, 0.4 + 0.3 * share)
        )
        bits, _ = self.scored(tell)
        _, _, sample_bits = self.drawn(tell, 0.8)
        lines = []
        for name, verdict in (
            ("mask", mask_verdict(causality, channels)),
            ("model", model_verdict(causality, sample_bits, bits)),
            ("sampler", sampler_verdict(sampler, causality, channels)),
        ):
            lines += [("good" if verdict.right else "bad", f"{'✔' if verdict.right else '✘'} {name}")]
            lines += [("text", str(verdict)), ("text", "")]
        lines.append(("title", "bits/dim"))
        columns = [("all", bits, sample_bits)] if channels > 1 else []
        columns += [(name, bits[:, c], sample_bits[:, c]) for c, name in enumerate(self.names)]
        lines += [
            ("text", f"  {name:<6}{mean_bits(ours)} of the images   {mean_bits(theirs)} of its own samples")
            for name, ours, theirs in columns
        ]
        if channels > 1:
            matrices = (("the same pixel", causality.same_pixel), ("a later pixel", causality.later_pixels))
            for where, matrix in matrices:
                lines += [("text", ""), ("title", f"how far a changed channel moves those of {where}, nats")]
                lines.append(("muted", "        " + "".join(f"{name:>9}" for name in self.names) + "   changed"))
                for name, row in zip(self.names, matrix, strict=True):
                    cells = "".join(
                        f"{value:>9.3g}" if value > inspect.causality.MOVES else "        ·" for value in row
                    )
                    lines.append(("text", f"  {name:<6}{cells}"))
        return Pane(id=wish_id, name="verdicts", lines=tuple(lines))

    def _bits(self, wish_id: int, tell: Tell) -> Pane:
        bits, _ = self.scored(tell)
        means = bits.mean(0)
        top = float(torch.quantile(means.flatten(), 0.995)) or 1.0
        scale = f"black: 0, white: {top:.2f} bits a sub-pixel and more"
        every = f"mean of {len(bits)} images"
        tiles = [
            self._tile(means.mean(0), 0, top, f"all {float(bits.mean()):.2f}", f"{every}: {mean_bits(bits)} · {scale}")
        ]
        for channel, name in enumerate(self.names if len(self.names) > 1 else ()):
            figure = mean_bits(bits[:, channel])
            tiles.append(
                self._tile(means[channel], 0, top, f"{name} {figure.mean:.2f}", f"{every}: {figure} · {scale}")
            )
        groups = [Group(name=f"{every}, bits/dim", tiles=tuple(tiles), beside=2 if len(tiles) == 4 else 1)]
        each = bits.mean(1)
        hottest = float(torch.quantile(each[: 1 << 10].flatten()[: 1 << 24], 0.995)) or 1.0
        pairs: list[Tile] = []
        for index in bits.flatten(1).mean(1).argsort().tolist():
            name = self._class(int(self.classes[index])) if self.classes is not None else ""
            note = f"{float(each[index].mean()):.3f} bits/dim · pixels {float(each[index].min()):.2f} to "
            note += f"{float(each[index].max()):.2f} · white: {hottest:.2f} and more"
            pairs.append(self._picture(self.images[index], name, note))
            pairs.append(self._tile(each[index], 0, hottest, f"{float(each[index].mean()):.2f}", note))
        groups.append(Group(name="images and their maps, easy ones first", tiles=tuple(pairs), beside=2))
        return Pane(id=wish_id, name="bits", groups=tuple(groups))

    def _features(self, wish_id: int, tell: Tell) -> Pane:
        tell("feature maps", 0.1)
        label = None if self.labels is None else self.labels[0]
        groups = []
        for layer in inspect.feature_maps(self.model, self.images[0], label, units=UNITS):
            limit = float(torch.quantile(layer.maps.abs().flatten(), 0.995)) or 1.0
            scale = f"blue: {-limit:.3g}, black: 0, orange: {limit:.3g}"
            tiles = [self._picture(self.images[0], "image", scale)]
            for unit, values in zip(layer.units, layer.maps, strict=True):
                note = f"unit {unit}: {float(values.min()):.3g} to {float(values.max()):.3g} · {scale}"
                rgb = colors(values.flatten().tolist(), -limit, limit, DIVERGING)
                tiles.append(
                    Tile(rgb=rgb, width=values.shape[1], height=values.shape[0], label=f"unit {unit}", note=note)
                )
            groups.append(Group(name=layer.name, tiles=tuple(tiles)))
        return Pane(id=wish_id, name="features", groups=tuple(groups))

    def _units(self, wish_id: int, tell: Tell) -> Pane:
        _, layers = self.scored(tell)
        rows = tuple(
            (
                layer.name,
                _bars(layer.histogram),
                f"{layer.mean:.2g}",
                f"{layer.std:.3g}",
                f"{layer.zeros:.1%}",
                f"{layer.saturated:.1%}",
                f"{len(layer.dead)} of {layer.units}",
            )
            for layer in layers
        )
        dead = sum(len(layer.dead) for layer in layers)
        note = f"{dead} of {sum(layer.units for layer in layers)} units never vary over {self.count} images"
        heads = ("layer", "values", "mean", "std", "near 0", "edge", "dead")
        return Pane(id=wish_id, name="units", heads=heads, rows=rows, note=note)

    def _field(self, wish_id: int, tell: Tell) -> Pane:
        tell("receptive field", 0.2)
        labels = None if self.labels is None else self.labels[:FIELD_IMAGES]
        field = inspect.receptive_field(self.model, self.images[:FIELD_IMAGES], labels)
        height, width = field.support.shape
        largest = max(float(field.magnitude.max()), 1e-30)
        shares = ((field.magnitude / largest).clamp(min=1e-8).log10() + 4) / 4
        near, reach = field.effective, field.reach
        blind = f"{len(field.blind)} in a blind spot, red" if field.blind else "no blind spot"
        seen = (
            f"light: the pixel at row {field.row}, column {field.column} · blue: the {int(field.support.sum())} "
            f"it can see, up to {reach.above} rows up, {reach.left} left, {reach.right} right · {blind}"
        )
        looked = (
            "size of the gradient, log scale, white the largest, black a ten-thousandth of it · "
            f"95 % within {near.above} rows up, {near.left} left, {near.right} right"
        )
        support = Tile(rgb=field_colors(field), width=width, height=height, label="can see", note=seen)
        group = Group(
            name=f"of the pixel at row {field.row}, column {field.column}",
            tiles=(support, self._tile(shares, 0, 1, "looks at", looked)),
            beside=2,
        )
        return Pane(id=wish_id, name="field", groups=(group,))

    def _classes(self, wish_id: int, tell: Tell) -> Pane:
        heads = ("class", "images", "bits/dim", "±", "")
        if self.classes is None:
            return Pane(id=wish_id, name="classes", heads=heads, note="the data has no classes")
        bits, _ = self.scored(tell)
        each = bits.flatten(1).mean(1)
        found = [(label, mean_bits(bits[self.classes.cpu() == label])) for label in sorted(set(self.classes.tolist()))]
        most = max(figure.mean for _, figure in found)
        rows = tuple(
            (
                self._class(label),
                str(int((self.classes == label).sum())),
                f"{figure.mean:.3f}",
                "" if figure.se is None else f"{figure.se:.3f}",
                "█" * round(24 * figure.mean / most),
            )
            for label, figure in found
        )
        some = f"{self.count} images of the test split; n: twice as many"
        every = f"all {self.count} images of the test split"
        note = f"{float(each.mean()):.3f} bits/dim over {some if self.count < self.most else every}"
        return Pane(id=wish_id, name="classes", heads=heads, rows=rows, note=note)

    def _nearest(self, wish_id: int, tell: Tell) -> Pane:
        samples, labels, bits = self.drawn(tell)
        train = self.data.train
        mirrored = self.loaded.config.data.augmentations.horizontal_flip
        tell(f"looking through {len(train)} training images", 0.9)
        distances, indices = nearest(samples, train.images, levels=self.levels, mirrored=mirrored)
        tiles = []
        for number, (sample, distance, index) in enumerate(
            zip(samples, distances[:, 0].tolist(), indices[:, 0].tolist(), strict=True)
        ):
            name = self._class(labels[number]) if labels else ""
            each = f"{float(bits[number].mean()):.2f}"
            note = f"sample {number}{f' of class {name}' if name else ''}: {each} bits/dim · nearest: train:{index}, "
            note += f"{distance:.3f} apart (0: a copy, 1: black and white)"
            tiles += [self._picture(sample, f"{name} {each}".strip(), note)]
            tiles += [self._picture(train.images[index], f"{distance:.3f}", note)]
        name = "its own samples, each beside the training image nearest to it"
        return Pane(id=wish_id, name="nearest", groups=(Group(name=name, tiles=tuple(tiles), beside=2),))


def _bars(histogram: list[int]) -> str:
    """A character for every other bin, heights by the square root."""
    pairs = [a + b for a, b in zip(histogram[::2], histogram[1::2], strict=True)]
    top = max(*pairs, 1)
    return "".join(
        BLOCKS[min(int((count / top) ** 0.5 * len(BLOCKS)), len(BLOCKS) - 1)] if count else " " for count in pairs
    )
