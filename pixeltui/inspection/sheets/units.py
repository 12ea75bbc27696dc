"""What the layers do: maps of their liveliest units, and statistics of all of them."""

import math

import torch

from pixeltui.data.grid import to_rgb
from pixeltui.inspection.canvas import (
    ACCENT,
    BACKGROUND,
    BAD,
    FAINT,
    MARGIN,
    MUTED,
    PANEL,
    TOP,
    WARN,
    Canvas,
    scale_to,
)
from pixeltui.inspection.colors import DIVERGING, HEAT, color
from pixeltui.inspection.findings import Findings

ROWS = 10
"""layers in the sheet of feature maps"""


def features_sheet(found: Findings, title: str, levels: int) -> bytes:
    """A row for each of some layers from first to last, its liveliest units, on a scale of its own."""
    _, height, width = found.images[0].shape
    scale = scale_to(height, width, 64)
    layers = [layer for layer in found.maps if not layer.name.startswith("head.")] or found.maps
    chosen = [
        layers[i] for i in dict.fromkeys(torch.linspace(0, len(layers) - 1, min(ROWS, len(layers))).long().tolist())
    ]
    picture = scale_to(height, width, 96)
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
