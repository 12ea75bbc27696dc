"""Layers by themselves: what each sees, how it starts, what it refuses."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from pixeltui.core import CausalSelfAttention, ConditionalPixelCNN, MaskedConv2d, ResidualBlock, convolved
from pixeltui.core.convolved import normed_conv, plus_pointwise
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.core.layers import (
    ClassBias,
    DownRightShiftedConv2d,
    DownShiftedConv2d,
    PointwiseConv2d,
    RMSNorm,
    make_norm,
    shift_down,
    shift_right,
)


def full_kernel(conv: MaskedConv2d) -> torch.Tensor:
    """The k x k kernel with the mask of the paper, written out tap by tap."""
    size, half = conv.kernel_size, conv.kernel_size // 2
    kernel = torch.zeros(conv.out_channels, conv.in_channels, size, size)
    for row in range(size):
        for column in range(size):
            before = row < half or (row == half and column < half)
            centre = row == half and column == half
            if before or (centre and conv.mask_type == "B"):
                kernel[:, :, row, column] = conv.weight.detach()[:, :, row, column]
    return kernel


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_masked_convolution_is_the_full_one_with_a_masked_kernel(mask_type: str, size: int) -> None:
    conv = MaskedConv2d(mask_type, 3, 4, size)
    torch.nn.init.normal_(conv.weight)
    x = torch.randn(2, 3, 5, 6)
    expected = F.conv2d(x, full_kernel(conv), conv.bias, padding=size // 2)
    torch.testing.assert_close(conv(x), expected)


def test_masked_convolution_takes_what_nn_conv2d_is_given() -> None:
    conv = MaskedConv2d("A", in_channels=3, out_channels=64, kernel_size=7, stride=1, padding=3, bias=False)
    assert conv(torch.randn(2, 3, 8, 8)).shape == (2, 64, 8, 8)
    assert MaskedConv2d("A", 3, 64, 7, 1, 3)(torch.randn(1, 3, 8, 8)).shape == (1, 64, 8, 8)
    for wrong in ({"stride": 2}, {"padding": 0}):
        with pytest.raises(ValueError, match="stride 1 and padding 3"):
            MaskedConv2d("A", 3, 64, 7, **wrong)
    pairs = MaskedConv2d("A", 3, 64, (7, 7), (1, 1), (3, 3))
    for conv in (pairs, MaskedConv2d("A", 3, 64, 7, padding="same")):
        assert (conv.kernel_size, conv.weight.shape) == (7, (64, 3, 4, 7))
    for channels in ((0, 8), (3, 0)):
        with pytest.raises(ValueError, match="expected 1 channel or more"):
            MaskedConv2d("A", *channels, 3)
    with pytest.raises(ValueError, match="as many rows as columns"):
        MaskedConv2d("A", 3, 64, (7, 5))


def test_masked_convolution_of_size_1_is_a_plain_one() -> None:
    conv = MaskedConv2d("B", 3, 4, 1, bias=False)
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight))
    assert conv.bias is None


def test_masked_convolution_never_writes_to_its_weight_and_saves_no_mask() -> None:
    conv = MaskedConv2d("A", 2, 2, 5)
    torch.nn.init.ones_(conv.weight)
    before = conv.weight.detach().clone()
    conv(torch.randn(1, 2, 6, 6)).sum().backward()
    assert torch.equal(conv.weight, before)
    assert set(conv.state_dict()) == {"weight", "bias"}
    assert conv.weight.grad is not None
    assert torch.equal(conv.weight.grad != 0, conv.mask.bool().expand_as(conv.weight))


@pytest.mark.parametrize(("mask_type", "live"), [("A", 12), ("B", 13)])
def test_masked_convolution_starts_with_the_fan_in_of_its_live_taps(mask_type: str, live: int) -> None:
    conv = MaskedConv2d(mask_type, 8, 64, 5)
    assert conv.weight.shape == (64, 8, 3, 5)
    taps = conv.weight.detach()[:, :, conv.mask.bool()]
    assert taps.shape[-1] == live
    bound = 1 / math.sqrt(8 * live)
    assert 0.95 * bound < float(taps.abs().max()) <= bound
    assert not conv.weight.detach()[:, :, ~conv.mask.bool()].any()


@pytest.mark.parametrize(
    ("mask_type", "size", "message"), [("C", 3, "mask type"), ("A", 4, "odd"), ("B", 0, "odd"), ("A", 1, "nothing")]
)
def test_masked_convolution_refuses_what_cannot_be(mask_type: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedConv2d(mask_type, 1, 1, size)


def seen(layer: torch.nn.Module, row: int, column: int, channels: int = 4, size: tuple[int, int] = (5, 6)) -> set:
    """Pixels at which the output at (row, column) has a gradient."""
    x = torch.randn(1, channels, *size, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[:, :, row, column].sum(), x)
    return {tuple(place) for place in gradient.abs().sum((0, 1)).nonzero().tolist()}


def test_shifted_convolutions_see_the_taps_that_they_say() -> None:
    down = DownShiftedConv2d(4, 4, (2, 3))
    assert seen(down, 2, 3) == {(r, c) for r in (1, 2) for c in (2, 3, 4)}
    down_right = DownRightShiftedConv2d(4, 4, (2, 3))
    assert seen(down_right, 2, 3) == {(r, c) for r in (1, 2) for c in (1, 2, 3)}
    with pytest.raises(ValueError, match="odd"):
        DownShiftedConv2d(1, 1, (2, 2))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_depthwise_convolution_is_a_masked_one_whose_features_do_not_meet(size: int) -> None:
    conv, whole = DepthwiseConv2d(4, size), MaskedConv2d("B", 4, 4, size)
    assert conv.weight.shape == (4, 1, size // 2 + 1, size)
    with torch.no_grad():
        conv.weight.normal_()
        whole.weight.zero_()
        whole.weight[range(4), range(4)] = conv.weight[:, 0]
        whole.bias.copy_(conv.bias)
    x = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(conv(x), whole(x))
    assert list(conv.state_dict()) == ["weight", "bias"]


def test_depthwise_convolution_refuses_even_kernels() -> None:
    with pytest.raises(ValueError, match="odd kernel size, got 2"):
        DepthwiseConv2d(4, 2)


def test_shifts() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert shift_down(x)[0, 0].tolist() == [[0, 0, 0], [0, 1, 2]]
    assert shift_right(x)[0, 0].tolist() == [[0, 0, 1], [0, 3, 4]]


def test_rms_norm_is_of_a_pixel() -> None:
    norm = RMSNorm(4)
    x = 3 * torch.randn(2, 4, 5, 6)
    expected = x / (x.square().mean(1, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close(norm(x), expected)
    assert seen(norm, 2, 3) == {(2, 3)}


def earlier_or_same(row: int, column: int, width: int) -> set:
    return {divmod(place, width) for place in range(row * width + column + 1)}


@pytest.mark.parametrize("norm", ["rms", "none"])
def test_residual_block_is_causal(norm: str) -> None:
    block = ResidualBlock(4, 3, norm=norm)
    allowed = earlier_or_same(3, 2, 6)
    assert {(2, 1), (2, 2), (2, 3), (3, 1), (3, 2)} == seen(block, 3, 2) <= allowed


def test_residual_block_with_labels_starts_without_telling_them_apart() -> None:
    block = ResidualBlock(4, num_classes=3)
    x, labels = torch.randn(4, 4, 3, 3), torch.arange(4)
    assert torch.equal(block(x, labels), block(x))
    assert block.class_bias is not None
    torch.nn.init.normal_(block.class_bias.embedding.weight)
    assert not torch.allclose(block(x[:1], labels[:1]), block(x[:1], labels[1:2]))


def test_residual_block_drops_features_in_training_only() -> None:
    block = ResidualBlock(8, dropout=0.5)
    x = torch.randn(1, 8, 4, 4)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def random_attention() -> CausalSelfAttention:
    attention = CausalSelfAttention(8, 2)
    torch.nn.init.normal_(attention.out.weight)
    return attention


@pytest.mark.parametrize("place", [(0, 0), (0, 5), (2, 3), (4, 5)])
def test_attention_sees_its_own_pixel_and_all_before(place: tuple[int, int]) -> None:
    assert seen(random_attention(), *place, channels=8) == earlier_or_same(*place, 6)


def test_attention_has_a_key_for_the_first_query() -> None:
    attention = random_attention()
    x = torch.randn(2, 8, 3, 4)
    other = torch.randn(2, 8, 3, 4)
    other[:, :, 0, 0] = x[:, :, 0, 0]
    first = attention(x)[:, :, 0, 0]
    assert first.isfinite().all()
    torch.testing.assert_close(attention(other)[:, :, 0, 0], first)


def test_attention_knows_places() -> None:
    """Of an image with one colour, no two pixels get the same, up to 64 x 64."""
    attention = CausalSelfAttention(8, 2)
    torch.nn.init.normal_(attention.out.weight)
    y = attention(torch.ones(1, 8, 64, 64)).detach()[0].flatten(1).T
    assert len(torch.unique((y * 1e5).round(), dim=0)) == 64 * 64


def test_attention_starts_as_the_identity_and_refuses_heads_that_do_not_divide() -> None:
    x = torch.randn(1, 8, 2, 2)
    assert torch.equal(CausalSelfAttention(8, 4)(x), x)
    with pytest.raises(ValueError, match="divides 8 channels"):
        CausalSelfAttention(8, 3)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
@pytest.mark.parametrize(("as_on_gpu", "compiled"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", [lambda: DownShiftedConv2d(4, 6, (2, 3)), lambda: PointwiseConv2d(4, 6)])
def test_norm_convolution_and_biases_in_fewer_passes(
    monkeypatch: pytest.MonkeyPatch,
    as_on_gpu: bool,
    compiled: bool,
    norm: str,
    classes: int,
    kind: Callable[[], torch.nn.Module],
) -> None:
    """Values and gradients are those of the layers one after another."""
    monkeypatch.setattr(convolved, "_on_gpu", lambda _: as_on_gpu)
    parts = torch.nn.ModuleList([make_norm(norm, 4), kind(), torch.nn.Conv2d(6, 5, 1), ClassBias(classes, 6)]).double()
    for parameter in parts.parameters():
        torch.nn.init.normal_(parameter)
    own_norm, conv, out, by_class = parts
    labels = torch.tensor([0, 2, 1])
    x = torch.randn(3, 4, 5, 7, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    to = torch.randn(3, 5, 5, 7, dtype=torch.float64, requires_grad=True)

    def gradients(y: torch.Tensor) -> list[torch.Tensor | None]:
        return [y, *torch.autograd.grad((y * weights).sum(), [x, to, *parts.parameters()], allow_unused=True)]

    weights = torch.randn(3, 5, 5, 7, dtype=torch.float64)

    def block(to: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        added = by_class(labels) if classes else None
        return plus_pointwise(to, out, F.silu(normed_conv(conv, own_norm, x, added)))

    if compiled:
        torch.compiler.reset()
        block = torch.compile(block, backend="aot_eager", fullgraph=True)
    found = gradients(block(to, x))
    y = conv(own_norm(x)) + by_class(labels) if classes else conv(own_norm(x))
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if compiled else {}  # compiled, RMSNorm is in single precision
    for own, expected in zip(found, gradients(to + out(F.silu(y))), strict=True):
        torch.testing.assert_close(own, expected, **tolerance)


@pytest.mark.parametrize("architecture", ["two_stream", "depthwise"])
def test_on_a_gpu_nothing_is_written_into_a_view(
    tiny: Callable[..., ConditionalPixelCNN], monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    """That takes several copies of the features in the backward pass: half of a step's time, measured once."""
    monkeypatch.setattr(convolved, "_on_gpu", lambda _: True)
    model = tiny((3, 4, 5), 8, 3, architecture=architecture, norm="layer", gate="none")
    loss = model.log_prob(torch.randint(8, (2, 3, 4, 5), dtype=torch.uint8), torch.tensor([0, 2])).mean()
    seen, left = set(), [loss.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left.extend(after for after, _ in node.next_functions)
    names = {node.name() for node in seen}
    assert any("AddBias" in name for name in names)
    assert not any("CopySlices" in name for name in names)
