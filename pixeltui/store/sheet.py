"""How a sheet of images is laid out: one rule for those who draw it and those who cut it into its tiles again."""

import math
from dataclasses import dataclass

GAP = 4
"""pixels around every tile"""
TEXT_HEIGHT = 14
ENLARGED = 96
"""pixels that the longer side of an enlarged tile has at most"""


@dataclass(frozen=True)
class SheetLayout:
    """Of images of height x width pixels, each enlarged by a whole factor; text: whether there is a name under each."""

    height: int
    width: int
    count: int
    columns: int
    text: bool
    margin: int = 0
    """pixels left of all tiles"""

    @classmethod
    def of_sheet(cls, size: tuple[int, int], height: int, width: int, count: int | None) -> "SheetLayout | None":
        """That of a sheet, (width, height), without margin; None where no such sheet has this size.

        count: None where it is not known; text is rather assumed than not, then.
        """
        columns = (size[0] - GAP) // cls(height, width, 1, 1, False).cell[0]
        for text in (True, False) if columns > 0 else ():
            rows = (size[1] - GAP) // cls(height, width, 1, 1, text).cell[1]
            layout = cls(height, width, rows * columns if count is None else count, columns, text)
            if layout.size == size:
                return layout
        return None

    @property
    def scale(self) -> int:
        return max(1, ENLARGED // max(self.height, self.width))

    @property
    def tile(self) -> tuple[int, int]:
        """(width, height) of an image on the sheet."""
        return self.width * self.scale, self.height * self.scale

    @property
    def cell(self) -> tuple[int, int]:
        """(width, height) that a tile takes with its text and a gap."""
        return self.tile[0] + GAP, self.tile[1] + GAP + TEXT_HEIGHT * self.text

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the sheet."""
        rows = math.ceil(self.count / self.columns)
        return self.margin + self.columns * self.cell[0] + GAP, rows * self.cell[1] + GAP

    def corner(self, index: int) -> tuple[int, int]:
        """(x, y) of the upper left pixel of a tile."""
        row, column = divmod(index, self.columns)
        return self.margin + GAP + column * self.cell[0], GAP + row * self.cell[1]
