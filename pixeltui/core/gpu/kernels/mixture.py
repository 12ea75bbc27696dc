"""A pixel's draws from a mixture of logistics, all channels in one kernel."""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import (
    begun,
    gathered,
    log_sigmoid,
    log_softmax,
    one_minus_exp,
    places,
    silu,
    tanh,
    times,
)


@triton.jit
def kind(params, number: tl.constexpr):
    """[T, K]: one kind of parameters [T, kinds, K]."""
    here = tl.arange(0, params.shape[1])[None, :, None] == number
    return tl.sum(tl.where(here, params, 0.0), axis=1)


@triton.jit
def affine(
    x,
    matrix,
    bias,
    place,
    rows,
    live,
    K: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
    BK: tl.constexpr,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
    BN: tl.constexpr,
):
    """[T, BN]: x [T, BK] by a matrix [K, N], and its bias [N]."""
    nothing = tl.zeros([BK, 1, C], tl.float32)
    times(x, matrix, 0, N, N, K, place, nothing, matrix, 0, 0, False, T, BK, C, GROUPS, BN)
    return gathered(begun(bias, 0, rows, live, N, BN), place, N, T, GROUPS, BN)


@triton.jit
def plus_linear(
    params,
    features,
    near,
    place,
    rows,
    live,
    D: tl.constexpr,
    LINEAR: tl.constexpr,
    P: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    GROUPS: tl.constexpr,
    BS: tl.constexpr,
    BP: tl.constexpr,
):
    """[T, BP]: params [T, BP] and the linear features, the last LINEAR of [B, D], by near [LINEAR, P]."""
    GROUPS_OF_LINEAR: tl.constexpr = GROUPS if GROUPS < BS else BS
    s = tl.arange(0, BS)[None, :]
    x = tl.load(features + rows * D + (D - LINEAR) + s, mask=live & (s < LINEAR), other=0.0)
    nothing = tl.zeros([BS, 1, C], tl.float32)
    times(x, near, 0, P, P, LINEAR, place, nothing, near, 0, 0, False, T, BS, C, GROUPS_OF_LINEAR, BP)
    return gathered(params, place, P, T, GROUPS_OF_LINEAR, BP)


@triton.jit
def component(params, first_distance, second_distance, limits, channel, CHANNELS: tl.constexpr, IN_ORDER: tl.constexpr):
    """[T, BK] both: a channel's means, negated, and inverse scales; distances [T, BK]: of the channels before."""
    LOGITS: tl.constexpr = 1 if IN_ORDER else CHANNELS
    sharpness, least, _ = limits
    minus_mean = kind(params, LOGITS + channel)
    inverse = tl.maximum(sharpness / (1.0 + tl.exp(-kind(params, LOGITS + CHANNELS + channel))), least)
    if IN_ORDER and channel > 0:
        pair = kind(params, LOGITS + 2 * CHANNELS + channel * (channel - 1) // 2)
        minus_mean += tanh(pair) * first_distance
    if IN_ORDER and channel > 1:
        pair = kind(params, LOGITS + 2 * CHANNELS + channel * (channel - 1) // 2 + 1)
        minus_mean += tanh(pair) * second_distance
    return minus_mean, inverse


@triton.jit
def level_at(noise, there, weights, minus_mean, inverse, edge_at, LEVELS: tl.constexpr, BL: tl.constexpr):
    """[T]: the level of edges [BL] where the mixture's mass, its parameters [T, BK], passes the noise, [T] pointers."""
    at = (minus_mean * inverse)[:, :, None] + inverse[:, :, None] * edge_at[None, None, :]
    mass = tl.sum(weights[:, :, None] / (1.0 + tl.exp(-at)), axis=1)
    threshold = tl.load(noise, mask=there, other=0.0)
    below = (mass <= threshold[:, None]) & (tl.arange(0, BL) < LEVELS - 1)[None, :]
    return tl.sum(below.to(tl.int32), axis=1)


@triton.jit
def log_likelihood(cell, there, minus_mean, inverse, width):
    """[T, BK]: of a level, its cell [T] pointers to (upper, lower, whether both, value), in each component."""
    upper = tl.load(cell, mask=there, other=0.0)[:, None] + minus_mean
    lower = tl.load(cell + 1, mask=there, other=0.0)[:, None] - minus_mean
    has_two = tl.load(cell + 2, mask=there, other=0.0)[:, None]
    seen = log_sigmoid(upper * inverse) + log_sigmoid(lower * inverse)
    return seen + tl.log(one_minus_exp(inverse * width)) * has_two


@triton.jit
def draws(
    params,
    noise,
    known,
    row,
    scaled,
    edges,
    cells,
    column,
    images,
    limits,
    K: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    IN_ORDER: tl.constexpr,
    BL: tl.constexpr,
):
    """The channels' levels, one after another, by params [T, kinds, BK]: into row, and their values into scaled.

    noise, known or None and row [W, CHANNELS, B]; scaled: current [B, W, CHANNELS] and two strides; edges [LEVELS - 1]
    and cells [LEVELS, 4] as the head's; limits: the inverse scales' sharpness and least, the levels' width.
    """
    image = tl.program_id(0) * params.shape[0] + tl.arange(0, params.shape[0])
    there = image < images
    current, stride_current, stride_column = scaled
    inside = tl.arange(0, params.shape[2])[None, :] < K
    log_weights = log_softmax(kind(params, 0), inside)
    edge = tl.arange(0, BL)
    edge_at = tl.load(edges + edge, mask=edge < LEVELS - 1, other=0.0)
    first_distance = tl.zeros([params.shape[0], params.shape[2]], tl.float32)
    second_distance = first_distance
    for channel in tl.static_range(CHANNELS):
        if not IN_ORDER and channel > 0:
            log_weights = log_softmax(kind(params, channel), inside)
        minus_mean, inverse = component(params, first_distance, second_distance, limits, channel, CHANNELS, IN_ORDER)
        weights = tl.where(inside, tl.exp(log_weights), 0.0)
        place = (column * CHANNELS + channel) * images + image
        level = level_at(noise + place, there, weights, minus_mean, inverse, edge_at, LEVELS, BL)
        if known is not None:
            is_known = tl.load(known + place, mask=there, other=0) != 0
            level = tl.where(is_known, tl.load(row + place, mask=there, other=0).to(tl.int32), level)
        tl.store(row + place, level.to(tl.int64), mask=there)
        value = tl.load(cells + level * 4 + 3, mask=there, other=0.0)
        tl.store(current + image * stride_current + column * stride_column + channel, value, mask=there)
        if IN_ORDER and channel + 1 < CHANNELS:
            seen = log_likelihood(cells + level * 4, there, minus_mean, inverse, limits[2])
            log_weights = log_softmax(log_weights + seen, inside)
            if channel == 0:
                first_distance = value[:, None] + minus_mean
            else:
                second_distance = value[:, None] + minus_mean


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
    T: tl.constexpr,
    C: tl.constexpr,
    BD: tl.constexpr,
    BH: tl.constexpr,
    BP: tl.constexpr,
    BS: tl.constexpr,
    BL: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """LogisticMixturePixel's begin, and draw and observe for each channel; what is drawn goes into the image's row.

    features [B, D], of which the last LINEAR are linear; hidden [D, HIDDEN], out [HIDDEN, KINDS BK], near [LINEAR,
    KINDS BK], their parameters of a kind padded from K to BK; current [B, W, CHANNELS]; the others as in draws.
    sharpness, least: of the inverse scales. BD, BH, BP, BS, BL: the padded D, HIDDEN, KINDS BK, LINEAR and LEVELS.
    """
    image = tl.program_id(0) * T + tl.arange(0, T)
    rows, live = image[:, None], (image < images)[:, None]
    P: tl.constexpr = KINDS * BK
    one, two, three = places(scratch, GROUPS * T * (BP if BP > BH else BH))
    x = begun(features, D, rows, live, D, BD)
    x = silu(affine(x, hidden, hidden_bias, one, rows, live, D, HIDDEN, T, BD, C, GROUPS, BH))
    params = affine(x, out, bias, two, rows, live, HIDDEN, P, T, BH, C, GROUPS, BP)
    if LINEAR > 0:
        params = plus_linear(params, features, near, three, rows, live, D, LINEAR, P, T, C, GROUPS, BS, BP)
    params = tl.reshape(params, [T, BP // BK, BK])
    limits = (sharpness, least, width)
    scaled = (current, stride_current, stride_column)
    draws(params, noise, known, row, scaled, edges, cells, column, images, limits, K, CHANNELS, LEVELS, IN_ORDER, BL)
