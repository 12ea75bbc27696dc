"""Where the bits go: in images of the data, and in the model's own samples beside them."""

import math

import torch

from pixeltui.data.grid import to_rgb
from pixeltui.inspection.canvas import ACCENT, MARGIN, MUTED, TOP, WARN, Canvas, scale_to, ticks
from pixeltui.inspection.findings import Findings
from pixeltui.inspection.verdicts import channel_names, mean_bits

SHOWN = 12
"""images with their bits"""


def bits_sheet(found: Findings, title: str, levels: int, classes: tuple[str, ...]) -> bytes:
    """The mean map of all channels and of each, then images beside their own maps, from the cheapest to the dearest."""
    count, channels, height, width = found.bits.shape
    big, small = scale_to(height, width, 220), scale_to(height, width, 96)
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
    small = scale_to(height, width, 96)
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
