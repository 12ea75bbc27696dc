"""A stack of depthwise blocks at several pixels of an image at once (core.wavefront).

Shapes: B images, T tracks, N = copies T B pixels, of which copies is 2 with guidance, W columns, C channels, D features
of L blocks, K: half of the first kernel, R of the blocks' ones.
"""

import torch
from torch import Tensor

from pixeltui.core.depthwise_rows import DepthwiseStackRows, DepthwiseStackWeights, Work
from pixeltui.core.gpu.wave import WaveBlocks, wave_blocks
from pixeltui.core.parts import WaveTrunk
from pixeltui.core.replayed import put
from pixeltui.core.single_stack import SingleStackRows, SingleStackWeights
from pixeltui.core.wavefront import Wavefront


class DepthwiseWave(WaveTrunk):
    """Buffers hold the rows of all tracks, with zeros around, and behind these a column that nothing reads: there the
    tracks write that have no pixel."""

    gpu: WaveBlocks | None

    def __init__(self, weights: SingleStackWeights, bias: Tensor, batch: int, width: int, copies: int) -> None:
        """bias: see SingleStackWeights.bias_of"""
        assert isinstance(weights.stack, DepthwiseStackWeights)
        self.weights, self.batch, self.copies = weights, batch, copies
        self.stack, self.blocks, self.panels = weights.stack, weights.stack.blocks, weights.panels
        rows, columns, number, self.channels = self.stack.kernels.shape
        self.half, self.reach, self.above = weights.half, columns // 2, rows - 1
        self.front = Wavefront.of(width, max(self.half, self.reach), max(self.half, self.above))
        self.nowhere = width + max(self.half, self.reach)
        self.rows_above = self.half + number * self.above
        pixels, like = copies * self.front.tracks * batch, weights.first

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=like.dtype, device=like.device)

        self.image = zeros(pixels, self.nowhere + 2 * self.half + 1, weights.image_channels)
        self.stored = zeros(pixels, self.nowhere + 2 * self.reach + 1, number, self.channels)
        """what the blocks take"""
        self.current = zeros(pixels, 1, weights.image_channels)
        self.features = zeros(pixels, weights.first.shape[1])
        self.own = self.features[:, : self.channels]
        self.h = zeros(pixels, self.channels)
        self.begun = zeros(pixels, number, self.channels)
        self.first = torch.cat([weights.first_above, weights.first])
        """[pixels seen C, D or more], in the order of window_at"""
        self.bias = self._by_track(bias)
        here = torch.arange(pixels, device=like.device)
        image, stored = here * self.image.shape[1] + self.half, here * self.stored.shape[1] + self.reach
        self.image_at, self.stored_at = image, stored
        """[N] in the buffers, of column 0"""
        up = [self._track_above(here, rows) for rows in range(max(self.half, self.above) + 1)]
        self.window_at = torch.stack(
            [
                *(
                    up[rows] * self.image.shape[1] + self.half + column
                    for rows in range(self.half, 0, -1)
                    for column in range(-self.half, self.half + 1)
                ),
                *(image + column for column in range(-self.half, 0)),
            ],
            dim=1,
        )
        """[N, pixels seen] in `image` of what the first kernel sees from column 0"""
        self.taps = [
            (
                up[self.above - row] * self.stored.shape[1] + column,
                self.stack.kernels[row, column],
            )
            for row in range(self.above + 1)
            for column in range(columns if row < self.above else self.reach)
        ]
        """[N] in `stored` of what each tap sees from column 0, and its weights [L, D]; the kernels' last tap waits for
        the block before"""
        self.gpu = wave_blocks(self.stack, self.stored, self.stored_at, self.taps, self.h, self.begun)
        if self.gpu is None:
            self.fresh, self.work = torch.zeros_like(self.begun), Work(self.blocks[0], pixels)
        else:
            self.recorded = self.gpu.norm, self.gpu.number

    def _by_track(self, x: Tensor) -> Tensor:
        """[N, D] of [D] or, by image, [copies B, D]."""
        by_image = x.expand(self.copies * self.batch, -1).reshape(self.copies, 1, self.batch, -1)
        return by_image.expand(-1, self.front.tracks, -1, -1).flatten(0, 2).contiguous()

    def _track_above(self, pixels: Tensor, rows: int) -> Tensor:
        """The same images in the tracks so many rows above."""
        in_copy = self.front.tracks * self.batch
        return pixels // in_copy * in_copy + (pixels - rows * self.batch) % in_copy

    def pixels(self, columns: Tensor) -> Tensor:
        at = self._columns(columns)
        window = self.image.flatten(0, 1)[self.window_at + at[:, None]].flatten(1)
        torch.addmm(self.bias, window, self.first, out=self.features)
        self.h.copy_(self.own)
        self._blocks(at)
        self.own.copy_(self.h)
        return self.features

    def window(self, columns: int) -> Tensor:
        """[W, N, columns C]: so many pixels of a row, up to half of the first kernel on the left of each on."""
        pixels, _, channels = self.image.shape
        strides = (channels, self.image.stride(0), 1)
        return self.image.as_strided((self.front.width, pixels, columns * channels), strides)

    def _blocks(self, at: Tensor) -> None:
        """h [N, D], of the pixels before the first block, becomes that after the last."""
        if self.gpu is not None:
            self.gpu.run(at)
            return
        stored, work, last = self.stored.flatten(0, 1), self.work, self.stack.kernels[-1, self.reach]
        self.begun.copy_(self.stack.biases)
        for place, tap in self.taps:
            self.begun.addcmul_(stored[place + at], tap)
        for number, block in enumerate(self.blocks):
            self.fresh[:, number] = self.h
            torch.addcmul(self.begun[:, number], self.h, last[number], out=work.sums)
            work.add(block, self.h)
        put(stored, self.stored_at + at, self.fresh)

    def take(self, columns: Tensor) -> None:
        put(self.image.flatten(0, 1), self.image_at + self._columns(columns), self.current[:, 0])

    def _columns(self, columns: Tensor) -> Tensor:
        """[N] of [T]."""
        return columns[:, None].expand(self.copies, -1, self.batch).flatten()

    def fill_rows(self, row: int, x: Tensor) -> None:
        bias = self.bias.view(self.copies, self.front.tracks, self.batch, -1)[:, 0].flatten(0, 1)
        rows = SingleStackRows(self.weights, bias, x.shape[0], 1, self.front.width)
        image, stored = rows.image.stored[:-1], rows.stack.previous
        assert isinstance(rows.stack, DepthwiseStackRows)
        for above in range(1, self.half + 1):
            image[-above, :, self._inside(self.half)] = self._row(self.image, row - above, self.half).flatten(0, 1)
        for above in range(1, self.above + 1):
            features = self._row(self.stored, row - above, self.reach).flatten(0, 1)
            stored[-above, :, self._inside(self.reach)] = features.permute(2, 1, 0, 3)
        rows.fill_rows(row, x)
        end = row + x.shape[1]
        for above in range(1, self.half + 1):
            ours = self._row(self.image, end - above, self.half)
            ours.copy_(image[-above, :, self._inside(self.half)].view_as(ours))
        for above in range(1, self.above + 1):
            ours = self._row(self.stored, end - above, self.reach)
            ours.copy_(stored[-above, :, self._inside(self.reach)].permute(2, 1, 0, 3).reshape(ours.shape))

    def _inside(self, left: int) -> slice:
        """The columns of a row, in a buffer with so many zeros before them."""
        return slice(left, left + self.front.width)

    def _row(self, buffer: Tensor, row: int, left: int) -> Tensor:
        """[copies, B, W, ..]: a row in its track."""
        by_track = buffer.view(self.copies, self.front.tracks, self.batch, *buffer.shape[1:])
        return by_track[:, row % self.front.tracks, :, self._inside(left)]
