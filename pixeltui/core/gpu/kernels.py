"""A pixel's steps as Triton kernels. Imported only where they run: triton comes with torch's CUDA builds alone.

A program takes a tile of T images through the whole of a step; images know nothing of one another within it, so no
program waits for another. Matrices are [K, N] as in packed.py, read C columns at a time, all rows at once; T, C and the
padded sizes are powers of 2. Everything is fp32, products are multiply-adds: tensor cores would round the factors.
"""

import triton
import triton.language as tl


@triton.jit
def columns_of(
    matrix, first, end: tl.constexpr, stride: tl.constexpr, K: tl.constexpr, BK: tl.constexpr, C: tl.constexpr
):
    """[BK, 1, C]: columns of a matrix from `first` on, zero from `end` on and below its K rows."""
    k = tl.arange(0, BK)[:, None, None]
    n = first + tl.arange(0, C)[None, None, :]
    return tl.load(matrix + k * stride + n, mask=(k < K) & (n < end), other=0.0, cache_modifier=".cg")


@triton.jit
def times(
    x,
    matrix,
    first: tl.constexpr,
    count: tl.constexpr,
    stride: tl.constexpr,
    K: tl.constexpr,
    scratch,
    w,
    following,
    following_count: tl.constexpr,
    following_stride: tl.constexpr,
    AHEAD: tl.constexpr,
    T: tl.constexpr,
    BK: tl.constexpr,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
    BN: tl.constexpr,
):
    """Into scratch [T, GROUPS, BN], as sums over a part of the rows each: x [T, BK] matrix[:, first : first + count].

    Returns the weights that come next. AHEAD: w holds the first columns, and those of the matrix `following` are asked
    for before the last ones are used; all threads have passed when this returns.
    """
    # [rows, images, columns]: the compiler spreads the first of these over the warps and keeps the second together.
    inside = tl.arange(0, BK)[:, None, None] < K
    # What is beyond K is -0, which is nothing in a sum, and the compiler leaves out registers that hold no more.
    nothing = tl.full([1, 1, 1], 0.0, tl.float32) * -1.0
    # A thread holds every GROUPS-th row: what is summed here is its own, and no thread waits for another.
    group = tl.arange(0, GROUPS)[:, None, None]
    image = tl.arange(0, T)[None, :, None]
    x = tl.trans(x)[:, :, None]
    place = scratch + (image * GROUPS + group) * BN
    for part in tl.static_range((count + C - 1) // C):
        own = w
        if AHEAD:
            if (part + 1) * C < count:
                w = columns_of(matrix, first + (part + 1) * C, first + count, stride, K, BK, C)
            else:
                w = columns_of(following, 0, following_count, following_stride, K, BK, C)
        else:
            own = columns_of(matrix, first + part * C, first + count, stride, K, BK, C)
        products = tl.where(inside, x * own, nothing)
        sums = tl.sum(tl.reshape(products, [BK // GROUPS, GROUPS, T, C]), axis=0)
        n = part * C + tl.arange(0, C)[None, None, :]
        tl.store(place + n, sums, mask=n < count)
    tl.debug_barrier()
    return w


@triton.jit
def gathered(y, scratch, count: tl.constexpr, T: tl.constexpr, GROUPS: tl.constexpr, BN: tl.constexpr):
    """y [T, BN] and the sums of `times`."""
    n = tl.arange(0, BN)[None, :]
    place = scratch + tl.arange(0, T)[:, None] * (GROUPS * BN) + n
    for group in tl.static_range(GROUPS):
        y += tl.load(place + group * BN, mask=n < count, other=0.0)
    return y


@triton.jit
def begun(start, stride, rows, live, count: tl.constexpr, BN: tl.constexpr):
    """[T, BN]: the rows [T, 1] of `start`, where they are live [T, 1]; zero beyond `count`."""
    n = tl.arange(0, BN)[None, :]
    return tl.load(start + rows * stride + n, mask=live & (n < count), other=0.0)


@triton.jit
def one_minus_exp(y):
    """1 - exp(-y) of y >= 0, to its last digits where it is small."""
    series = 1.0 - y * (1.0 / 7)
    series = 1.0 - y * (1.0 / 6) * series
    series = 1.0 - y * (1.0 / 5) * series
    series = 1.0 - y * (1.0 / 4) * series
    series = 1.0 - y * (1.0 / 3) * series
    series = 1.0 - y * (1.0 / 2) * series
    return tl.where(y < 0.3, y * series, 1.0 - tl.exp(-y))


@triton.jit
def tanh(x):
    m = one_minus_exp(2.0 * tl.abs(x))
    size = m / (2.0 - m)
    return tl.where(x < 0, -size, size)


@triton.jit
def silu(x):
    return x / (1.0 + tl.exp(-x))


@triton.jit
def log_sigmoid(x):
    return tl.minimum(x, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(x)))


@triton.jit
def log_softmax(x, inside):
    """Over the second dimension of x [T, K], as far as it is inside."""
    x = tl.where(inside, x, -1e30)
    x = x - tl.max(x, axis=1)[:, None]
    return x - tl.log(tl.sum(tl.exp(x), axis=1))[:, None]


@triton.jit
def normed(h, NORM: tl.constexpr, number, D: tl.constexpr, BD: tl.constexpr):
    """h [T, BD], zero beyond D, by the norm "layer", "rms" or "none"; number: epsilon, or the floor squared."""
    if NORM == "layer":
        mean = tl.sum(h, axis=1) / D
        h = tl.where(tl.arange(0, BD)[None, :] < D, h - mean[:, None], 0.0)
        h = h * tl.rsqrt(tl.sum(h * h, axis=1) / D + number)[:, None]
    elif NORM == "rms":
        h = h * tl.rsqrt(tl.sum(h * h, axis=1) + number)[:, None]
    return h


@triton.jit
def gated(a, b, GATE: tl.constexpr):
    """Both [T, BD]; the gates "tanh" and "silu"."""
    if GATE == "tanh":
        a = tanh(a) / (1.0 + tl.exp(-b))
    else:
        a = a * silu(b)
    return a


@triton.jit(do_not_specialize=["column", "images"])
def trunk_pixel(
    column,
    images,
    windows,
    stride_window,
    first,
    start,
    both,
    centre,
    out,
    current,
    factors,
    features,
    scratch,
    number,
    last_number,
    BLOCKS: tl.constexpr,
    EACH: tl.constexpr,
    LEFT: tl.constexpr,
    D: tl.constexpr,
    LINEAR: tl.constexpr,
    GATES: tl.constexpr,
    TAPS: tl.constexpr,
    NORM: tl.constexpr,
    GATE: tl.constexpr,
    LAST_NORM: tl.constexpr,
    FACTORS: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    BD: tl.constexpr,
    BL: tl.constexpr,
    BS: tl.constexpr,
    CS: tl.constexpr,
    BW: tl.constexpr,
    GROUPS: tl.constexpr,
    BLG: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """RowTrunk.pixel, after the stack's left taps have been taken into `both` [BLOCKS, B, GATES D].

    windows [B, ..]: the current row of the image, EACH values a pixel, of which those of LEFT pixels before the column
    are seen; first [LEFT EACH, D + LINEAR], start [W, B, D + LINEAR], centre [BLOCKS, D, GATES D], out [BLOCKS, D + 1,
    D], current [TAPS + W, BLOCKS, B, D], factors [D], features [B, D + LINEAR]. BD, BL, BS: the padded D, LEFT EACH and
    LINEAR, of which CS are computed at a time; BW: the largest of what is computed.
    """
    rows = (tl.program_id(0) * T + tl.arange(0, T))[:, None]
    live = rows < images
    d = tl.arange(0, BD)[None, :]
    seen = tl.arange(0, BL)[None, :]
    # Sums go to three places by turns, so that none is written to before all threads have read it.
    SIZE: tl.constexpr = GROUPS * T * BW
    one = scratch + tl.program_id(0) * (3 * SIZE)
    two = one + SIZE
    three = two + SIZE
    window = tl.load(windows + rows * stride_window + column * EACH + seen, mask=live & (seen < LEFT * EACH), other=0.0)
    w = columns_of(centre, 0, D, GATES * D, D, BD, C)
    nothing = tl.zeros([BL, 1, C], tl.float32)
    begin = start + column * images * (D + LINEAR)
    h = begun(begin, D + LINEAR, rows, live, D, BD)
    times(window, first, 0, D, D + LINEAR, LEFT * EACH, two, nothing, first, 0, 0, False, T, BL, C, BLG, BD)
    h = gathered(h, two, D, T, BLG, BD)
    if LINEAR > 0:
        s = tl.arange(0, BS)[None, :]
        times(window, first, D, LINEAR, D + LINEAR, LEFT * EACH, three, nothing, first, 0, 0, False, T, BL, CS, BLG, BS)
        linear = begun(begin + D, D + LINEAR, rows, live, LINEAR, BS)
        linear = gathered(linear, three, LINEAR, T, BLG, BS)
        tl.store(features + rows * (D + LINEAR) + D + s, linear, mask=live & (s < LINEAR))
    for block in range(BLOCKS):
        x = normed(h, NORM, number, D, BD)
        place = current + ((TAPS + column) * BLOCKS + block) * images * D
        tl.store(place + rows * D + d, x, mask=live & (d < D))
        own = centre + block * (D * GATES * D)
        last = out + block * ((D + 1) * D)
        begin = both + block * images * (GATES * D)
        if GATES == 2:
            a = begun(begin, 2 * D, rows, live, D, BD)
            b = begun(begin + D, 2 * D, rows, live, D, BD)
            w = times(x, own, 0, D, 2 * D, D, one, w, own + D, D, 2 * D, AHEAD, T, BD, C, GROUPS, BD)
            w = times(x, own, D, D, 2 * D, D, two, w, last, D, D, AHEAD, T, BD, C, GROUPS, BD)
            x = gated(gathered(a, one, D, T, GROUPS, BD), gathered(b, two, D, T, GROUPS, BD), GATE)
        else:
            a = begun(begin, D, rows, live, D, BD)
            w = times(x, own, 0, D, D, D, one, w, last, D, D, AHEAD, T, BD, C, GROUPS, BD)
            x = silu(gathered(a, one, D, T, GROUPS, BD))
        following = centre + tl.minimum(block + 1, BLOCKS - 1) * (D * GATES * D)
        h += begun(last + D * D, 0, rows, live, D, BD)
        w = times(x, last, 0, D, D, D, three, w, following, D, GATES * D, AHEAD, T, BD, C, GROUPS, BD)
        h = gathered(h, three, D, T, GROUPS, BD)
    x = normed(h, LAST_NORM, last_number, D, BD)
    if FACTORS:
        x = x * tl.load(factors + d, mask=d < D, other=0.0)
    tl.store(features + rows * (D + LINEAR) + d, x, mask=live & (d < D))


@triton.jit
def kind(params, number: tl.constexpr):
    """[T, K]: one kind of parameters [T, kinds, K]."""
    here = tl.arange(0, params.shape[1])[None, :, None] == number
    return tl.sum(tl.where(here, params, 0.0), axis=1)


@triton.jit(do_not_specialize=["column", "images"])
def mixture_pixel(
    column,
    images,
    features,
    hidden,
    hidden_bias,
    out,
    bias,
    near,
    edges,
    cells,
    noise,
    known,
    row,
    current,
    scratch,
    stride_current,
    stride_column,
    sharpness,
    least,
    width,
    D: tl.constexpr,
    LINEAR: tl.constexpr,
    HIDDEN: tl.constexpr,
    K: tl.constexpr,
    BK: tl.constexpr,
    KINDS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    IN_ORDER: tl.constexpr,
    KNOWN: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    BD: tl.constexpr,
    BH: tl.constexpr,
    BP: tl.constexpr,
    BS: tl.constexpr,
    BL: tl.constexpr,
    BW: tl.constexpr,
    GROUPS: tl.constexpr,
    BSG: tl.constexpr,
):
    """LogisticMixturePixel's begin, and draw and observe for each channel; what is drawn goes into the image's row.

    features [B, D], of which the last LINEAR are linear; hidden [D, HIDDEN], out [HIDDEN, KINDS BK], near [LINEAR,
    KINDS BK], their parameters of a kind padded from K to BK; edges [LEVELS - 1] and cells [LEVELS, 4] as the head's;
    noise, known and row [W, CHANNELS, B]; current [B, W, CHANNELS]. sharpness, least: of the inverse scales. BD, BH,
    BP, BS, BL: the padded D, HIDDEN, KINDS BK, LINEAR and LEVELS.
    """
    image = tl.program_id(0) * T + tl.arange(0, T)
    there = image < images
    rows, live = image[:, None], there[:, None]
    P: tl.constexpr = KINDS * BK
    d = tl.arange(0, BD)[None, :]
    x = tl.load(features + rows * D + d, mask=live & (d < D), other=0.0)
    SIZE: tl.constexpr = GROUPS * T * BW
    one = scratch + tl.program_id(0) * (3 * SIZE)
    two = one + SIZE
    three = two + SIZE
    nothing = tl.zeros([BD, 1, C], tl.float32)
    times(x, hidden, 0, HIDDEN, HIDDEN, D, one, nothing, hidden, 0, 0, False, T, BD, C, GROUPS, BH)
    x = silu(gathered(begun(hidden_bias, 0, rows, live, HIDDEN, BH), one, HIDDEN, T, GROUPS, BH))
    nothing = tl.zeros([BH, 1, C], tl.float32)
    times(x, out, 0, P, P, HIDDEN, two, nothing, out, 0, 0, False, T, BH, C, GROUPS, BP)
    params = gathered(begun(bias, 0, rows, live, P, BP), two, P, T, GROUPS, BP)
    if LINEAR > 0:
        s = tl.arange(0, BS)[None, :]
        x = tl.load(features + rows * D + (D - LINEAR) + s, mask=live & (s < LINEAR), other=0.0)
        nothing = tl.zeros([BS, 1, C], tl.float32)
        times(x, near, 0, P, P, LINEAR, three, nothing, near, 0, 0, False, T, BS, C, BSG, BP)
        params = gathered(params, three, P, T, BSG, BP)
    params = tl.reshape(params, [T, BP // BK, BK])
    inside = tl.arange(0, BK)[None, :] < K
    LOGITS: tl.constexpr = 1 if IN_ORDER else CHANNELS
    log_weights = log_softmax(kind(params, 0), inside)
    edge = tl.arange(0, BL)
    edge_at = tl.load(edges + edge, mask=edge < LEVELS - 1, other=0.0)
    first_distance = tl.zeros([T, BK], tl.float32)
    second_distance = tl.zeros([T, BK], tl.float32)
    for channel in tl.static_range(CHANNELS):
        if not IN_ORDER and channel > 0:
            log_weights = log_softmax(kind(params, channel), inside)
        minus_mean = kind(params, LOGITS + channel)
        inverse = tl.maximum(sharpness / (1.0 + tl.exp(-kind(params, LOGITS + CHANNELS + channel))), least)
        if IN_ORDER and channel > 0:
            pair = kind(params, LOGITS + 2 * CHANNELS + channel * (channel - 1) // 2)
            minus_mean += tanh(pair) * first_distance
        if IN_ORDER and channel > 1:
            pair = kind(params, LOGITS + 2 * CHANNELS + channel * (channel - 1) // 2 + 1)
            minus_mean += tanh(pair) * second_distance
        weights = tl.where(inside, tl.exp(log_weights), 0.0)
        at = (minus_mean * inverse)[:, :, None] + inverse[:, :, None] * edge_at[None, None, :]
        mass = tl.sum(weights[:, :, None] / (1.0 + tl.exp(-at)), axis=1)
        place = (column * CHANNELS + channel) * images + image
        threshold = tl.load(noise + place, mask=there, other=0.0)
        below = (mass <= threshold[:, None]) & (edge < LEVELS - 1)[None, :]
        level = tl.sum(below.to(tl.int32), axis=1)
        if KNOWN:
            is_known = tl.load(known + place, mask=there, other=0) != 0
            level = tl.where(is_known, tl.load(row + place, mask=there, other=0).to(tl.int32), level)
        tl.store(row + place, level.to(tl.int64), mask=there)
        value = tl.load(cells + level * 4 + 3, mask=there, other=0.0)
        tl.store(current + image * stride_current + column * stride_column + channel, value, mask=there)
        if IN_ORDER and channel + 1 < CHANNELS:
            upper = tl.load(cells + level * 4, mask=there, other=0.0)[:, None] + minus_mean
            lower = tl.load(cells + level * 4 + 1, mask=there, other=0.0)[:, None] - minus_mean
            has_two = tl.load(cells + level * 4 + 2, mask=there, other=0.0)[:, None]
            seen = log_sigmoid(upper * inverse) + log_sigmoid(lower * inverse)
            seen += tl.log(one_minus_exp(inverse * width)) * has_two
            log_weights = log_softmax(log_weights + seen, inside)
            if channel == 0:
                first_distance = value[:, None] + minus_mean
            else:
                second_distance = value[:, None] + minus_mean
