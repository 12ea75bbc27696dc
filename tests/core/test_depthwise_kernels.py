"""Kernels that train a kernel for each feature: compiled where there is a GPU, elsewhere by Triton's interpreter."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.commands.naive_training import naive_copy
from pixeltui.core import PixelCNNLoss
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.core.gpu import depthwise, pixels
from pixeltui.core.layers import LayerNorm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "ON", True)
    monkeypatch.setattr(pixels, "THERE", True)
    monkeypatch.setattr(pixels, "compiles_for", lambda _: True)
    monkeypatch.setattr(depthwise, "broken", set())


@pytest.fixture(params=["kernels", "torch"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By the kernels, or by what takes their place where they cannot be compiled."""
    if request.param == "kernels":
        pytest.importorskip("triton")
    else:

        def raises() -> Any:
            raise RuntimeError("no compiler")

        monkeypatch.setattr(depthwise, "kernels", raises)
    return request.param


def gradients(y: Tensor, weights: Tensor, x: Tensor, conv: DepthwiseConv2d) -> list[Tensor]:
    return [y, *torch.autograd.grad((y * weights).sum(), [x, conv.weight, conv.bias])]


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize(("channels", "shape"), [(5, (2, 4, 5)), (70, (1, 3, 4)), (3, (3, 17, 19)), (1, (1, 1, 1))])
def test_sums_and_gradients_are_those_of_a_masked_convolution(
    either: str, kernel_size: int, channels: int, shape: tuple[int, int, int]
) -> None:
    """Features in parts, taps in groups, pixels that do not fill the last tile."""
    torch.manual_seed(0)
    conv = DepthwiseConv2d(channels, kernel_size).to(DEVICE)
    images, height, width = shape
    x = torch.randn(images, channels, height, width, device=DEVICE, requires_grad=True)
    weights = torch.randn_like(x)
    found = gradients(conv(x), weights, x, conv)
    half = kernel_size // 2
    padded = F.pad(x, (half, half, half, 0))
    expected = F.conv2d(padded, conv.weight * conv.mask, conv.bias, groups=channels)
    for own, other in zip(found, gradients(expected, weights, x, conv), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
    assert (either == "torch") == bool(depthwise.broken)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize(("channels", "shape"), [(6, (2, 4, 5)), (70, (3, 9, 7))])
def test_the_norm_behind_them_and_its_gradients(
    either: str, kernel_size: int, channels: int, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    conv = DepthwiseConv2d(channels, kernel_size).to(DEVICE)
    images, height, width = shape
    x = torch.randn(images, channels, height, width, device=DEVICE, requires_grad=True)
    weights = torch.randn_like(x)
    found = gradients(conv.on_gpu(x, 1e-5), weights, x, conv)
    expected = gradients(LayerNorm(channels).to(DEVICE).bare(conv(x)), weights, x, conv)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
    assert (either == "torch") == bool(depthwise.broken)


def test_half_formats_are_summed_in_single_precision(either: str) -> None:
    torch.manual_seed(0)
    conv = DepthwiseConv2d(6, 3).to(DEVICE)
    x = torch.randn(2, 6, 5, 4, device=DEVICE)
    half = x.bfloat16().requires_grad_()
    found = gradients(conv(half), torch.ones_like(half), half, conv)
    whole = half.detach().float().requires_grad_()
    expected = gradients(conv(whole), torch.ones_like(whole), whole, conv)
    assert [own.dtype for own in found] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own.float(), other, rtol=1e-2, atol=1e-2)


def test_other_formats_and_memory_in_another_order(either: str) -> None:
    """float64, which the kernels do not know; a gradient without features together, as a sum's."""
    conv = DepthwiseConv2d(4, 3).to(DEVICE)
    x = torch.randn(2, 4, 5, 6, device=DEVICE)
    expected = conv(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(conv(x.contiguous()), expected)
    torch.testing.assert_close(conv.double()(x.double()).float(), expected, rtol=1e-4, atol=1e-5)
    x = x.requires_grad_()
    conv.float()(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[:, :, -1, -1], conv.weight[:, 0, -1, 1].expand(2, -1))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
def test_a_compiled_model_has_the_same_gradients(tiny: Any) -> None:
    torch.backends.cudnn.allow_tf32 = False
    model = tiny((3, 4, 5), 8, 3, architecture="depthwise", norm="layer", gate="none").to(DEVICE)
    images = torch.randint(8, (2, 3, 4, 5), dtype=torch.uint8, device=DEVICE)
    labels, loss = torch.tensor([0, 2], device=DEVICE), PixelCNNLoss()

    def computed() -> list[Tensor]:
        nats = loss(model, images, labels).nats_per_dim
        return [nats, *torch.autograd.grad(nats, list(model.parameters()), allow_unused=True)]

    model.eval()
    expected = computed()
    torch.compiler.reset()
    model.compile(backend="aot_eager", fullgraph=True)
    for own, other in zip(computed(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_another_convolution_in_their_place_is_let_be(tiny: Any) -> None:
    """As in the naive network that training is measured against."""
    model = tiny((3, 4, 5), 8, 3, architecture="depthwise", norm="layer", gate="none").to(DEVICE)
    images, labels = torch.randint(8, (2, 3, 4, 5), dtype=torch.uint8, device=DEVICE), torch.tensor([0, 2])
    expected = model.log_prob(images, labels.to(DEVICE))
    naive = naive_copy(model)
    torch.testing.assert_close(naive.log_prob(images, labels.to(DEVICE)), expected, rtol=1e-3, atol=1e-4)


def test_memory_that_runs_out_is_not_taken_for_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(depthwise, "_sums", short)
    with pytest.raises(torch.OutOfMemoryError):
        DepthwiseConv2d(4, 3).to(DEVICE)(torch.randn(1, 4, 2, 2, device=DEVICE))
    assert not depthwise.broken
