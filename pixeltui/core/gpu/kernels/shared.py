"""What the kernels of a pixel do: products through memory that a program has to itself, norms, gates, functions."""

import triton
import triton.language as tl


@triton.jit
def places(scratch, SIZE: tl.constexpr):
    """A program's three places for sums [SIZE], used by turns: none is written to before all threads have read it."""
    one = scratch + tl.program_id(0) * (3 * SIZE)
    two = one + SIZE
    return one, two, two + SIZE


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
