"""Kernels of two 1x1 convolutions and what is between them: compiled where there is a GPU, else by the interpreter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sampled import DEVICE
from torch import Tensor

from pixeltui.core import PixelCNNLoss
from pixeltui.core.gpu import feed_forward, use

pytestmark = pytest.mark.usefixtures("kernels_on")
HALVES = (torch.float16, torch.bfloat16) if DEVICE == "cuda" else (torch.float16,)
"""the interpreter's products know no bf16"""
SMALL = use.ProductTile(32, 16, 16, 1, 2)


def drawn(pixels: int, channels: int, inside: int, dtype: torch.dtype) -> list[Tensor]:
    """x, to, into, its bias, out, its bias, and the gradient of the result."""
    generator = torch.Generator().manual_seed(0)
    shapes = (pixels, channels), (pixels, channels), (inside, channels), (inside,), (channels, inside), (channels,)
    tensors = [torch.randn(shape, generator=generator) for shape in (*shapes, (pixels, channels))]
    tensors[2] /= channels**0.5
    tensors[4] /= inside**0.5
    return [x.to(DEVICE, torch.float32 if x.dim() == 1 else dtype).requires_grad_() for x in tensors]


def with_gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return [y, *torch.autograd.grad(y, inputs[:-1], inputs[-1])]


SIZES = [(70, 24, 50), (1, 16, 16), (64, 32, 128), (300, 7, 28)]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tiles", ["small", "own"])
def test_values_and_gradients_are_those_of_double_precision(
    either: str, size: tuple[int, int, int], dtype: torch.dtype, tiles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the norm of the error over that of the result: sizes that fill tiles, and that do not."""
    if tiles == "small":
        monkeypatch.setattr(feed_forward, "TILE", SMALL)
    inputs = drawn(*size, dtype)
    found = with_gradients(feed_forward.feed_forward(*inputs[:-1]), inputs)
    assert [one.dtype for one in found] == [dtype, *(x.dtype for x in inputs[:-1])]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    x, to, into, into_bias, out, out_bias, _ = exact
    y = to + F.linear(F.silu(F.linear(x, into, into_bias)), out, out_bias)
    error = 0.002 if dtype == torch.float16 else 0.015
    for own, other in zip(found, with_gradients(y, exact), strict=True):
        assert (own.double() - other).norm() <= error * other.norm()
    assert (either == "torch") == bool(use.failures)


@pytest.mark.parametrize("turned", [False, True])
def test_torch_knows_the_operations(either: str, turned: bool) -> None:
    """Shapes without values, and gradients, as a compiler asks for them; turned: features of one image, as they lie."""
    inputs = [x.detach() for x in drawn(12, 16, 32, torch.float16)]
    if turned:
        inputs[:2] = (x.t().contiguous().t() for x in inputs[:2])
    inputs = [x.requires_grad_() for x in inputs]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(torch.ops.pixeltui.feed_forward.default, tuple(inputs[:-1]), test_utils=tests)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
def test_batches_of_any_size_are_compiled_once() -> None:
    torch.compiler.reset()
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(feed_forward.feed_forward, backend=backend, dynamic=True, fullgraph=True)
    for pixels in (12, 20, 28):
        inputs = [x.detach() for x in drawn(pixels, 16, 32, torch.float16)[:-1]]
        torch.testing.assert_close(compiled(*inputs), feed_forward.feed_forward(*inputs))
    assert len(graphs) == 1


def test_memory_in_any_order(either: str) -> None:
    """Views that are not contiguous, biases too."""
    inputs = [x.detach() for x in drawn(12, 16, 32, torch.float16)[:-1]]
    views = [torch.stack([x, x], dim=-1)[..., 0] for x in inputs]
    assert torch.equal(feed_forward.feed_forward(*views), feed_forward.feed_forward(*inputs))
    assert (either == "torch") == bool(use.failures)


def test_a_result_that_nothing_hangs_on_has_no_gradient(either: str) -> None:
    class Nowhere(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            return x.sum()

        @staticmethod
        def backward(_: Any, *__: Any) -> None:
            return None

    inputs = drawn(12, 16, 32, torch.float16)[:-1]
    Nowhere.apply(feed_forward.feed_forward(*inputs)).backward()  # type: ignore[no-untyped-call]
    assert all(x.grad is None or not x.grad.any() for x in inputs)


OPTIONS: dict[str, Any] = {"architecture": "depthwise", "norm": "layer", "gate": "none"}


@pytest.fixture
def computed(tiny: Any) -> Callable[..., list[Tensor]]:
    """Loss and gradients of a training step in a half format."""
    images = torch.randint(8, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    labels, loss = torch.tensor([0, 2], device=DEVICE), PixelCNNLoss()

    def compute(*, recompute: bool = False, **options: Any) -> list[Tensor]:
        model = tiny((3, 4, 5), 8, 3, **OPTIONS | options).to(DEVICE)
        model.trunk.recompute = recompute
        model.train()
        with torch.autocast(DEVICE, torch.float16):
            nats = loss(model, images, labels).nats_per_dim
        return [nats, *torch.autograd.grad(nats, list(model.parameters()), allow_unused=True)]

    return compute


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the blocks gave to `feed_forward`."""
    found: list[Tensor] = []
    own = feed_forward.feed_forward
    monkeypatch.setattr(feed_forward, "feed_forward", lambda x, *rest: (found.append(x), own(x, *rest))[1])
    return found


def test_a_model_has_the_gradients_that_it_has_without(
    either: str, computed: Callable[..., list[Tensor]], calls: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = computed()
    assert len(calls) == 2
    for own, other in zip(computed(recompute=True), found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(use, "ON", False)
    for own, other in zip(found, computed(), strict=True):
        assert (own - other).norm() <= 0.02 * other.norm() + 1e-4


def test_blocks_without_a_bias_are_let_be(tiny: Any, calls: list[Tensor]) -> None:
    pytest.importorskip("triton")
    model = tiny((3, 4, 5), 8, **OPTIONS).to(DEVICE)
    for block in model.trunk.blocks:
        block.into.bias = None
    with torch.autocast(DEVICE, torch.float16):
        features = model.trunk(torch.randn(2, 3, 4, 5, device=DEVICE), None)
    assert bool(features.isfinite().all())
    assert not calls


@pytest.mark.parametrize("options", [{"gate": "tanh"}, {"dropout": 0.3}, {"norm": "none"}], ids=str)
def test_other_blocks_are_let_be(
    computed: Callable[..., list[Tensor]], calls: list[Tensor], options: dict[str, Any]
) -> None:
    pytest.importorskip("triton")
    assert all(bool(x.isfinite().all()) for x in computed(**options))
    assert not calls
