"""A pixel's draws from a mixture of logistics, all channels in one kernel."""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import begun, gathered, log_sigmoid, log_softmax, one_minus_exp, silu, tanh, times


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
