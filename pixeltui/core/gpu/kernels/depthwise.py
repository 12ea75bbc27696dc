"""The blocks of depthwise kernels of a trunk at a pixel, all of them in one kernel."""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import begun, columns_of, gathered, normed, places, times
from pixeltui.core.gpu.kernels.trunk import first_layer, gate_of, leave, window_of


@triton.jit
def inside(
    h,
    x,
    w,
    weights,
    block,
    at,
    BLOCKS: tl.constexpr,
    INSIDE: tl.constexpr,
    D: tl.constexpr,
    GATE: tl.constexpr,
    AHEAD: tl.constexpr,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """h [T, BD] and what a block makes of its normed sums x [T, BD]; w [BD, 1, C]: into's first columns.

    Of the features inside D at a time, which are gone when the next ones are computed.
    """
    T: tl.constexpr = h.shape[0]
    BD: tl.constexpr = h.shape[1]
    WIDE: tl.constexpr = D if GATE == "none" else 2 * D
    one, two, three = at
    _, into, bias, out = weights
    all_rows = tl.zeros([T, 1], tl.int32)  # have the same bias
    live = all_rows == 0
    matrix = out + block * ((INSIDE * D + 1) * D)
    h += begun(matrix + INSIDE * D * D, 0, all_rows, live, D, BD)
    for part in range(INSIDE):
        step = block * INSIDE + part
        own, begin, last = into + step * (D * WIDE), bias + step * WIDE, matrix + part * (D * D)
        y, w = gate_of(x, own, last, begin, all_rows, live, w, one, two, D, GATE, AHEAD, T, C, BD, GROUPS)
        following = into + tl.minimum(step + 1, BLOCKS * INSIDE - 1) * (D * WIDE)
        w = times(y, last, 0, D, D, D, three, w, following, D, WIDE, AHEAD, T, BD, C, GROUPS, BD)
        h = gathered(h, three, D, T, GROUPS, BD)
    return h, w


@triton.jit
def depthwise_blocks(
    h,
    w,
    sums,
    weights,
    current,
    column,
    images,
    at,
    number,
    BLOCKS: tl.constexpr,
    INSIDE: tl.constexpr,
    D: tl.constexpr,
    TAPS: tl.constexpr,
    NORM: tl.constexpr,
    GATE: tl.constexpr,
    AHEAD: tl.constexpr,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """[T, BD]: h [T, BD] through the blocks, whose inputs go into `current`; w [BD, 1, C]: into's first columns."""
    T: tl.constexpr = h.shape[0]
    BD: tl.constexpr = h.shape[1]
    rows = (tl.program_id(0) * T + tl.arange(0, T))[:, None]
    live = rows < images
    d = tl.arange(0, BD)[None, :]
    for block in range(BLOCKS):
        tl.store(current + ((TAPS + column) * BLOCKS + block) * images * D + rows * D + d, h, mask=live & (d < D))
        tap = tl.load(weights[0] + block * D + d, mask=d < D, other=0.0)
        x = begun(sums + block * images * D, D, rows, live, D, BD) + h * tap
        x = normed(x, NORM, number, D, BD)
        h, w = inside(h, x, w, weights, block, at, BLOCKS, INSIDE, D, GATE, AHEAD, C, GROUPS)
    return h


@triton.jit(do_not_specialize=["column", "images"])
def depthwise_pixel(
    column,
    images,
    windows,
    stride_window,
    first,
    start,
    sums,
    taps,
    into,
    bias,
    out,
    current,
    factors,
    features,
    scratch,
    number,
    last_number,
    BLOCKS: tl.constexpr,
    INSIDE: tl.constexpr,
    EACH: tl.constexpr,
    LEFT: tl.constexpr,
    D: tl.constexpr,
    LINEAR: tl.constexpr,
    TAPS: tl.constexpr,
    NORM: tl.constexpr,
    GATE: tl.constexpr,
    LAST_NORM: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    BD: tl.constexpr,
    BL: tl.constexpr,
    BS: tl.constexpr,
    GROUPS: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """RowTrunk.pixel, after the stack's left taps have been taken into `sums` [BLOCKS, B, D].

    taps [BLOCKS, D]: the kernels' last ones; into [BLOCKS, INSIDE, D, GATES D] and bias [BLOCKS, INSIDE, GATES D], of D
    features inside a block each; out [BLOCKS, INSIDE D + 1, D]; the others as trunk_pixel's.
    """
    SEEN: tl.constexpr = LEFT * EACH
    rows = (tl.program_id(0) * T + tl.arange(0, T))[:, None]
    live = rows < images
    at = places(scratch, GROUPS * T * (BD if BD > BS else BS))
    window = window_of(windows, stride_window, column * EACH, rows, live, SEEN, BL)
    w = columns_of(into, 0, D, D if GATE == "none" else 2 * D, D, BD, C)
    begin = start + column * images * (D + LINEAR)
    h = first_layer(window, first, begin, features, rows, live, at, SEEN, D, LINEAR, T, C, BD, BL, BS, GROUPS)
    weights = (taps, into, bias, out)
    h = depthwise_blocks(
        h, w, sums, weights, current, column, images, at, number, BLOCKS, INSIDE, D, TAPS, NORM, GATE, AHEAD, C, GROUPS
    )
    leave(h, features, factors, rows, live, last_number, LAST_NORM, D, D + LINEAR, BD)
