"""Numbers as colours. Free of everything else: the console's pictures and the PNG files have the same ones."""

from collections.abc import Iterable, Sequence
from typing import Final

Rgb = tuple[int, int, int]

HEAT: Final[Sequence[Rgb]] = ((8, 8, 20), (66, 20, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 220))
"""evenly brighter: black, violet, red, orange, yellow, white"""
DIVERGING: Final[Sequence[Rgb]] = ((150, 220, 255), (40, 120, 220), (12, 12, 16), (225, 100, 25), (255, 225, 150))
"""blue below zero, black at zero, orange above"""


def color(stops: Sequence[Rgb], share: float) -> Rgb:
    """share: 0 at the first stop, 1 at the last; what is beyond has their colours, and so has what is no number."""
    place = (min(max(share, 0.0), 1.0) if share == share else 0.0) * (len(stops) - 1)
    index = min(int(place), len(stops) - 2)
    (r, g, b), (r2, g2, b2), rest = stops[index], stops[index + 1], place - index
    return round(r + (r2 - r) * rest), round(g + (g2 - g) * rest), round(b + (b2 - b) * rest)


def colors(values: Iterable[float], low: float, high: float, stops: Sequence[Rgb] = HEAT) -> bytes:
    """RGB of each value, three bytes each, from the first stop at `low` to the last at `high`."""
    width = high - low or 1.0
    return bytes(part for value in values for part in color(stops, (value - low) / width))


def heat(bits: Iterable[float], hottest: float) -> bytes:
    return colors(bits, 0.0, hottest)
