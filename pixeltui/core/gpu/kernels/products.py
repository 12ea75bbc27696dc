"""Products of rows with a matrix, and what is elementwise before or after them. x [M, K], out [M, N], in a half format.

Passes over features take as long as products here, so that each is worth a kernel; sums are fp32.
"""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import silu


@triton.jit
def tile_at(pointer, rows, columns, ROW: tl.constexpr, COLUMN: tl.constexpr, END: tl.constexpr, last):
    """Of a matrix with such strides: zero from row `last` and column END on."""
    place = pointer + rows[:, None] * ROW + columns[None, :] * COLUMN
    return tl.load(place, mask=(rows < last)[:, None] & (columns < END)[None, :], other=0.0)


@triton.jit
def product(
    x,
    matrix,
    bias,
    out,
    other,
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    STRIDE_K: tl.constexpr,
    STRIDE_N: tl.constexpr,
    SILU: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """y = x matrix + bias [N]. SILU: out = y and other = silu(y); else out = other + y; other [M, N]."""
    tiles: tl.constexpr = (N + BN - 1) // BN
    m = (tl.program_id(0) // tiles) * BM + tl.arange(0, BM)
    n = (tl.program_id(0) % tiles) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    y = tl.zeros([BM, BN], tl.float32)
    for first in range(0, K, BK):
        rows = tile_at(x, m, first + k, K, 1, K, M)
        y = tl.dot(rows, tile_at(matrix, first + k, n, STRIDE_K, STRIDE_N, N, K), y)
    y += tl.load(bias + n, mask=n < N, other=0.0)[None, :]
    place = m[:, None] * N + n[None, :]
    inside = (m < M)[:, None] & (n < N)[None, :]
    if SILU:
        tl.store(other + place, silu(y), mask=inside)
    else:
        y += tl.load(other + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, y, mask=inside)


@triton.jit
def silu_gradient(grad, x, parts, M, N: tl.constexpr, EACH: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """grad [M, N] times silu'(x), in its place; parts [programs, N]: sums over the EACH times BM rows of a program."""
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    sums = tl.zeros([BM, BN], tl.float32)
    for number in range(0, EACH):
        m = (tl.program_id(0) * EACH + number) * BM + tl.arange(0, BM)
        before = tile_at(x, m, n, N, 1, N, M).to(tl.float32)
        share = 1.0 / (1.0 + tl.exp(-before))
        g = tile_at(grad, m, n, N, 1, N, M).to(tl.float32) * (share * (1.0 + before * (1.0 - share)))
        tl.store(grad + m[:, None] * N + n[None, :], g, mask=(m < M)[:, None] & (n < N)[None, :])
        sums += g
    tl.store(parts + tl.program_id(0) * N + n, tl.sum(sums, axis=0), mask=n < N)
