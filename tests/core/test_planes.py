"""1x1 convolutions whose result lies plane by plane, and gradients that lie as what they are of."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN, PixelCNNLoss
from pixeltui.core.planes import PlanesConv2d, last_features

Tiny = Callable[..., ConditionalPixelCNN]
LAST = torch.channels_last


def lies(x: Tensor) -> tuple[bool, bool]:
    """Plane by plane; the features of a pixel together."""
    return x.is_contiguous(), x.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, LAST])
@pytest.mark.parametrize("images", [0, 1, 3])
def test_it_is_a_convolution(bias: bool, memory_format: torch.memory_format, images: int) -> None:
    conv = PlanesConv2d(6, 5, bias=bias).double()
    x = torch.randn(images, 6, 4, 7, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn(images, 5, 4, 7, dtype=torch.float64)

    def with_gradients(y: Tensor) -> list[Tensor]:
        return [y, *torch.autograd.grad((y * weights).sum(), [x, *conv.parameters()])]

    found = with_gradients(conv(x))
    for own, other in zip(found, with_gradients(F.conv2d(x, conv.weight, conv.bias)), strict=True):
        torch.testing.assert_close(own, other)
    if images > 1:
        assert lies(found[0]) == (True, False)
        assert lies(found[1]) == (False, True)


def test_a_gradient_is_fp32_whatever_autocast_says() -> None:
    conv, x = PlanesConv2d(300, 2), torch.randn(2, 300, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        conv(x).square().sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, conv.weight, conv.bias).square().sum(), [conv.weight])[0]
    assert conv.weight.grad is not None
    torch.testing.assert_close(conv.weight.grad, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, LAST])
def test_the_gradient_of_the_last_features_lies_as_all_do(memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 5, 3, 4).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn(2, 2, 3, 4)
    gradient = torch.autograd.grad((last_features(x, 2) * weights).sum(), x)[0]
    assert gradient.stride() == x.stride()
    assert torch.equal(gradient[:, 3:], weights)
    assert not gradient[:, :3].any()


@pytest.mark.parametrize("architecture", ["depthwise", "single_stack", "two_stream"])
def test_the_gradients_of_features_lie_as_these_do(tiny: Tiny, architecture: str) -> None:
    """Where one does not, all blocks before it reorder what they get: a third of a small model's step."""
    model = tiny((3, 6, 5), 8, architecture=architecture, head="dmol", norm="layer", gate="none").train()
    found: list[Tensor] = []

    def watch(_module: torch.nn.Module, _inputs: object, features: Tensor) -> None:
        features.register_hook(found.append)

    model.trunk.register_forward_hook(watch)
    images = torch.randint(8, (3, 3, 6, 5), dtype=torch.uint8)
    PixelCNNLoss()(model, images).backward()
    assert [lies(gradient) for gradient in found] == [(False, True)]
