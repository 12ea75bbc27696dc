"""The rows of an image that a trunk's first convolution reaches.

Shapes: B images, W columns, C channels, D features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def convolved(rows: Tensor, kernel: Tensor) -> Tensor:
    """[B, R, W, out] of a kernel [r, c, in, out] over [B, R + r - 1, W + c - 1, in]."""
    y = F.conv2d(rows.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1))
    return y.permute(0, 2, 3, 1).contiguous()


def move_up(rows: Tensor) -> None:
    """Each takes the place of the one above; the last stays."""
    for row in range(len(rows) - 1):
        rows[row] = rows[row + 1]


class ImageRows:
    """The image's current row and the `above` rows before it, scaled, with zeros around: [above + 1, B, W + .., C].

    A kernel sees `left` pixels to the left in the current row and `reach` to either side in those above. `ones` adds a
    channel of ones, zero in the padding.
    """

    def __init__(
        self, batch: int, width: int, channels: int, above: int, left: int, reach: int, like: Tensor, *, ones: bool
    ) -> None:
        start = max(left, reach)
        self.width, self.left, self.reach, self.start = width, left, reach, start
        shape = (above + 1, batch, start + width + reach, channels + ones)
        self.stored = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.fresh = self.stored[0].clone()
        if ones:
            self.fresh[:, start : start + width, -1] = 1
        self.stored[-1] = self.fresh
        self.current = self.stored[-1, :, start : start + width, :channels]
        """[B, W, C]: to be written as the pixels become known"""
        self.windows = [self.stored[-1, :, start + j - left : start + j].flatten(1) for j in range(width)]
        """[B, left C] of each column, the pixels to its left: views"""

    def above(self) -> Tensor:
        """[W B, above columns C]: what the kernel reaches in the rows above."""
        rows, batch, _, each = self.stored.shape
        shape = (self.width, batch, rows - 1, (2 * self.reach + 1) * each)
        strides = (each, self.stored.stride(1), self.stored.stride(0), 1)
        first = self.stored[:, :, self.start - self.reach :]
        return first.as_strided(shape, strides).reshape(self.width * batch, -1)

    def above_windows(self) -> list[Tensor]:
        """[W, B, columns C] of each row above, top first: what the kernel reaches there, as views."""
        return [self._windows(row, -self.reach, 2 * self.reach + 1) for row in range(len(self.stored) - 1)]

    def left_windows(self) -> Tensor:
        """[W, B, left C]: `windows` of all columns as one view."""
        return self._windows(len(self.stored) - 1, -self.left, self.left)

    def _windows(self, row: int, first: int, columns: int) -> Tensor:
        """[W, B, columns C]: so many pixels of a row, from `first` columns beside each on."""
        each, batch = self.stored.shape[3], self.stored.shape[1]
        start = self.stored[row, :, self.start + first :]
        return start.as_strided((self.width, batch, columns * each), (each, self.stored.stride(1), 1))

    def take(self, x: Tensor, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """What the matrices [above columns C, D] and [left C, D] make of the pixels around those of known rows
        [B, R, W, C], which become the rows above: [B, R, W, D] each."""
        count, channels = x.shape[1], x.shape[3]
        fresh = self.fresh[:, None].repeat(1, count, 1, 1)
        fresh[:, :, self.start : self.start + self.width, :channels] = x
        before = len(self.stored) - 1
        rows = torch.cat([self.stored[:-1].transpose(0, 1), fresh], dim=1)
        self.stored[:-1] = rows[:, count:].transpose(0, 1)
        each = rows.shape[3]
        of_above = above.view(before, 2 * self.reach + 1, each, -1)
        of_left = left.view(1, self.left, each, -1)
        first, end = self.start - self.left, self.start + self.width - 1
        return (
            convolved(rows[:, :-1, self.start - self.reach :], of_above),
            convolved(rows[:, before:, first:end], of_left),
        )

    def end_row(self) -> None:
        move_up(self.stored)
        self.stored[-1] = self.fresh
