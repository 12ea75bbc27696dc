"""Which pixels of an image are drawn at once: a row is under way as soon as the one above it is some pixels ahead.

Where the rows above are seen to `reach` columns on the right of a pixel, those of a row may follow the row above at a
distance of reach + 1, whatever the depth: features of a pixel are there when it is drawn. So a product has several
pixels of an image, and weights are read a few hundred times for it instead of once a pixel.
"""

from typing import NamedTuple

import torch
from torch import Tensor

MOST_TRACKS = 8
"""rows under way at once: the features that are held are to grow with the width of an image, not with its size"""


class Wavefront(NamedTuple):
    """Of rows from `first` on, pixel (row, column) is drawn at step column + lag (row - first).

    A row has the track of its number modulo `tracks`: a place for the features of a row under way, or of one that later
    rows still look at.
    """

    width: int
    tracks: int
    lag: int

    @classmethod
    def of(cls, width: int, reach: int, above: int) -> "Wavefront":
        """Of a trunk that looks at `above` rows, to `reach` columns on the right."""
        lag = max(reach + 1, -(-width // MOST_TRACKS))
        return cls(width, max(-(-width // lag), above + 1), lag)

    def end(self, row: int) -> int:
        """Steps until a row is drawn, of a wave from row 0 on."""
        return self.lag * row + self.width

    def places(self, first: int, end: int) -> Tensor:
        """int64 [steps, tracks]: row * width + column of the pixel that each track has, -1 where it has none, in rows
        `first` to `end` - 1."""
        places = torch.full((self.end(end - 1 - first), self.tracks), -1)
        for row in range(first, end):
            begin = self.lag * (row - first)
            places[begin : begin + self.width, row % self.tracks] = row * self.width + torch.arange(self.width)
        return places
