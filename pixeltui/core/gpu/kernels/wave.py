"""A wave's blocks: depthwise sums, norms, and products in fp32 on tensor cores.

A number in fp32 is split into two of fp16 (Ootomo and Yokota 2022): what the first, `high`, leaves is `low`, times
2^11. Three of the four products of two such numbers are summed, those with a `low` by themselves; what is lost is 2^-22
of a term, and what tensor cores lose of a sum in fp32. Shapes: N pixels of a step, D features, L blocks.
"""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.products import tile_at
from pixeltui.core.gpu.kernels.shared import normed, silu

LOW = tl.constexpr(2048.0)


@triton.jit
def store_split(high, low, place, x, inside):
    rounded = x.to(tl.float16)
    tl.store(high + place, rounded, mask=inside)
    tl.store(low + place, ((x - rounded.to(tl.float32)) * LOW).to(tl.float16), mask=inside)


@triton.jit
def wave_taps(
    stored,
    places,
    columns,
    taps,
    biases,
    begun,
    PIXELS,
    WIDE: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """begun [N, WIDE]: biases [WIDE] and, times taps [TAPS, WIDE], the rows of `stored` [.., WIDE] at places [TAPS, N],
    of column 0, plus columns [N]; int64."""
    pixel = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    column = tl.load(columns + pixel)
    sums = tl.load(biases + at, mask=at < WIDE, other=0.0)
    for tap in tl.static_range(TAPS):
        row = tl.load(places + tap * PIXELS + pixel) + column
        seen = tl.load(stored + row * WIDE + at, mask=at < WIDE, other=0.0)
        sums += seen * tl.load(taps + tap * WIDE + at, mask=at < WIDE, other=0.0)
    tl.store(begun + pixel * WIDE + at, sums, mask=at < WIDE)


@triton.jit(do_not_specialize=["block"])
def wave_norm(
    h,
    begun,
    last,
    stored,
    places,
    columns,
    high,
    low,
    number,
    block,
    PIXELS,
    L: tl.constexpr,
    D: tl.constexpr,
    NORM: tl.constexpr,
    P: tl.constexpr,
    BD: tl.constexpr,
):
    """Of a block: h [N, D] into its features in `stored` [.., L, D], at places + columns [N]; with the last tap [L, D]
    and what has begun [N, L, D], normed, into high and low [N, D]. number: as `normed` has it."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    d = tl.arange(0, BD)
    inside = (pixel < PIXELS)[:, None] & (d < D)[None, :]
    own = pixel[:, None] * D + d[None, :]
    x = tl.load(h + own, mask=inside, other=0.0)
    at = tl.load(places + pixel, mask=pixel < PIXELS, other=0) + tl.load(columns + pixel, mask=pixel < PIXELS, other=0)
    tl.store(stored + (at[:, None] * L + block) * D + d[None, :], x, mask=inside)
    sums = tl.load(begun + (pixel[:, None] * L + block) * D + d[None, :], mask=inside, other=0.0)
    sums += x * tl.load(last + block * D + d, mask=d < D, other=0.0)[None, :]
    store_split(high, low, own, normed(sums, NORM, number, D, BD), inside)


@triton.jit
def wave_product(
    high,
    low,
    matrix_high,
    matrix_low,
    bias,
    scale,
    following,
    h,
    high_out,
    low_out,
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    SILU: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """y = scale x matrix + bias [N], of split x [M, K] and matrix [K, N]. SILU: silu(y) times `following` into high_out
    and low_out [M, N]; else h [M, N] += y. scale, following: [1]."""
    tiles: tl.constexpr = (N + BN - 1) // BN
    m = (tl.program_id(0) // tiles) * BM + tl.arange(0, BM)
    n = (tl.program_id(0) % tiles) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    y = tl.zeros([BM, BN], tl.float32)
    corrections = tl.zeros([BM, BN], tl.float32)
    for first in range(0, K, BK):
        x_high = tile_at(high, m, first + k, K, 1, K, M)
        x_low = tile_at(low, m, first + k, K, 1, K, M)
        w_high = tile_at(matrix_high, first + k, n, N, 1, N, K)
        w_low = tile_at(matrix_low, first + k, n, N, 1, N, K)
        corrections = tl.dot(x_high, w_low, corrections)
        corrections = tl.dot(x_low, w_high, corrections)
        y = tl.dot(x_high, w_high, y)
    y = (y + corrections / LOW) * tl.load(scale) + tl.load(bias + n, mask=n < N, other=0.0)[None, :]
    place = m[:, None] * N + n[None, :]
    inside = (m < M)[:, None] & (n < N)[None, :]
    if SILU:
        store_split(high_out, low_out, place, silu(y) * tl.load(following), inside)
    else:
        tl.store(h + place, tl.load(h + place, mask=inside, other=0.0) + y, mask=inside)
