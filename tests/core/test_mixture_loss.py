"""Kernels of a mixture's loss: compiled where there is a GPU, else by Triton's interpreter; and what they read."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from operations import Nowhere, graphs_of
from sampled import DEVICE
from torch import Tensor

from pixeltui.core import PixelCNNLoss
from pixeltui.core.gpu import mixture_loss, use
from pixeltui.core.heads import dmol_loss
from pixeltui.core.heads.logistic import SHARPEST, WIDEST
from pixeltui.core.planes import PlanesConv2d, sum_of

pytestmark = pytest.mark.usefixtures("kernels_on")
LEVELS = 256
BOUNDS = 1 / (LEVELS - 1), math.log(2 / (LEVELS - 1)) + SHARPEST, WIDEST


def drawn(channels: int, mixtures: int, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters, those of some images saturated, an image, some with levels at the ends alone, and the gradient."""
    generator = torch.Generator().manual_seed(0)
    images, height, width = size
    n = 1 + 2 * channels + channels * (channels - 1) // 2
    params = torch.randn(images, mixtures, n, height, width, generator=generator)
    params[:, :, 1 + channels : 1 + 2 * channels] -= 3
    levels = torch.randint(LEVELS, (images, channels, height, width), generator=generator)
    if images > 3:
        levels[0], levels[1] = 0, LEVELS - 1
        params[1:3] *= 30
        params[3, :, 1 + channels : 1 + 2 * channels, :, ::2] += 12  # beyond the widest
    grad = torch.randn(images, height, width, generator=generator)
    x = levels.float() * (2 / (LEVELS - 1)) - 1
    return params.flatten(1, 2).to(DEVICE).requires_grad_(), x.to(DEVICE), grad.to(DEVICE)


def with_gradient(score: Callable[..., Tensor], params: Tensor, x: Tensor, grad: Tensor, mixtures: int) -> list[Tensor]:
    logp = score(params, x, mixtures, *BOUNDS)
    return [logp, *torch.autograd.grad(logp, params, grad)]


SIZES = [(4, 5, 7), (4, 8, 8), (1, 1, 1), (6, 1, 43)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("channels", "mixtures"), [(2, 1), (2, 12), (3, 5), (3, 20), (4, 1), (4, 5)])
def test_values_and_gradients_are_those_of_double_precision(
    either: str, channels: int, mixtures: int, size: tuple[int, int, int]
) -> None:
    """By the norm of the error over that of the result, of each image: pixels and components that fill
    programs, and that do not."""
    params, x, grad = drawn(channels, mixtures, size)
    found = with_gradient(mixture_loss.log_prob, params, x, grad, mixtures)
    exact = params.detach().double().requires_grad_()
    expected = with_gradient(dmol_loss.log_prob, exact, x.double(), grad.double(), mixtures)
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == torch.float32
        assert own.is_contiguous()
        error, whole = (own.double() - other).flatten(1).norm(dim=1), other.flatten(1).norm(dim=1)
        assert bool((error <= 1e-4 * whole).all()), error / whole
    assert (either == "torch") == bool(use.given_up)


def test_what_is_beyond_the_widest_has_no_gradient(either: str) -> None:
    params, x, grad = drawn(3, 5, (4, 4, 5))
    gradient = with_gradient(mixture_loss.log_prob, params, x, grad, 5)[1].unflatten(1, (5, -1))
    scales = params.unflatten(1, (5, -1))[:, :, 4:7]
    assert not gradient[:, :, 4:7][scales > WIDEST + 0.1].any()
    assert bool((gradient[:, :, 4:7][scales < 0] != 0).any())


@pytest.mark.parametrize("value", [-1e30, -1e4, -200.0, 200.0, 1e4, 1e30])
@pytest.mark.parametrize("kind", range(4))
def test_extreme_parameters_stay_finite(either: str, value: float, kind: int) -> None:
    """kind: logits, means, log-scales or coefficients of every other component."""
    params, x, grad = drawn(3, 4, (4, 2, 3))
    edges = 0, 1, 4, 7, 10
    with torch.no_grad():
        params.unflatten(1, (4, -1))[:, ::2, edges[kind] : edges[kind + 1]] = value
    found = with_gradient(mixture_loss.log_prob, params, x, grad, 4)
    assert all(bool(one.isfinite().all()) for one in found)


def test_torch_knows_the_operation(either: str) -> None:
    """Shapes without values, and gradients, as a compiler asks for them."""
    params, x, _ = drawn(3, 2, (4, 4, 5))
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    for memory_format in (torch.contiguous_format, torch.channels_last):
        lying = params.detach().contiguous(memory_format=memory_format).requires_grad_()
        operation = torch.ops.pixeltui.mixture_log_prob.default
        torch.library.opcheck(operation, (lying, x, 2, *BOUNDS), test_utils=tests)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
def test_batches_of_any_size_are_compiled_once() -> None:
    drawings = (drawn(3, 2, (images, 4, 5)) for images in (2, 3, 5))
    calls = [(params.detach(), x, 2, *BOUNDS) for params, x, _ in drawings]
    assert graphs_of(mixture_loss.log_prob, calls) == 1


def test_memory_in_any_order(either: str) -> None:
    """Pixel by pixel, and the gradient of a mean, which is one number."""
    params, x, _ = drawn(3, 5, (4, 4, 5))
    turned = params.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    views = turned, torch.stack([x, x], dim=-1)[..., 0]
    found, expected = (mixture_loss.log_prob(*each, 5, *BOUNDS) for each in (views, (params, x)))
    assert torch.equal(found, expected)
    found.mean().backward()
    expected.mean().backward()
    assert turned.grad is not None
    assert params.grad is not None
    assert torch.equal(turned.grad, params.grad)
    assert (either == "torch") == bool(use.given_up)


def test_a_result_that_nothing_hangs_on_has_no_gradient(either: str) -> None:
    params, x, _ = drawn(3, 2, (2, 4, 5))
    Nowhere.apply(mixture_loss.log_prob(params, x, 2, *BOUNDS)).backward()  # type: ignore[no-untyped-call]
    assert params.grad is None or not params.grad.any()


@pytest.fixture
def computed(tiny: Any) -> Callable[..., list[Tensor]]:
    """Loss and gradients of a training step in a half format; of enough pixels for what it rounds to even out."""

    def compute(channels: int = 3, *, compiled: bool = False, **options: Any) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(8, (16, channels, 8, 9), dtype=torch.uint8, generator=generator).to(DEVICE)
        model = tiny((channels, 8, 9), 8, **{"architecture": "depthwise", "norm": "layer", "gate": "none"} | options)
        model = model.to(DEVICE).train()
        if compiled:
            torch.nn.Module.compile(model, backend="aot_eager", fullgraph=True)
        with torch.autocast(DEVICE, torch.float16):
            nats = PixelCNNLoss()(model, images).nats_per_dim
        return [nats, *torch.autograd.grad(nats, list(model.parameters()), allow_unused=True)]

    return compute


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The parameters that the head gave to `log_prob`."""
    found: list[Tensor] = []
    own = mixture_loss.log_prob
    monkeypatch.setattr(mixture_loss, "log_prob", lambda x, *rest: (found.append(x), own(x, *rest))[1])
    return found


@pytest.mark.parametrize("linear_skip", [0, 4])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_model_has_the_gradients_that_it_has_without(
    either: str,
    computed: Callable[..., list[Tensor]],
    calls: list[Tensor],
    channels: int,
    linear_skip: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = computed(channels, linear_skip=linear_skip)
    assert [(params.dtype, params.is_contiguous()) for params in calls] == [(torch.float32, True)]
    monkeypatch.setattr(use, "ON", False)
    for own, other in zip(found, computed(channels, linear_skip=linear_skip), strict=True):
        assert own.dtype == other.dtype
        assert (own - other).norm() <= 0.02 * other.norm() + 1e-4


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # asked by it, which hides it
def test_a_compiled_model_has_the_same_gradients(either: str, computed: Callable[..., list[Tensor]]) -> None:
    torch.compiler.reset()
    for own, other in zip(computed(compiled=True), computed(), strict=True):
        assert (own - other).norm() <= 0.02 * other.norm() + 1e-4


@pytest.mark.parametrize(("channels", "options"), [(1, {}), (3, {"channel_autoregressive": False})], ids=str)
def test_other_mixtures_are_let_be(
    computed: Callable[..., list[Tensor]], calls: list[Tensor], channels: int, options: dict[str, Any]
) -> None:
    pytest.importorskip("triton")
    assert all(bool(x.isfinite().all()) for x in computed(channels, **options))
    assert not calls


def test_more_channels_and_other_formats_are_let_be() -> None:
    params, x, _ = drawn(5, 2, (1, 2, 2))
    assert not mixture_loss.usable(params, x)
    params, x, _ = drawn(4, 2, (1, 2, 2))
    assert mixture_loss.usable(params, x)
    assert not mixture_loss.usable(params.double(), x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(3, 4, 5), (1, 4, 5), (3, 1, 1), (0, 4, 5)], ids=str)
@pytest.mark.parametrize("compiling", [False, True])
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
def test_parameters_come_plane_by_plane(
    size: tuple[int, int, int], memory_format: torch.memory_format, compiling: bool
) -> None:
    """Of two convolutions' features, as one product; the gradients are theirs, and lie as the features do."""
    images, *image = size
    torch.manual_seed(0)
    one, other = (PlanesConv2d(*sizes, bias=bias).to(DEVICE).double() for *sizes, bias in ((6, 5, True), (3, 5, False)))
    x, y = (torch.randn(images, d, *image, device=DEVICE, dtype=torch.float64) for d in (6, 3))
    x, y = (t.contiguous(memory_format=memory_format).requires_grad_() for t in (x, y))
    weights = torch.randn(images, 5, *image, device=DEVICE, dtype=torch.float64)

    def with_gradients(result: Tensor) -> list[Tensor]:
        inputs = [x, y, *one.parameters(), *other.parameters()]
        return [result, *torch.autograd.grad((result * weights).sum(), inputs)]

    plus = sum_of
    if compiling:
        torch.compiler.reset()
        plus = torch.compile(plus, backend="eager", fullgraph=True)
    found = with_gradients(plus(one, x, other, y))
    expected = F.conv2d(x, one.weight, one.bias) + F.conv2d(y, other.weight)
    for own, its in zip(found, with_gradients(expected), strict=True):
        torch.testing.assert_close(own, its)
    assert found[0].is_contiguous()


def test_who_watches_the_convolutions_sees_both(tiny: Any) -> None:
    """As an inspection does."""
    model = tiny((3, 4, 5), 8, architecture="depthwise").to(DEVICE)
    features, seen = torch.randn(2, model.trunk.channels, 4, 5, device=DEVICE), []
    alone = model.head(features, None)
    for conv in (model.head.out, model.head.near):
        conv.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    torch.testing.assert_close(model.head(features, None), alone, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(seen[0] + seen[1], alone, rtol=1e-3, atol=1e-3)
