"""The rows of a chart as runs of text with one style each, before there are colours: what frames are compared by."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from rich.cells import cell_len

from pixeltui.curves.ticks import XKind, x_ticks
from pixeltui.ui.widgets.differences import ends
from pixeltui.ui.widgets.raster import Frame, Layer, Symbols, Trace

Runs = tuple[tuple[str, int], ...]
Group = list[tuple[int, Layer]]
"""curves as dim as each other, by their style"""

# Style of a run; n from 1 to MAX_SERIES is that of the n-th series.
BLANK: Final = 0
MAX_SERIES: Final = 200
TITLE, LABEL, VALUE, GRID, CURSOR, GAP = range(MAX_SERIES + 1, MAX_SERIES + 7)

NARROWEST, NARROWEST_COLORED = 6, 3
"""cells of a name in a legend, beside a swatch and in the colour of its curve"""
_NAMED_AXIS: Final = 40  # cells from which there is room for the name of the x axis
_WHOLE: Final = b"\0" + b"\xff" * 255
_DASH: Final = 2
"""columns in one colour where curves meet"""
_COLORS: Final = 6
"""that curves have, before they have them again"""
_SAME = re.compile(rb"(.)\1*", re.DOTALL)
_GRID_BYTE = bytes((GRID,))


@dataclass(frozen=True)
class Entry:
    """A series in the legend; `value` is "" for none, `swatch` for a name in the colour of the curve."""

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
    dim, bright = ([one for one in layers if traces[one[0] - 1].series.dim == faint] for faint in (True, False))
    masks, owners = _stack((dim, bright), frame)
    marks = {cell: (symbols.marker, owner) for group in (dim, bright) for cell, owner in _markers(group, frame)}
    if letters:
        marks |= _letters(bright + dim, frame)
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


def _stack(groups: Iterable[Group], frame: Frame) -> tuple[bytes, bytearray]:
    """Masks and owners of the cells. A later group takes a cell whole: a bright line over a noisy one stays thin. Where
    curves of one group meet, a cell has the dots of all, and their colours take turns along x."""
    size = frame.width * frame.height
    masks = owners = 0
    for group in groups:
        inks = []
        free = -1
        drawn = 0
        for owner, layer in group:
            if where := int.from_bytes(layer.cells.translate(_WHOLE), "little"):
                inks.append((~where, where & int.from_bytes(bytes((owner,)) * size, "little")))
                free &= ~where
                drawn |= int.from_bytes(layer.cells, "little")
        masks = masks & free | drawn
        owners = owners & free | _in_turns(inks, frame)
    return masks.to_bytes(size, "little"), bytearray(owners.to_bytes(size, "little"))


def _in_turns(inks: Sequence[tuple[int, int]], frame: Frame) -> int:
    """Owners of the cells of one group. Whose turn it is follows from the column and from who meets there, so that a
    new point changes no cell but its own. inks: of each curve, the cells that it leaves alone, and its own."""
    count = min(len(inks), _COLORS)
    turns = count * (1 + count % 2)
    owners = 0
    for turn in range(turns):
        # Up from this turn's curve and down from the next one's, so that any two of many get as many cells.
        first = sorted(range(len(inks)), key=lambda rank: (rank - turn) * (-1) ** turn % count)
        ink = 0
        for rank in reversed(first):
            others, own = inks[rank]
            ink = ink & others | own
        owners |= ink & _columns(frame.width, frame.height, turn, turns)
    return owners


@lru_cache(maxsize=64)
def _columns(width: int, height: int, turn: int, turns: int) -> int:
    """255 in the cells of the columns that have a turn, as one number."""
    return int.from_bytes(bytes(255 * (x // _DASH % turns == turn) for x in range(width)) * height, "little")


def _markers(group: Group, frame: Frame) -> Iterator[tuple[int, int]]:
    """Cells with a point's marker, and whose it is: of several, the curve's that has the fewest so far. A curve of one
    dot, which is hardly seen, has a marker too."""
    marked = {owner: layer.marks or _alone(layer.cells) for owner, layer in group}
    meeting: dict[int, list[int]] = {}
    for owner, cells in marked.items():
        for cell in cells:
            meeting.setdefault(cell, []).append(owner)
    so_far = dict.fromkeys(marked, 0)
    for cell in sorted(meeting, key=lambda cell: cell % frame.width):
        owner = min(meeting[cell], key=lambda owner: (so_far[owner], len(marked[owner])))
        so_far[owner] += 1
        yield cell, owner


def _alone(cells: bytearray) -> set[int]:
    """The only cell that is drawn, if it is one."""
    drawn = cells.strip(b"\0")
    return {cells.index(drawn)} if len(drawn) == 1 else set()


def letter(style: int) -> str:
    """What names a series where there are no colours."""
    return chr(ord("a") + (style - 1) % 26)


def _letters(group: Group, frame: Frame) -> dict[int, tuple[str, int]]:
    """Every curve's letter at its right end, or as far right as there is none yet."""
    found: dict[int, tuple[str, int]] = {}
    for owner, layer in group:
        cells = layer.cells
        columns = (range(column, len(cells), frame.width) for column in reversed(range(frame.width)) if any(cells))
        last = next((cell for column in columns for cell in column if cells[cell] and cell not in found), None)
        if last is not None:
            found[last] = (letter(owner), owner)
    return found


def axis_rows(frame: Frame, symbols: Symbols, kind: XKind, label_width: int) -> list[Runs]:
    """The x axis, and its labels under it: closer ones where there would be no two, one alone gives no scale."""
    corner, line, tick = symbols.x_axis
    left = label_width + 2
    width = frame.width + left
    name = kind if width >= _NAMED_AXIS else ""
    for closer in (1.0, 1.5, 2.0):
        columns, shown = _labels(frame, kind, left, width - len(name) - bool(name), closer)
        if len(shown) > 1:
            break
    axis, text = [line] * frame.width, [" "] * width
    for column in columns:
        axis[column] = tick
    for start, label in shown:
        text[start : start + len(label)] = label
    text[width - len(name) :] = name
    return [((" " * (left - 1), BLANK), (corner + "".join(axis), GRID)), (("".join(text), LABEL),)]


def _labels(frame: Frame, kind: XKind, left: int, end: int, closer: float) -> tuple[list[int], list[tuple[int, str]]]:
    """Columns of the ticks, and those labels that have room before `end`, each with where it starts."""
    ticks, labels = x_ticks(frame.x0, frame.x1, round(closer * frame.width), kind)
    columns: list[int] = []
    shown: list[tuple[int, str]] = []
    free = 0
    for value, label in zip(ticks, labels, strict=True):
        column = frame.column(value, frame.width)
        start = min(column + left - len(label) // 2, frame.width + left - len(label))
        if 0 <= column < frame.width:
            columns.append(column)
            if free <= start and start + len(label) <= end:
                shown.append((start, label))
                free = start + len(label) + 1
    return columns, shown


SMOOTHED, SMOOTHED_SHORT = ", smoothed", " ~"
"""behind the name of a series beside which there is a raw one, and where there is no room for that"""
LOG: Final = " (log)"
"""behind the title of a chart whose y axis is logarithmic"""


def legend_row(title: str, entries: Sequence[Entry], at: str, width: int) -> Runs:
    """Title on the left, series with their values on the right; where the row is too short dim ones go first, then the
    middles of names, swatches beside coloured names, names, the last series, where values are read, and the swatch. at:
    where the values are read ("" for the newest)."""
    head, prefix, shown = _fitting(title, list(entries), f"{at}  " if at else "", width)
    if len(head) > width:
        return ((head[:width].ljust(width), TITLE),)
    runs = [(head, TITLE)]
    space = width - len(head) - len(prefix) - _length(shown)
    runs += [(" " * space, BLANK), (prefix, CURSOR)]
    for entry in shown:
        runs.append((f" {entry.swatch} " if entry.swatch else " " if entry.name else "", entry.style))
        runs.append((f"{entry.name} " if entry.name else "", LABEL if entry.swatch else entry.style))
        runs.append((f"{entry.value} ", VALUE))
    return tuple(run for run in runs if run[0])


def _fitting(title: str, entries: list[Entry], prefix: str, width: int) -> tuple[str, str, list[Entry]]:
    """Title, prefix and entries that fit, the first of ever shorter ways to write them: a value goes last."""
    heads = f" {title} ", f" {title.removesuffix(LOG)} "
    for head in heads:
        for before, shown in _ways(entries, prefix):
            if len(head) + len(before) + _length(shown) <= width:
                return head, before, shown
    return heads[0], "", []


def _ways(entries: list[Entry], prefix: str) -> Iterator[tuple[str, list[Entry]]]:
    """Prefix and entries, ever shorter."""
    bright = [e for e in entries if not e.dim] or entries
    yield prefix, entries
    yield prefix, bright
    bright = [replace(e, name=e.name.replace(SMOOTHED, SMOOTHED_SHORT)) for e in bright]
    yield prefix, bright
    if len(bright) > 1:
        yield from ((prefix, shorter) for shorter in _shorter(bright))
    unnamed = [Entry("", e.value, e.style, e.swatch) for e in bright]
    yield from ((prefix, unnamed[:n]) for n in range(len(unnamed), 0, -1))
    yield "", unnamed[:1]
    yield "", [Entry("", e.value.strip(), e.style, "") for e in bright[:1]]


def _shorter(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Under ever shorter names: without the word that ends them all, cut, in the colour of the curve for a swatch."""
    heads, last = [e.name.rpartition(" ")[0] for e in entries], {e.name.rpartition(" ")[2] for e in entries}
    if all(heads) and len(last) == 1:
        entries = [replace(e, name=head) for e, head in zip(entries, heads, strict=True)]
    yield entries
    longest = max(cell_len(e.name) for e in entries)
    for width in range(longest - 1, NARROWEST - 1, -1):
        yield [replace(e, name=ends(e.name, width)) for e in entries]
    colored = [replace(e, swatch="" if len(e.swatch) > 1 else e.swatch) for e in entries]
    for width in range(longest, NARROWEST_COLORED - 1, -1):
        yield [replace(e, name=ends(e.name, width)) for e in colored]


def _length(entries: Sequence[Entry]) -> int:
    return sum(
        (len(e.swatch) + 2 if e.swatch else bool(e.name)) + (cell_len(e.name) + 1 if e.name else 0) + len(e.value) + 1
        for e in entries
    )
