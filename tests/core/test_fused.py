"""The written-out gradients against autograd's, and the half format against what it can keep."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pixeltui.core.fused import rms_norm, tanh_gate

EPS = 1e-5


def plain_gate(x: Tensor, weight: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


def plain_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPS) * weight[:, None, None]


def fused_gate(x: Tensor, weight: Tensor) -> Tensor:
    return tanh_gate(x)


def fused_norm(x: Tensor, weight: Tensor) -> Tensor:
    return rms_norm(x, weight, EPS)


PAIRS = pytest.mark.parametrize(("fused", "plain"), [(fused_gate, plain_gate), (fused_norm, plain_norm)])
Function = Callable[[Tensor, Tensor], Tensor]


def inputs(scale: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.randn(2, 6, 5, 4, generator=generator, dtype=torch.float64)
    return x, 1 + 0.3 * torch.randn(6, generator=generator, dtype=torch.float64), torch.randn(2, 6, 5, 4).double()


def results(function: Function, x: Tensor, weight: Tensor, grad: Tensor) -> list[Tensor]:
    """The output, and the gradients of x and, where there is one, of the weight."""
    x, weight = x.clone(memory_format=torch.preserve_format).requires_grad_(), weight.clone().requires_grad_()
    out = function(x, weight)
    out.backward(grad[:, : out.shape[1]].to(out.dtype))
    return [tensor for tensor in (out.detach(), x.grad, weight.grad) if tensor is not None]


@PAIRS
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_same_values_and_gradients_as_autograd(fused: Function, plain: Function, layout: torch.memory_format) -> None:
    x, weight, grad = inputs()
    x = x.contiguous(memory_format=layout)
    for one, other in zip(results(fused, x, weight, grad), results(plain, x, weight, grad), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    single = results(fused, x.float(), weight.float(), grad)
    for one, other in zip(single, results(plain, x, weight, grad), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


@PAIRS
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_bf16_is_as_exact_as_bf16_can_be(fused: Function, plain: Function, scale: float) -> None:
    """Small features keep their relative precision: 0.002 is not rounded to the grid of numbers around 1."""
    x, weight, grad = inputs(scale)
    x, grad = x.bfloat16(), grad.bfloat16()
    found = results(fused, x, weight.float(), grad)
    exact = results(plain, x.double(), weight, grad.double())
    assert ((found[0].double() - exact[0]).abs() <= 2**-6 * exact[0].abs()).all()
    for one, other in zip(found, exact, strict=True):
        assert (one.double() - other).square().mean().sqrt() <= 0.01 * other.square().mean().sqrt()
    assert found[0].dtype == found[1].dtype == torch.bfloat16


@PAIRS
def test_a_compiler_sees_the_plain_formula(fused: Function, plain: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x, weight, grad = inputs()
    for one, other in zip(results(fused, x, weight, grad), results(plain, x, weight, grad), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
