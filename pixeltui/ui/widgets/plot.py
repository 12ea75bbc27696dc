"""The rows of a chart as runs of text with one style each, before there are colours: what frames are compared by."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pixeltui.curves.ticks import XKind, x_ticks
from pixeltui.ui.widgets.raster import Frame, Layer, Symbols, Trace

Runs = tuple[tuple[str, int], ...]

# Style of a run; n from 1 to MAX_SERIES is that of the n-th series.
BLANK: Final = 0
MAX_SERIES: Final = 200
TITLE, LABEL, VALUE, GRID, CURSOR, GAP = range(MAX_SERIES + 1, MAX_SERIES + 7)

_NAMED_AXIS: Final = 40  # cells from which there is room for the name of the x axis
_DRAWN = re.compile(rb"[^\0]+")
_SAME = re.compile(rb"(.)\1*", re.DOTALL)
_GRID_BYTE = bytes((GRID,))


@dataclass(frozen=True)
class Entry:
    """A series in the legend; `value` is "" for none."""

    name: str
    value: str
    style: int
    swatch: str
    dim: bool = False


def plot_rows(
    traces: Sequence[Trace],
    frame: Frame,
    symbols: Symbols,
    labels: dict[int, str],
    *,
    label_width: int,
    cursor: float | None = None,
    letters: bool = False,
) -> list[Runs]:
    """The plot's rows with the labels of the y axis. labels: by row. letters: name the curves, for want of colours."""
    layers = [(i + 1, trace.draw(frame, symbols)) for i, trace in enumerate(traces[:MAX_SERIES])]
    layers.sort(key=lambda layer: not traces[layer[0] - 1].series.dim)
    masks, owners = _stack(layers, frame)
    marks = {cell: (symbols.marker, owner) for owner, layer in layers for cell in layer.marks}
    if letters:
        marks |= _letters(layers, frame)
    if cursor is not None and frame.x0 <= cursor <= frame.x1:
        column = frame.column(cursor, frame.width)
        for cell in range(column, len(owners), frame.width):
            if not owners[cell]:
                marks.setdefault(cell, (symbols.cursor, CURSOR))
    bottom = (frame.height - 1) * frame.width
    marks |= {bottom + column: (symbols.gap, GAP) for _, layer in layers for column in layer.gaps}
    by_row: list[list[tuple[int, str, int]]] = [[] for _ in range(frame.height)]
    for cell, (char, owner) in marks.items():
        by_row[cell // frame.width].append((cell % frame.width, char, owner))
    rows = []
    for y in range(frame.height):
        part = slice(y * frame.width, (y + 1) * frame.width)
        text, owner_row = masks[part].decode("latin-1").translate(symbols.table), owners[part]
        if y in labels:
            text, owner_row = text.replace(" ", symbols.grid), owner_row.replace(b"\0", _GRID_BYTE)
        if by_row[y]:
            chars = list(text)
            for column, char, owner in by_row[y]:
                chars[column], owner_row[column] = char, owner
            text = "".join(chars)
        axis = symbols.tick if y in labels else symbols.axis
        rows.append(((labels.get(y, "").rjust(label_width) + " ", LABEL), (axis, GRID), *_runs(text, owner_row)))
    return rows


def _runs(text: str, owners: bytearray) -> list[tuple[str, int]]:
    return [(text[run.start() : run.end()], run[0][0]) for run in _SAME.finditer(owners)]


def _stack(layers: list[tuple[int, Layer]], frame: Frame) -> tuple[bytearray, bytearray]:
    """Masks and owners of the cells. A later layer takes a cell whole: a bright line over a noisy one stays thin."""
    masks, owners = bytearray(frame.width * frame.height), bytearray(frame.width * frame.height)
    for owner, layer in layers:
        for run in _DRAWN.finditer(layer.cells):
            start, stop = run.span()
            masks[start:stop] = run[0]
            owners[start:stop] = bytes((owner,)) * (stop - start)
    return masks, owners


def letter(style: int) -> str:
    """What names a series where there are no colours."""
    return chr(ord("a") + (style - 1) % 26)


def _letters(layers: list[tuple[int, Layer]], frame: Frame) -> dict[int, tuple[str, int]]:
    """Every curve's letter at its right end."""
    found: dict[int, tuple[str, int]] = {}
    for owner, layer in layers:
        ends = (run.end() - 1 for run in _DRAWN.finditer(layer.cells))
        last = max(ends, key=lambda cell: cell % frame.width, default=None)
        if last is not None:
            found[last] = (letter(owner), owner)
    return found


def axis_rows(frame: Frame, symbols: Symbols, kind: XKind, label_width: int) -> list[Runs]:
    """The x axis, and its labels under it."""
    ticks, labels = x_ticks(frame.x0, frame.x1, frame.width, kind)
    corner, line, tick = symbols.x_axis
    left = label_width + 2
    axis, text = [line] * frame.width, [" "] * (frame.width + left)
    end = len(text)
    if end >= _NAMED_AXIS:
        text[-len(kind) :] = kind
        end -= len(kind) + 1
    free = 0
    for value, label in zip(ticks, labels, strict=True):
        column = frame.column(value, frame.width)
        start = min(column + left - len(label) // 2, len(text) - len(label))
        if 0 <= column < frame.width:
            axis[column] = tick
            if free <= start and start + len(label) <= end:
                text[start : start + len(label)] = label
                free = start + len(label) + 1
    return [((" " * (left - 1), BLANK), (corner + "".join(axis), GRID)), (("".join(text), LABEL),)]


LOG: Final = " (log)"
"""behind the title of a chart whose y axis is logarithmic"""


def legend_row(title: str, entries: Sequence[Entry], at: str, width: int) -> Runs:
    """Title on the left, series with their values on the right; where the row is too short dim ones go first, then
    names, the last series, where values are read, and the swatch. at: where the values are read ("" for the newest)."""
    head, prefix, shown = _fitting(title, list(entries), f"{at}  " if at else "", width)
    if len(head) > width:
        return ((head[:width].ljust(width), TITLE),)
    runs = [(head, TITLE)]
    space = width - len(head) - len(prefix) - _length(shown)
    runs += [(" " * space, BLANK), (prefix, CURSOR)]
    for entry in shown:
        runs.append((f" {entry.swatch} " if entry.swatch else "", entry.style))
        runs.append((f"{entry.name} " if entry.name else "", LABEL))
        runs.append((f"{entry.value} ", VALUE))
    return tuple(run for run in runs if run[0])


def _fitting(title: str, entries: list[Entry], prefix: str, width: int) -> tuple[str, str, list[Entry]]:
    """Title, prefix and entries that fit, the first of ever shorter ways to write them: a value goes last."""
    bright = [e for e in entries if not e.dim] or entries
    unnamed = [Entry("", e.value, e.style, e.swatch) for e in bright]
    bare = [Entry("", e.value.strip(), e.style, "") for e in bright[:1]]
    ways = [(prefix, entries), (prefix, bright), *((prefix, unnamed[:n]) for n in range(len(unnamed), 0, -1))]
    ways += [("", unnamed[:1]), ("", bare)]
    heads = f" {title} ", f" {title.removesuffix(LOG)} "
    for head in heads:
        for before, shown in ways:
            if len(head) + len(before) + _length(shown) <= width:
                return head, before, shown
    return heads[0], "", []


def _length(entries: Sequence[Entry]) -> int:
    return sum(
        (len(e.swatch) + 2 if e.swatch else 0) + (len(e.name) + 1 if e.name else 0) + len(e.value) + 1 for e in entries
    )
