"""A trunk's blocks at a pixel, all of them in one kernel."""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import begun, columns_of, gated, gathered, normed, places, silu, times


@triton.jit
def first_layer(
    window,
    first,
    begin,
    features,
    rows,
    live,
    at,
    SEEN: tl.constexpr,
    D: tl.constexpr,
    LINEAR: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    BD: tl.constexpr,
    BL: tl.constexpr,
    BS: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """[T, BD]: window [T, BL] by first, and begin [B, D + LINEAR]; the LINEAR last columns go into the features."""
    _, two, three = at
    OWN_GROUPS: tl.constexpr = GROUPS if GROUPS < BL else BL
    nothing = tl.zeros([BL, 1, C], tl.float32)
    h = begun(begin, D + LINEAR, rows, live, D, BD)
    times(window, first, 0, D, D + LINEAR, SEEN, two, nothing, first, 0, 0, False, T, BL, C, OWN_GROUPS, BD)
    h = gathered(h, two, D, T, OWN_GROUPS, BD)
    if LINEAR > 0:
        CS: tl.constexpr = C if C < BS else BS
        s = tl.arange(0, BS)[None, :]
        times(window, first, D, LINEAR, D + LINEAR, SEEN, three, nothing, first, 0, 0, False, T, BL, CS, OWN_GROUPS, BS)
        linear = begun(begin + D, D + LINEAR, rows, live, LINEAR, BS)
        linear = gathered(linear, three, LINEAR, T, OWN_GROUPS, BS)
        tl.store(features + rows * (D + LINEAR) + D + s, linear, mask=live & (s < LINEAR))
    return h


@triton.jit
def gate_of(
    x,
    own,
    last,
    begin,
    rows,
    live,
    w,
    one,
    two,
    D: tl.constexpr,
    GATE: tl.constexpr,
    AHEAD: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    BD: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """[T, BD]: x [T, BD] by own [D, GATES D] and what has begun [B, GATES D], gated; and the weights that come next."""
    if GATE == "none":
        a = begun(begin, D, rows, live, D, BD)
        w = times(x, own, 0, D, D, D, one, w, last, D, D, AHEAD, T, BD, C, GROUPS, BD)
        x = silu(gathered(a, one, D, T, GROUPS, BD))
    else:
        a = begun(begin, 2 * D, rows, live, D, BD)
        b = begun(begin + D, 2 * D, rows, live, D, BD)
        w = times(x, own, 0, D, 2 * D, D, one, w, own + D, D, 2 * D, AHEAD, T, BD, C, GROUPS, BD)
        w = times(x, own, D, D, 2 * D, D, two, w, last, D, D, AHEAD, T, BD, C, GROUPS, BD)
        x = gated(gathered(a, one, D, T, GROUPS, BD), gathered(b, two, D, T, GROUPS, BD), GATE)
    return x, w


@triton.jit
def blocks(
    h,
    w,
    both,
    centre,
    out,
    current,
    column,
    images,
    at,
    number,
    BLOCKS: tl.constexpr,
    D: tl.constexpr,
    TAPS: tl.constexpr,
    NORM: tl.constexpr,
    GATE: tl.constexpr,
    AHEAD: tl.constexpr,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """[T, BD]: h [T, BD] through the blocks, whose inputs go into `current`; w [BD, 1, C]: centre's first columns."""
    T: tl.constexpr = h.shape[0]
    BD: tl.constexpr = h.shape[1]
    WIDE: tl.constexpr = D if GATE == "none" else 2 * D
    rows = (tl.program_id(0) * T + tl.arange(0, T))[:, None]
    live = rows < images
    d = tl.arange(0, BD)[None, :]
    one, two, three = at
    for block in range(BLOCKS):
        x = normed(h, NORM, number, D, BD)
        tl.store(current + ((TAPS + column) * BLOCKS + block) * images * D + rows * D + d, x, mask=live & (d < D))
        own, last = centre + block * (D * WIDE), out + block * ((D + 1) * D)
        begin = both + block * images * WIDE
        x, w = gate_of(x, own, last, begin, rows, live, w, one, two, D, GATE, AHEAD, T, C, BD, GROUPS)
        following = centre + tl.minimum(block + 1, BLOCKS - 1) * (D * WIDE)
        h += begun(last + D * D, 0, rows, live, D, BD)
        w = times(x, last, 0, D, D, D, three, w, following, D, WIDE, AHEAD, T, BD, C, GROUPS, BD)
        h = gathered(h, three, D, T, GROUPS, BD)
    return h


@triton.jit
def leave(
    h,
    features,
    factors,
    rows,
    live,
    number,
    NORM: tl.constexpr,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    BD: tl.constexpr,
):
    """The last norm of h [T, BD], times the factors [D] or None: into the features [B, WIDTH]."""
    d = tl.arange(0, BD)[None, :]
    x = normed(h, NORM, number, D, BD)
    if factors is not None:
        x = x * tl.load(factors + d, mask=d < D, other=0.0)
    tl.store(features + rows * WIDTH + d, x, mask=live & (d < D))


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
    """RowTrunk.pixel, after the stack's left taps have been taken into `both` [BLOCKS, B, GATES D].

    windows [B, ..]: the row, EACH values a pixel, of which those of LEFT pixels before the column are seen; first [LEFT
    EACH, D + LINEAR], start [W, B, D + LINEAR], centre [BLOCKS, D, GATES D], out [BLOCKS, D + 1, D], current [TAPS + W,
    BLOCKS, B, D], factors [D] or None, features [B, D + LINEAR]. BD, BL, BS: the padded D, LEFT EACH and LINEAR.
    """
    SEEN: tl.constexpr = LEFT * EACH
    rows = (tl.program_id(0) * T + tl.arange(0, T))[:, None]
    live = rows < images
    at = places(scratch, GROUPS * T * (BD if BD > BS else BS))
    seen = tl.arange(0, BL)[None, :]
    window = tl.load(windows + rows * stride_window + column * EACH + seen, mask=live & (seen < SEEN), other=0.0)
    w = columns_of(centre, 0, D, D if GATE == "none" else 2 * D, D, BD, C)
    begin = start + column * images * (D + LINEAR)
    h = first_layer(window, first, begin, features, rows, live, at, SEEN, D, LINEAR, T, C, BD, BL, BS, GROUPS)
    h = blocks(
        h, w, both, centre, out, current, column, images, at, number, BLOCKS, D, TAPS, NORM, GATE, AHEAD, C, GROUPS
    )
    leave(h, features, factors, rows, live, last_number, LAST_NORM, D, D + LINEAR, BD)
