"""A kernel for each feature, the norm behind it, and their gradients. Features lie together in memory: x [ROWS, W, D].

ROWS are those of all images, H of each. Taps [T, D] are those of a mask of type "B" in raster order: rows of K from
HALF rows above on, the last to the pixel. A program has P columns of a row at a time.
"""

import triton
import triton.language as tl


@triton.jit
def features_at(x, row, column, d, inside, W: tl.constexpr, D: tl.constexpr):
    """[P, BD], fp32, zero where not inside [P]."""
    place = (row * W + column)[:, None] * D + d[None, :]
    return tl.load(x + place, mask=inside[:, None] & (d < D)[None, :], other=0.0).to(tl.float32)


@triton.jit
def depthwise_sums(
    x,
    taps,
    bias,
    out,
    factors,
    eps,
    H: tl.constexpr,
    W: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    TAPS: tl.constexpr,
    NORM: tl.constexpr,
    P: tl.constexpr,
    BD: tl.constexpr,
):
    """out: the sum over taps of x at the tap's pixel, and bias [D]; NORM: normed, by `factors` [ROWS, W]."""
    HALF: tl.constexpr = K // 2
    row, column = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P)
    in_image = row % H
    d = tl.arange(0, BD)
    feature = d < D
    sums = tl.zeros([P, BD], tl.float32) + tl.load(bias + d, mask=feature, other=0.0)[None, :]
    for tap in tl.static_range(TAPS):
        rows = tap // K - HALF
        columns = tap % K - HALF
        inside = (column + columns >= 0) & (column + columns < W) & (in_image + rows >= 0)
        seen = features_at(x, row + rows, column + columns, d, inside, W, D)
        sums += seen * tl.load(taps + tap * D + d, mask=feature, other=0.0)[None, :]
    if NORM:
        sums = tl.where(feature[None, :], sums - (tl.sum(sums, axis=1) / D)[:, None], 0.0)
        factor = 1 / tl.sqrt(tl.sum(sums * sums, axis=1) / D + eps)
        sums = sums * factor[:, None]
        tl.store(factors + row * W + column, factor, mask=column < W)
    place = (row * W + column)[:, None] * D + d[None, :]
    tl.store(out + place, sums, mask=(column < W)[:, None] & feature[None, :])


@triton.jit
def norm_gradient(grad, y, factors, out, PIXELS, D: tl.constexpr, P: tl.constexpr, BD: tl.constexpr):
    """out [PIXELS, D]: gradient of what layer norm made y of, multiplying by `factors` [PIXELS]."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    d = tl.arange(0, BD)
    g = features_at(grad, 0, pixel, d, pixel < PIXELS, 0, D)
    normed = features_at(y, 0, pixel, d, pixel < PIXELS, 0, D)
    factor = tl.load(factors + pixel, mask=pixel < PIXELS, other=0.0)
    mean, along = tl.sum(g, axis=1) / D, tl.sum(g * normed, axis=1) / D
    place = pixel[:, None] * D + d[None, :]
    result = (g - mean[:, None] - normed * along[:, None]) * factor[:, None]
    tl.store(out + place, result, mask=(pixel < PIXELS)[:, None] & (d < D)[None, :])


@triton.jit
def by_tap(
    grad,
    weight,
    own,
    sums,
    result,
    row,
    column,
    at,
    d,
    TAP: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
):
    """sums and result, with what the pixels add that see these by a tap; the gradient there. at: row in the image."""
    rows = TAP // K - K // 2
    columns = TAP % K - K // 2
    inside = (column - columns >= 0) & (column - columns < W) & (at - rows < H)
    g = features_at(grad, row - rows, column - columns, d, inside, W, D)
    return sums + g * own, result + g * weight[None, :], g


@triton.jit
def weight_of(taps, d, TAP: tl.constexpr, TAPS: tl.constexpr, D: tl.constexpr):
    return tl.load(taps + TAP * D + d, mask=(d < D) & (TAP < TAPS), other=0.0)


@triton.jit
def store_sums(parts, sums, chunk, d, TAP: tl.constexpr, TAPS: tl.constexpr, D: tl.constexpr):
    tl.store(parts + (chunk * (TAPS + 1) + TAP) * D + d, tl.sum(sums, axis=0), mask=d < D)


@triton.jit
def depthwise_gradients(
    x,
    grad,
    more,
    taps,
    out,
    parts,
    ROWS,
    H: tl.constexpr,
    W: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    TAPS: tl.constexpr,
    FIRST: tl.constexpr,
    MORE: tl.constexpr,
    EACH: tl.constexpr,
    P: tl.constexpr,
    BD: tl.constexpr,
):
    """Of five taps from FIRST on: out, their part of the gradient of x, to which MORE adds `more`, a tensor like x, and
    parts [programs, TAPS + 1, D], sums over EACH rows for the gradients of taps and, last, of bias."""
    chunk = tl.program_id(0)
    d = tl.program_id(1) * BD + tl.arange(0, BD)
    w1, w2 = weight_of(taps, d, FIRST, TAPS, D), weight_of(taps, d, FIRST + 1, TAPS, D)
    w3, w4 = weight_of(taps, d, FIRST + 2, TAPS, D), weight_of(taps, d, FIRST + 3, TAPS, D)
    w5 = weight_of(taps, d, FIRST + 4, TAPS, D)
    nothing = tl.zeros([P, BD], tl.float32)
    s1, s2, s3, s4, s5, of_bias = nothing, nothing, nothing, nothing, nothing, nothing
    for number in range(0, EACH):
        row = chunk * EACH + number
        if row < ROWS:
            at = row % H
            for begin in range(0, W, P):
                column = begin + tl.arange(0, P)
                own = features_at(x, row, column, d, column < W, W, D)
                result = nothing
                if MORE:
                    result = features_at(more, row, column, d, column < W, W, D)
                s1, result, g = by_tap(grad, w1, own, s1, result, row, column, at, d, FIRST, H, W, D, K)
                if FIRST + 1 < TAPS:
                    s2, result, g = by_tap(grad, w2, own, s2, result, row, column, at, d, FIRST + 1, H, W, D, K)
                if FIRST + 2 < TAPS:
                    s3, result, g = by_tap(grad, w3, own, s3, result, row, column, at, d, FIRST + 2, H, W, D, K)
                if FIRST + 3 < TAPS:
                    s4, result, g = by_tap(grad, w4, own, s4, result, row, column, at, d, FIRST + 3, H, W, D, K)
                if FIRST + 4 < TAPS:
                    s5, result, g = by_tap(grad, w5, own, s5, result, row, column, at, d, FIRST + 4, H, W, D, K)
                if FIRST + 5 >= TAPS:
                    of_bias += g  # the last tap is the pixel's own
                place = (row * W + column)[:, None] * D + d[None, :]
                tl.store(out + place, result, mask=(column < W)[:, None] & (d < D)[None, :])
    store_sums(parts, s1, chunk, d, FIRST, TAPS, D)
    if FIRST + 1 < TAPS:
        store_sums(parts, s2, chunk, d, FIRST + 1, TAPS, D)
    if FIRST + 2 < TAPS:
        store_sums(parts, s3, chunk, d, FIRST + 2, TAPS, D)
    if FIRST + 3 < TAPS:
        store_sums(parts, s4, chunk, d, FIRST + 3, TAPS, D)
    if FIRST + 4 < TAPS:
        store_sums(parts, s5, chunk, d, FIRST + 4, TAPS, D)
    if FIRST + 5 >= TAPS:
        store_sums(parts, of_bias, chunk, d, TAPS, TAPS, D)
