"""The pictures of an inspection as PNG files; docs/INSPECT.md says how to read them."""

import math
from collections.abc import Callable

import torch

from pixeltui.core.inspect import Field
from pixeltui.data.grid import to_rgb
from pixeltui.inspection.canvas import (
    ACCENT,
    BACKGROUND,
    BAD,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    PANEL,
    WARN,
    Canvas,
    ticks,
)
from pixeltui.inspection.colors import DIVERGING, HEAT, color
from pixeltui.inspection.findings import Findings
from pixeltui.inspection.verdicts import channel_names, mean_bits

TOP = 84
SHOWN = 12
"""images with their bits"""
ROWS = 10
"""layers in the sheet of feature maps"""
SEEN, UNSEEN, LATER = (64, 120, 170), (56, 64, 76), (12, 14, 18)


def sheets(found: Findings, title: str, levels: int, classes: tuple[str, ...]) -> dict[str, bytes]:
    """PNG files by name. title: the run and its checkpoint."""
    makers: dict[str, Callable[[], bytes]] = {
        "bits.png": lambda: bits_sheet(found, title, levels, classes),
        "samples.png": lambda: samples_sheet(found, title, levels, classes),
        "features.png": lambda: features_sheet(found, title, levels),
        "activations.png": lambda: activations_sheet(found, title),
        "receptive-field.png": lambda: field_sheet(found, title),
        "channels.png": lambda: channels_sheet(found, title),
    }
    return {name: make() for name, make in makers.items()}


def _scale(height: int, width: int, wanted: int) -> int:
    return max(1, wanted // max(height, width))


def bits_sheet(found: Findings, title: str, levels: int, classes: tuple[str, ...]) -> bytes:
    """The mean map of all channels and of each, then images beside their own maps, from the cheapest to the dearest."""
    count, channels, height, width = found.bits.shape
    big, small = _scale(height, width, 220), _scale(height, width, 96)
    means = found.bits.mean(0)
    panels = [("all channels", means.mean(0), found.bits)] if channels > 1 else []
    panels += [(n, means[c], found.bits[:, c]) for c, n in enumerate(channel_names(channels))]
    order = found.bits.flatten(1).mean(1).argsort()
    chosen = order[torch.linspace(0, count - 1, min(SHOWN, count)).round().long()].tolist()
    columns = 4
    cell = 2 * width * small + 28
    wide = max(len(panels) * (width * big + 24) + 60, columns * cell + 70, 640)
    rows = math.ceil(len(chosen) / columns)
    tile = height * small + 38
    middle = TOP + 20 + height * big + 56
    canvas = Canvas(
        wide + 2 * MARGIN,
        middle + 24 + rows * tile + MARGIN,
        f"{title}: bits of each sub-pixel",
        f"mean of {count} images; bits/dim ± standard error",
    )
    top = float(torch.quantile(means.flatten(), 0.995)) * 1.02
    for number, (name, values, bits) in enumerate(panels):
        x = MARGIN + number * (width * big + 24)
        canvas.text(x, TOP, name, size=13)
        canvas.text(x + width * big, TOP, str(mean_bits(bits)), size=13, fill=MUTED, anchor="ra")
        canvas.map(x, TOP + 22, values, big, 0, top)
    canvas.scale_bar(MARGIN + len(panels) * (width * big + 24), TOP + 22, height * big, ticks(0, top))
    canvas.text(MARGIN, middle - 10, "images and their maps, from the easiest to the hardest", size=13)
    each = found.bits.mean(1)
    hottest = float(torch.quantile(each[chosen].flatten(), 0.995))
    rgb = to_rgb(found.images[chosen], levels)
    for number, index in enumerate(chosen):
        x, y = MARGIN + number % columns * cell, middle + 14 + number // columns * tile
        canvas.picture(x, y, rgb[number].numpy().tobytes(), width, height, small)
        canvas.map(x + width * small + 4, y, each[index], small, 0, hottest)
        label = classes[int(found.labels[index])] if found.labels is not None and classes else ""
        text = f"{float(found.bits[index].mean()):.2f} bits/dim{f'  class {label[:14]}' if label else ''}"
        canvas.text(x, y + height * small + 5, text, fill=MUTED)
    canvas.scale_bar(MARGIN + columns * cell, middle + 14, rows * tile - 38, ticks(0, hottest))
    return canvas.png()


def samples_sheet(found: Findings, title: str, levels: int, classes: tuple[str, ...]) -> bytes:
    """The model's own samples with their bits, and how these lie beside those of images."""
    count, channels, height, width = found.samples.shape
    small = _scale(height, width, 96)
    columns = 8
    cell, tile = width * small + 12, height * small + 26
    rows = math.ceil(count / columns)
    names = ["all", *channel_names(channels)] if channels > 1 else ["all"]
    middle = TOP + rows * tile + 24
    wide = max(columns * cell, 700)
    canvas = Canvas(
        wide + 2 * MARGIN,
        middle + 60 + 46 * len(names) + MARGIN,
        f"{title}: its own samples",
        "drawn at temperature 1; under each its bits/dim and class",
    )
    for number, rgb in enumerate(to_rgb(found.samples, levels)):
        x, y = MARGIN + number % columns * cell, TOP + number // columns * tile
        canvas.picture(x, y, rgb.numpy().tobytes(), width, height, small)
        label = classes[found.sample_labels[number]] if found.sample_labels and classes else ""
        canvas.text(
            x, y + height * small + 4, f"{float(found.sample_bits[number].mean()):.2f}  {label[:9]}", fill=MUTED
        )
    pairs = [(found.sample_bits, found.bits)]
    pairs += [(found.sample_bits[:, c], found.bits[:, c]) for c in range(channels)] if channels > 1 else []
    values = torch.cat([one.flatten(1).mean(1) for pair in pairs for one in pair])
    low, high = float(values.min()), float(values.max())
    left, room = MARGIN + 60, wide - 200
    canvas.text(MARGIN, middle, "bits/dim of each sample", fill=WARN, size=13)
    canvas.text(MARGIN + 190, middle, "and of each image of the data", fill=ACCENT, size=13)
    span = high - low or 1.0
    for number, (name, pair) in enumerate(zip(names, pairs, strict=True)):
        y = middle + 34 + 46 * number
        canvas.text(MARGIN, y + 14, name, size=13, anchor="lm")
        for line, (bits, ink) in enumerate(zip(pair, (WARN, ACCENT), strict=True)):
            at = y + 16 * line
            canvas.line(left, at + 6, left + room, at + 6)
            for value in bits.flatten(1).mean(1).tolist():
                canvas.box(left + (value - low) / span * room - 1, at + 1, 2, 11, ink)
            canvas.text(left + room + 12, at + 6, str(mean_bits(bits)), fill=ink, anchor="lm")
    y = middle + 34 + 46 * len(names)
    for share, text in ticks(low, high):
        canvas.text(left + share * room, y - 4, text, size=11, fill=MUTED, anchor="mt")
    return canvas.png()


def features_sheet(found: Findings, title: str, levels: int) -> bytes:
    """A row for each of some layers from first to last, its liveliest units, on a scale of its own."""
    _, height, width = found.images[0].shape
    scale = _scale(height, width, 64)
    layers = [layer for layer in found.maps if not layer.name.startswith("head.")] or found.maps
    chosen = [
        layers[i] for i in dict.fromkeys(torch.linspace(0, len(layers) - 1, min(ROWS, len(layers))).long().tolist())
    ]
    picture = _scale(height, width, 96)
    left = MARGIN + width * picture + 132
    cell, tile = width * scale + 4, height * scale + 18
    most = max(len(layer.units) for layer in chosen)
    canvas = Canvas(
        left + most * cell + 70 + MARGIN,
        TOP + max(len(chosen) * tile, height * picture) + MARGIN,
        f"{title}: feature maps",
        "of the image on the left; in each row the units of a layer that vary most over it, the liveliest first",
    )
    canvas.picture(MARGIN, TOP, to_rgb(found.images[:1], levels)[0].numpy().tobytes(), width, height, picture)
    for number, layer in enumerate(chosen):
        y = TOP + number * tile
        limit = float(torch.quantile(layer.maps.abs().flatten(), 0.995)) or 1.0
        name, _, output = layer.name.partition(":")
        block, _, part = name.rpartition(".") if name.count(".") > 1 else (name, "", "")
        canvas.text(left - 12, y + 6, block, size=12, anchor="ra")
        canvas.text(left - 12, y + 24, part or (f"output {output}" if output else ""), size=11, fill=MUTED, anchor="ra")
        for column, values in enumerate(layer.maps):
            canvas.map(left + column * cell, y, values, scale, -limit, limit, DIVERGING)
        bar = [(0.0, f"-{limit:.3g}"), (0.5, "0"), (1.0, f"{limit:.3g}")]
        canvas.scale_bar(left + most * cell + 6, y, height * scale, bar, DIVERGING)
    return canvas.png()


def activations_sheet(found: Findings, title: str) -> bytes:
    """A line a layer: the histogram of its values, and what of them is near zero, at an edge, dead."""
    line, left = 27, 240
    dead = sum(len(layer.dead) for layer in found.layers)
    units = sum(layer.units for layer in found.layers)
    canvas = Canvas(
        1010 + MARGIN,
        TOP + 22 + line * len(found.layers) + MARGIN,
        f"{title}: activations",
        f"over {len(found.images)} images; {dead} of {units} units never vary",
    )
    heads = ((MARGIN, "layer"), (left, "values, 99.8 %"), (left + 330, "mean ± std"), (left + 440, "near zero"))
    for x, text in (*heads, (left + 560, "at an edge"), (left + 680, "dead units")):
        canvas.text(x, TOP - 4, text, fill=MUTED)
    for number, layer in enumerate(found.layers):
        y = TOP + 20 + number * line
        if number % 2:
            canvas.box(MARGIN - 8, y - 3, canvas.width - 2 * MARGIN + 16, line, PANEL)
        canvas.text(MARGIN, y + 10, layer.name[-32:], anchor="lm")
        _histogram(canvas, left, y, layer.histogram)
        canvas.text(
            left + 206, y + 10, f"{layer.edges[0]:.3g} to {layer.edges[1]:.3g}", size=11, fill=MUTED, anchor="lm"
        )
        canvas.text(left + 330, y + 10, f"{layer.mean:.3g} ± {layer.std:.3g}", anchor="lm")
        _share(canvas, left + 440, y + 4, layer.zeros, ACCENT)
        _share(canvas, left + 560, y + 4, layer.saturated, WARN)
        count = len(layer.dead)
        canvas.text(left + 680, y + 10, f"{count} of {layer.units}", fill=BAD if count else MUTED, anchor="lm")
    return canvas.png()


def _histogram(canvas: Canvas, x: int, y: int, counts: list[int]) -> None:
    """Heights by the square root, so that thin tails are seen."""
    top = math.sqrt(max(*counts, 1))
    for number, count in enumerate(counts):
        height = round(20 * math.sqrt(count) / top)
        canvas.box(x + 4 * number, y + 20 - height, 3, height, color(HEAT, 0.35 + 0.45 * math.sqrt(count) / top))


def _share(canvas: Canvas, x: int, y: int, share: float, ink: tuple[int, int, int]) -> None:
    canvas.box(x, y, 50, 12, BACKGROUND, FAINT)
    canvas.box(x, y, round(50 * share), 12, ink)
    canvas.text(x + 56, y + 6, f"{share:.1%}", size=11, fill=MUTED, anchor="lm")


def field_sheet(found: Findings, title: str) -> bytes:
    """What a pixel can see by its shape, and what it looks at by its weights."""
    field = found.field
    height, width = field.support.shape
    scale = _scale(height, width, 360)
    side = width * scale
    canvas = Canvas(
        2 * (side + MARGIN) + 100,
        TOP + 24 + height * scale + 100,
        f"{title}: receptive field",
        f"of the pixel at row {field.row}, column {field.column}",
    )
    pixels = field_colors(field)
    canvas.text(MARGIN, TOP, "what it can see, whatever the weights", size=13)
    canvas.picture(MARGIN, TOP + 24, pixels, width, height, scale)
    right = side + 2 * MARGIN
    canvas.text(right, TOP, "what it looks at: size of the gradient, log scale", size=13)
    largest = max(float(field.magnitude.max()), 1e-30)
    shares = ((field.magnitude / largest).clamp(min=1e-8).log10() + 4) / 4
    canvas.map(right, TOP + 24, shares, scale, 0, 1)
    canvas.box(right + field.column * scale, TOP + 24 + field.row * scale, scale, scale, ACCENT)
    decades = [(number / 4, f"1e{number - 4}" if number < 4 else "1") for number in range(5)]
    canvas.scale_bar(right + side + 8, TOP + 24, height * scale, decades)
    y = TOP + 24 + height * scale + 12
    x = MARGIN
    for ink, text in (
        (ACCENT, "the pixel"),
        (SEEN, "seen"),
        (BAD, "blind spot"),
        (UNSEEN, "not seen"),
        (LATER, "later"),
    ):
        canvas.box(x, y, 12, 12, ink, FAINT)
        canvas.text(x + 18, y + 6, text, fill=MUTED, anchor="lm")
        x += 34 + canvas.length(text)
    reach, near = field.reach, field.effective
    earlier = field.row * width + field.column
    blind = f"{len(field.blind)} in a blind spot" if field.blind else "no blind spot"
    seen = f"{int(field.support.sum())} of {earlier} earlier pixels, {blind}"
    canvas.text(MARGIN, y + 24, seen)
    canvas.text(MARGIN, y + 42, f"reaches {reach.above} rows up, {reach.left} left, {reach.right} right", fill=MUTED)
    canvas.text(right, y + 24, "95 % of it lies within")
    canvas.text(right, y + 42, f"{near.above} rows up, {near.left} left, {near.right} right", fill=MUTED)
    return canvas.png()


def field_colors(field: Field) -> bytes:
    """RGB of the support: the pixel, what it sees, what it does not, its blind spot, what comes later."""
    height, width = field.support.shape
    blind = set(field.blind)
    pixels = bytearray()
    for row in range(height):
        for column in range(width):
            later = (row, column) > (field.row, field.column)
            ink = BAD if (row, column) in blind else SEEN if field.support[row, column] else LATER if later else UNSEEN
            pixels += bytes(ACCENT if (row, column) == (field.row, field.column) else ink)
    return bytes(pixels)


def channels_sheet(found: Findings, title: str) -> bytes:
    """Which channel hangs on which, of the same pixel and of earlier ones."""
    names = channel_names(found.images.shape[1])
    cell = 92
    side = cell * len(names)
    wide = max(2 * side + 190, 560)
    canvas = Canvas(
        wide + 2 * MARGIN,
        TOP + 70 + side + MARGIN,
        f"{title}: channels",
        "how far a changed channel moves a log-probability, mean over pixels, nats",
    )
    pairs = (("of the same pixel", found.causality.same_pixel), ("of a later pixel", found.causality.later_pixels))
    for number, (text, matrix) in enumerate(pairs):
        x, y = MARGIN + 40 + number * (side + 100), TOP + 44
        values = torch.tensor(matrix)
        top = float(values.max()) or 1.0
        canvas.text(x, TOP, f"channel {text}", size=13)
        canvas.text(x, TOP + 20, "across: changed, down: moved", size=11, fill=MUTED)
        for to, row in enumerate(matrix):
            canvas.text(x - 12, y + cell * to + cell / 2, names[to], anchor="rm", size=13)
            for of, value in enumerate(row):
                own = number == 0 and to == of
                dark = value / top < 0.6
                canvas.box(x + cell * of, y + cell * to, cell - 2, cell - 2, PANEL if own else color(HEAT, value / top))
                shown = "own level" if own else "none" if value <= 1e-5 else f"{value:.3g}"
                ink = MUTED if own else INK if dark else BACKGROUND
                canvas.text(x + cell * (of + 0.5), y + cell * (to + 0.5), shown, fill=ink, anchor="mm", size=13)
        for of, name in enumerate(names):
            canvas.text(x + cell * (of + 0.5), y + side + 6, name, anchor="mt", size=13)
    return canvas.png()
