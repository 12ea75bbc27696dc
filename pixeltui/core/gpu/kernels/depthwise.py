"""A kernel for each feature, and its gradients. Features lie together in memory: x [PIXELS, D], images of H x W.

Taps [T, D] are those of a mask of type "B" in raster order: rows of K from HALF rows above on, the last to the pixel.
"""

import triton
import triton.language as tl


@triton.jit
def depthwise_sums(
    x,
    taps,
    bias,
    out,
    PIXELS,
    H,
    W,
    D: tl.constexpr,
    K: tl.constexpr,
    TAPS: tl.constexpr,
    BACK: tl.constexpr,
    P: tl.constexpr,
    BD: tl.constexpr,
):
    """out [PIXELS, D]: sum over taps of x at the tap's pixel, and bias [D]. BACK: of x at the pixel that the tap sees
    this one from, without bias."""
    HALF: tl.constexpr = K // 2
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    d = tl.program_id(1) * BD + tl.arange(0, BD)
    row, column = pixel // W % H, pixel % W
    feature = d < D
    if BACK:
        sums = tl.zeros([P, BD], tl.float32)
    else:
        sums = tl.zeros([P, BD], tl.float32) + tl.load(bias + d, mask=feature, other=0.0)[None, :]
    for tap in tl.static_range(TAPS):
        rows = HALF - tap // K if BACK else tap // K - HALF
        columns = HALF - tap % K if BACK else tap % K - HALF
        inside = (row + rows >= 0) & (row + rows < H) & (column + columns >= 0) & (column + columns < W)
        there = (inside & (pixel < PIXELS))[:, None] & feature[None, :]
        seen = tl.load(x + (pixel + rows * W + columns)[:, None] * D + d[None, :], mask=there, other=0.0)
        sums += seen.to(tl.float32) * tl.load(taps + tap * D + d, mask=feature, other=0.0)[None, :]
    tl.store(out + pixel[:, None] * D + d[None, :], sums, mask=(pixel < PIXELS)[:, None] & feature[None, :])


@triton.jit
def depthwise_taps(
    x,
    grad,
    parts,
    PIXELS,
    H,
    W,
    D: tl.constexpr,
    K: tl.constexpr,
    TAPS: tl.constexpr,
    EACH: tl.constexpr,
    GROUP: tl.constexpr,
    P: tl.constexpr,
    BD: tl.constexpr,
):
    """parts [programs, TAPS + 1, D]: sums over EACH pixels of grad times x at the tap's pixel; the last, of grad."""
    HALF: tl.constexpr = K // 2
    chunk = tl.program_id(0)
    d = tl.program_id(1) * BD + tl.arange(0, BD)
    tap = tl.program_id(2) * GROUP + tl.arange(0, GROUP)
    rows, columns = tap // K - HALF, tap % K - HALF
    feature = d < D
    sums = tl.zeros([GROUP, P, BD], tl.float32)
    for first in range(0, EACH, P):
        pixel = chunk * EACH + first + tl.arange(0, P)
        there = pixel < PIXELS
        above = (pixel // W % H)[None, :] + rows[:, None]
        beside = (pixel % W)[None, :] + columns[:, None]
        inside = (above >= 0) & (above < H) & (beside >= 0) & (beside < W) & (tap < TAPS)[:, None] & there[None, :]
        place = pixel[None, :] + rows[:, None] * W + columns[:, None]
        mask = inside[:, :, None] & feature[None, None, :]
        seen = tl.load(x + place[:, :, None] * D + d[None, None, :], mask=mask, other=0.0).to(tl.float32)
        seen = tl.where((tap == TAPS)[:, None, None], 1.0, seen)
        mask = there[:, None] & feature[None, :]
        own = tl.load(grad + pixel[:, None] * D + d[None, :], mask=mask, other=0.0).to(tl.float32)
        sums += seen * own[None, :, :]
    place = (chunk * (TAPS + 1) + tap)[:, None] * D + d[None, :]
    tl.store(parts + place, tl.sum(sums, axis=1), mask=(tap <= TAPS)[:, None] & feature[None, :])
