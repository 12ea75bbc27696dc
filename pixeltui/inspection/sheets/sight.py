"""What hangs on what: the pixels that a pixel sees, and the channels that tell of one another."""

import torch

from pixeltui.core.inspect import Field
from pixeltui.inspection.canvas import (
    ACCENT,
    BACKGROUND,
    BAD,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    PANEL,
    TOP,
    Canvas,
    scale_to,
)
from pixeltui.inspection.colors import HEAT, color
from pixeltui.inspection.findings import Findings
from pixeltui.inspection.verdicts import channel_names

SEEN, UNSEEN, LATER = (64, 120, 170), (56, 64, 76), (12, 14, 18)


def field_sheet(found: Findings, title: str) -> bytes:
    """What a pixel can see by its shape, and what it looks at by its weights."""
    field = found.field
    height, width = field.support.shape
    scale = scale_to(height, width, 360)
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
