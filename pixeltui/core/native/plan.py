"""Trunks and heads as steps: what `begin_row`, `pixel` and `draw` do in torch, said once more for steps.c.

Every class is named here; one that is not, a subclass included, raises Unsupported.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pixeltui.core.depthwise_rows import DepthwiseStackRows, DepthwiseWeights, Work
from pixeltui.core.depthwise_wave import DepthwiseWave
from pixeltui.core.heads.categorical import ChannelNetsPixel, IndependentPixel
from pixeltui.core.heads.dmol_pixel import LogisticMixturePixel
from pixeltui.core.heads.logistic import WIDEST
from pixeltui.core.image_rows import ImageRows
from pixeltui.core.native.library import MIXTURES_PAD, MOST_MIXTURES, MOST_UP, CMixture
from pixeltui.core.native.program import Steps
from pixeltui.core.packed import PackedAttention
from pixeltui.core.parts import IncrementalHead, IncrementalTrunk, Unsupported
from pixeltui.core.rows import AnyStack, CausalStack, RowTrunk
from pixeltui.core.single_stack import SingleStackRows
from pixeltui.core.two_stream import TwoStreamRows, VerticalBlock


def row_steps(steps: Steps, trunk: IncrementalTrunk) -> None:
    """What begin_row does."""
    if type(trunk) is SingleStackRows:
        _above(steps, trunk.image, trunk.first_above, trunk.start, trunk.bias)
        for number in range(len(trunk.stack.blocks)):
            _begin_any_block(steps, trunk.stack, number)
    elif type(trunk) is TwoStreamRows:
        _two_stream_row(steps, trunk)
    else:
        raise Unsupported(type(trunk).__name__)


def pixel_steps(steps: Steps, trunk: IncrementalTrunk) -> Tensor:
    """What `pixel` does; the features [N, D]."""
    if not isinstance(trunk, RowTrunk) or type(trunk).pixel is not RowTrunk.pixel:
        raise Unsupported(type(trunk).__name__)
    image = trunk.image
    h = trunk.features[..., : trunk.stack.channels]
    steps.linear(trunk.features, image.left_windows(), trunk.first, trunk.start)
    stack = trunk.stack
    if type(stack) is CausalStack:
        _stack(steps, stack, h)
    elif type(stack) is DepthwiseStackRows:
        _depthwise_stack(steps, stack, h)
    else:
        raise Unsupported(type(stack).__name__)
    steps.norm(trunk.norm, h, h)
    if trunk.factors is not None:
        steps.add("affine", h, h, weight=trunk.factors)
    return trunk.features


def wave_steps(steps: Steps, trunk: DepthwiseWave) -> Tensor:
    """What `pixels` does; the features [N, D]."""
    if max(trunk.half, trunk.above) > MOST_UP:
        raise Unsupported(f"{max(trunk.half, trunk.above)} rows above")
    features, weights, half = trunk.features, trunk.weights, trunk.half
    start = trunk.bias
    for up, matrix in zip(range(half, 0, -1), weights.first_above.chunk(half), strict=True):
        steps.linear(features, trunk.window(2 * half + 1), matrix, start, up=up)
        start = features
    steps.linear(features, trunk.window(half), weights.first, features)
    h, work = trunk.own, trunk.work
    for number, block in enumerate(trunk.blocks):
        stored = trunk.stored[:, :, number].transpose(0, 1)
        sums, start = work.sums, block.kernel_bias.expand_as(work.sums)
        for up, taps in zip(range(trunk.above, 0, -1), block.kernel, strict=False):
            steps.spread(sums, stored, taps, start, up=up)
            start = sums
        steps.add("affine", h, stored[trunk.reach :])
        steps.spread(sums, stored, block.kernel[-1, : trunk.reach + 1], start)
        _inside(steps, block, work, h, shared=True)
    return features


def head_steps(steps: Steps, head: IncrementalHead, features: Tensor, channels: int, *, by_logs: bool) -> CMixture:
    """What `begin`, `draw` and `observe` do; by_logs: draws from log-probabilities. Returns what the mixture is."""
    known: dict[type, Callable[..., CMixture]] = {
        LogisticMixturePixel: _mixture,
        IndependentPixel: _independent,
        ChannelNetsPixel: _channel_nets,
    }
    if type(head) not in known:
        raise Unsupported(type(head).__name__)
    return known[type(head)](steps, head, features, channels, by_logs)


def _two_stream_row(steps: Steps, trunk: TwoStreamRows) -> None:
    width, batch, _ = trunk.start.shape
    first = torch.zeros_like(trunk.start)
    v = first[..., : trunk.stack.channels]
    work = trunk.work
    both, gated = work.both.view(width, batch, -1), work.gate.work.view(width, batch, -1)
    _above(steps, trunk.image, trunk.vertical_first, first, trunk.vertical_bias)
    steps.add("affine", first, trunk.start, bias=trunk.bias)
    for number, vertical in enumerate(trunk.verticals):
        sums = _begin_any_block(steps, trunk.stack, number)
        if type(vertical) is not VerticalBlock:
            raise Unsupported(type(vertical).__name__)
        _vertical(steps, vertical, v, both, work.gate.name, gated, sums)


def _vertical(
    steps: Steps, block: VerticalBlock, v: Tensor, both: Tensor, gate: str, gated: Tensor, horizontal: Tensor
) -> None:
    """VerticalBlock.step; gated [W, N, D + 16], with a one behind the features."""
    width, channels = block.width, v.shape[2]
    steps.norm(block.norm, v, block.normed[-1, block.reach : block.reach + width])
    steps.meet()
    start = _expanded(block.bias, v.shape[1])
    for row, kernel in enumerate(block.kernel):
        for column, matrix in enumerate(kernel):
            steps.linear(both, block.normed[row, column : column + width], matrix, start)
            start = both
    steps.gate(gate, both, gated[..., :channels])
    if block.out is not None:
        steps.linear(v, gated[..., : channels + 1], block.out, v)
    steps.linear(horizontal, gated[..., :channels], block.link, horizontal)


def _inside(steps: Steps, block: DepthwiseWeights, work: Work, h: Tensor, *, shared: bool = False) -> None:
    """Work.add. shared: threads share the products, of few pixels, by outputs: each reads its part of the weights."""
    steps.norm(block.norm, work.sums, work.normed)
    if shared:
        steps.meet(by_outputs=True)
    steps.linear(work.both, work.normed, block.into, _expanded(block.bias, len(h)))
    if shared and block.gate != "none":
        steps.meet()  # a gate looks at two outputs
    steps.gate(block.gate, work.both, work.gate.gated)
    if shared:
        steps.meet(by_outputs=True)
    steps.linear(h, work.gate.with_one, block.out, h)
    if shared:
        steps.meet()


def _above(steps: Steps, image: ImageRows, matrix: Tensor, output: Tensor, bias: Tensor) -> None:
    """output = bias + what the matrix makes of the rows above."""
    start = _expanded(bias, output.shape[1])
    rows = image.above_windows()
    for windows, part in zip(rows, matrix.chunk(len(rows)), strict=True):
        steps.linear(output, windows, part, start)
        start = output


def _begin_any_block(steps: Steps, stack: AnyStack, number: int) -> Tensor:
    """A block's part of the stack's begin_row; its sums."""
    if type(stack) is CausalStack:
        return _begin_block(steps, stack, number)
    if type(stack) is DepthwiseStackRows:
        return _begin_depthwise(steps, stack, number)
    raise Unsupported(type(stack).__name__)


def _begin_block(steps: Steps, stack: CausalStack, number: int) -> Tensor:
    block, sums = stack.blocks[number], stack.sums[number]
    start = _expanded(block.bias, stack.batch)
    matrices = [(row, column, matrix) for row, kernel in enumerate(block.above) for column, matrix in enumerate(kernel)]
    for row, column, matrix in matrices:
        steps.linear(sums, stack.previous[row, number, column : column + stack.width], matrix, start)
        start = sums
    if not matrices:
        steps.add("affine", start, sums)
    return sums


def _stack(steps: Steps, stack: CausalStack, h: Tensor) -> None:
    for number, (block, gate) in enumerate(zip(stack.blocks, stack.gates, strict=True)):
        start = stack.sums[number]
        for tap, matrix in enumerate(block.left):
            steps.linear(gate.both, stack.current[tap : tap + stack.width, number], matrix, start)
            start = gate.both
        normed = stack.current[stack.left_taps : stack.left_taps + stack.width, number]
        steps.norm(block.norm, h, normed)
        steps.linear(gate.both, normed, block.centre, start)
        if block.after is not None:
            steps.norm(block.after, gate.both, gate.both)
        steps.gate(gate.name, gate.both, gate.gated)
        steps.linear(h, gate.with_one, block.out, h)
        if number in stack.attention:
            _attention(steps, stack.attention[number], h)


def _begin_depthwise(steps: Steps, stack: DepthwiseStackRows, number: int) -> Tensor:
    block, sums = stack.blocks[number], stack.sums[number]
    start = _expanded(block.kernel_bias, stack.batch)
    for above, taps in zip(stack.previous[:, number], block.kernel, strict=False):
        steps.spread(sums, above[: stack.width], taps, start)
        start = sums
    if not len(stack.previous):
        steps.add("affine", start, sums)
    return sums


def _depthwise_stack(steps: Steps, stack: DepthwiseStackRows, h: Tensor) -> None:
    for number, block in enumerate(stack.blocks):
        own = stack.current[:, number]
        steps.add("affine", h, own[stack.left_taps :])
        taps = block.kernel[-1, : stack.left_taps + 1]
        steps.spread(stack.work.sums, own[: stack.width], taps, stack.sums[number])
        _inside(steps, block, stack.work, h)
        if number in stack.attention:
            _attention(steps, stack.attention[number], h)


def _attention(steps: Steps, attention: PackedAttention, h: Tensor) -> None:
    """PackedAttention.pixel."""
    batch, channels = h.shape[-2:]
    qkv, y = h.new_empty(batch, 3 * channels), h.new_ones(batch, channels + 1)
    steps.norm(attention.norm, h, attention.normed)
    places = attention.row_places[:, None].expand(-1, batch, -1)
    steps.linear(qkv, attention.normed, attention.matrix, places)
    steps.attend(y[:, :channels], qkv, attention.cache, attention.first_on_device)
    steps.linear(h, y, attention.out, h)


def _mixture(steps: Steps, head: LogisticMixturePixel, features: Tensor, channels: int, by_logs: bool) -> CMixture:
    if head.mixtures > MOST_MIXTURES:
        raise Unsupported(f"{head.mixtures} mixtures")
    batch, k = features.shape[-2], head.mixtures
    hidden = _activated(steps, "silu", features, (head.hidden_bias, head.hidden))
    params = _linear(steps, hidden, (head.bias, head.out))
    if head.near is not None:
        steps.linear(params, features[..., -head.skipped :], head.near, params)
    size = (k + MIXTURES_PAD - 1) // MIXTURES_PAD * MIXTURES_PAD
    kinds = (1 if head.in_order else channels) + 3 * channels + (channels * (channels - 1) // 2 if head.in_order else 0)
    state = features.new_zeros(batch, kinds * size)
    steps.add("mixture_begin", params, state)
    for channel in range(channels):
        if by_logs:
            logs = features.new_empty(batch, head.levels)
            steps.add("mixture_logs", state, logs, channel=channel)
            steps.add("logs_draw", logs, channel=channel)
        else:
            steps.add("mixture_draw", state, channel=channel)
        if channel + 1 < channels:
            steps.add("mixture_seen", state, channel=channel)
    sharpest, widest = torch.tensor([-head.sharpest, -WIDEST]).exp().tolist()
    return CMixture(mixtures=k, in_order=head.in_order, sharpest=sharpest, widest=widest)


def _independent(steps: Steps, head: IndependentPixel, features: Tensor, channels: int, by_logs: bool) -> CMixture:
    x = features.new_empty(features.shape[-2:])
    steps.add("relu", features, x)
    logits = _linear(steps, _activated(steps, "relu", x, head.hidden), head.out)
    for channel in range(channels):
        own = logits[:, channel * head.levels : (channel + 1) * head.levels]
        _softmax(steps, own, channel, by_logs)
    return CMixture()


def _channel_nets(steps: Steps, head: ChannelNetsPixel, features: Tensor, channels: int, by_logs: bool) -> CMixture:
    sums = _linear(steps, features, (head.first_bias, head.first)).chunk(channels, dim=1)
    for channel in range(channels):
        x = torch.empty(sums[channel].shape)
        steps.add("silu", sums[channel], x)
        logits = _linear(steps, _activated(steps, "silu", x, head.hidden[channel]), head.out[channel])
        _softmax(steps, logits, channel, by_logs)
        for later in range(channel + 1, channels):
            table = head.tables[later][channel].contiguous()
            steps.add("table_add", sums[later], sums[later], weight=table, channel=channel)
    return CMixture()


def _softmax(steps: Steps, logits: Tensor, channel: int, by_logs: bool) -> None:
    if by_logs:
        steps.add("log_softmax", logits, logits)
    steps.add("logs_draw" if by_logs else "softmax_draw", logits, channel=channel)


def _linear(steps: Steps, x: Tensor, layer: tuple[Tensor, Tensor]) -> Tensor:
    """layer: bias [out] and matrix [in, out]."""
    bias, matrix = layer
    y = x.new_empty(x.shape[-2], matrix.shape[1])
    steps.linear(y, x, matrix, bias.expand_as(y))
    return y


def _activated(steps: Steps, kind: str, x: Tensor, layer: tuple[Tensor, Tensor]) -> Tensor:
    y = _linear(steps, x, layer)
    steps.add(kind, y, y)
    return y


def _expanded(bias: Tensor, batch: int) -> Tensor:
    """[N, D] of a bias [D] or [N, D]."""
    return bias.expand(batch, bias.shape[-1])
