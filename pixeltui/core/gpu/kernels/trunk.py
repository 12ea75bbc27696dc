"""A trunk's blocks at a pixel, all of them in one kernel."""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import begun, columns_of, gated, gathered, normed, silu, times


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
