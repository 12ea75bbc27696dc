"""The log-probability of whole pixels under a mixture of logistics that their channels share, and its gradient.

The formulas are those of heads/dmol_loss.py. A thread has a pixel and goes from one component to the next: neighbouring
threads read neighbouring numbers of a plane, and nothing is summed between threads. Numbers of a component, all fp32:

    mixture [B, K N, HW]: logit, C means, C log-scales, coefficients of (1, 0), (2, 0), (2, 1), ...
    kept [B, K + 2, HW]: log of a component's weight and mass, before weights are normed, for each; the logs of the sums
    of these and of the weights alone.

Limits: exp(-log-scale) at the sharpest and at the widest, the sharpest log-scale, half a level, and what a level
between the two ends is at most.
"""

import triton
import triton.language as tl

from pixeltui.core.gpu.kernels.shared import log_sigmoid, one_minus_exp, tanh


@triton.jit
def pixels_of(PIXELS, HW, P: tl.constexpr):
    """Image, place in a plane and whether there is one, of a program's P pixels."""
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    return pixel // HW, pixel % HW, pixel < PIXELS


@triton.jit
def planes_of(x, first, there, HW, COUNT: tl.constexpr):
    """A number of each of COUNT planes, the first of which is at `first`."""
    found = ()
    for plane in tl.static_range(COUNT):
        found = found + (tl.load(x + first + plane * HW, mask=there, other=0.0),)
    return found


@triton.jit
def distances_of(x, means, coefficients, C: tl.constexpr):
    """Of channels from what their means are, given those before."""
    found = ()
    for c in tl.static_range(C):
        distance = x[c] - means[c]
        for earlier in tl.static_range(c):
            distance -= coefficients[c * (c - 1) // 2 + earlier] * found[earlier]
        found = found + (distance,)
    return found


@triton.jit
def tanh_of(x, COUNT: tl.constexpr):
    found = ()
    for one in tl.static_range(COUNT):
        found = found + (tanh(x[one]),)
    return found


@triton.jit
def component_of(mixture, own, levels, there, HW, C: tl.constexpr):
    """Its logit, log-scales, coefficients and the levels' distances from its means; its planes begin at `own`."""
    PAIRS: tl.constexpr = C * (C - 1) // 2
    logit = tl.load(mixture + own, mask=there, other=0.0)
    means = planes_of(mixture, own + HW, there, HW, C)
    scales = planes_of(mixture, own + (1 + C) * HW, there, HW, C)
    coefficients = tanh_of(planes_of(mixture, own + (1 + 2 * C) * HW, there, HW, PAIRS), PAIRS)
    return logit, scales, coefficients, distances_of(levels, means, coefficients, C)


@triton.jit
def joined(largest, sums, x):
    """With x, of a log of a sum of exponentials, largest + log(sums)."""
    smaller = tl.exp(-tl.abs(x - largest))
    return tl.maximum(largest, x), tl.where(x > largest, sums * smaller + 1.0, sums + smaller)


@triton.jit
def sigmoid(x):
    small = tl.exp(-tl.abs(x))
    return tl.where(x < 0, small, 1.0) / (1.0 + small)


@triton.jit
def share(part, whole):
    """Of a part in a sum; the logs of both."""
    return tl.exp(tl.minimum(part - whole, 0.0))


@triton.jit
def inverse_scale(scale, limits):
    """And 1 less the slope of the softplus."""
    rest = sigmoid(limits[2] - scale)
    return tl.maximum(rest * limits[0], limits[1]), rest


@triton.jit
def mixture_log_prob(
    mixture,
    x,
    out,
    kept,
    PIXELS,
    HW,
    sharpness,
    least,
    sharpest,
    half_bin,
    inner,
    K: tl.constexpr,
    C: tl.constexpr,
    P: tl.constexpr,
):
    """out [B, HW] and kept, given x [B, C, HW]."""
    N: tl.constexpr = 1 + 2 * C + C * (C - 1) // 2
    limits = (sharpness, least, sharpest)
    image, place, there = pixels_of(PIXELS, HW, P)
    levels = planes_of(x, image * (C * HW) + place, there, HW, C)
    both, both_sums = tl.full([P], -3e38, tl.float32), tl.zeros([P], tl.float32)
    prior, prior_sums = both, both_sums
    first = image * (K * N * HW) + place
    to = image * ((K + 2) * HW) + place
    for k in range(K):
        own = first + k * (N * HW)
        logit, scales, _, distances = component_of(mixture, own, levels, there, HW, C)
        total = logit
        for c in tl.static_range(C):
            inverse, _ = inverse_scale(scales[c], limits)
            edge, along = inverse * half_bin, distances[c] * inverse
            # the first level has the tail below it, the last the one above
            not_first, not_last = levels[c] >= -inner, levels[c] <= inner
            total += tl.where(not_last, log_sigmoid(edge + along), 0.0)
            total += tl.where(not_first, log_sigmoid(edge - along), 0.0)
            total += tl.where(not_first & not_last, tl.log(one_minus_exp(2.0 * edge)), 0.0)
        tl.store(kept + to + k * HW, total, mask=there)
        both, both_sums = joined(both, both_sums, total)
        prior, prior_sums = joined(prior, prior_sums, logit)
    both, prior = both + tl.log(both_sums), prior + tl.log(prior_sums)
    tl.store(kept + to + K * HW, both, mask=there)
    tl.store(kept + to + (K + 1) * HW, prior, mask=there)
    tl.store(out + image * HW + place, both - prior, mask=there)


@triton.jit
def along_and_scale(level, distance, scale, weight, limits, half_bin, inner):
    """Gradients of a channel's distance, as long as nothing else hangs on it, and of its log-scale."""
    inverse, rest = inverse_scale(scale, limits)
    edge, along = inverse * half_bin, distance * inverse
    not_first, not_last = level >= -inner, level <= inner
    of_upper = tl.where(not_last, sigmoid(-edge - along), 0.0)
    of_lower = tl.where(not_first, sigmoid(along - edge), 0.0)
    turned = of_upper - of_lower
    of_mass = tl.where(not_first & not_last, 2.0 * (1.0 / one_minus_exp(2.0 * edge) - 1.0), 0.0)
    of_inverse = (of_mass + of_upper + of_lower) * half_bin + distance * turned
    of_scale = tl.where(inverse > limits[1], of_inverse * weight * inverse * (rest - 1.0), 0.0)
    return turned * inverse * weight, of_scale


@triton.jit
def with_later(slopes, coefficients, C: tl.constexpr):
    """Gradients of distances, with what comes by those of later channels."""
    found = ()
    for back in tl.static_range(C):
        # of channel C - 1 - back; those of the `back` later ones are found
        slope = slopes[C - 1 - back]
        for later in tl.static_range(C - back, C):
            slope -= coefficients[later * (later - 1) // 2 + C - 1 - back] * found[later - C + back]
        found = (slope,) + found
    return found


@triton.jit
def mixture_gradient(
    grad,
    mixture,
    x,
    kept,
    out,
    PIXELS,
    HW,
    sharpness,
    least,
    sharpest,
    half_bin,
    inner,
    K: tl.constexpr,
    C: tl.constexpr,
    EACH: tl.constexpr,
    P: tl.constexpr,
):
    """out [B, K N, HW], of mixture, given grad [B, HW]; a program has EACH components."""
    N: tl.constexpr = 1 + 2 * C + C * (C - 1) // 2
    limits = (sharpness, least, sharpest)
    image, place, there = pixels_of(PIXELS, HW, P)
    levels = planes_of(x, image * (C * HW) + place, there, HW, C)
    g = tl.load(grad + image * HW + place, mask=there, other=0.0)
    first = image * (K * N * HW) + place
    kept += image * ((K + 2) * HW) + place
    both = tl.load(kept + K * HW, mask=there, other=0.0)
    prior = tl.load(kept + (K + 1) * HW, mask=there, other=0.0)
    for number in range(EACH):
        k = tl.program_id(1) * EACH + number
        here = there & (k < K)
        own = first + k * (N * HW)
        logit, scales, coefficients, distances = component_of(mixture, own, levels, here, HW, C)
        weight = g * share(tl.load(kept + k * HW, mask=here, other=0.0), both)
        tl.store(out + own, weight - g * share(logit, prior), mask=here)
        slopes = ()
        for c in tl.static_range(C):
            slope, of_scale = along_and_scale(levels[c], distances[c], scales[c], weight, limits, half_bin, inner)
            tl.store(out + own + (1 + C + c) * HW, of_scale, mask=here)
            slopes = slopes + (slope,)
        slopes = with_later(slopes, coefficients, C)
        for c in tl.static_range(C):
            tl.store(out + own + (1 + c) * HW, -slopes[c], mask=here)
            for earlier in tl.static_range(c):
                turn = coefficients[c * (c - 1) // 2 + earlier]
                of_pair = slopes[c] * distances[earlier] * (turn * turn - 1.0)
                tl.store(out + own + (1 + 2 * C + c * (c - 1) // 2 + earlier) * HW, of_pair, mask=here)
