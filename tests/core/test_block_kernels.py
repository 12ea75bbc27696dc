"""Kernels of a whole block of depthwise kernels: compiled where there is a GPU, else by the interpreter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from operations import Nowhere, graphs_of
from sampled import DEVICE
from torch import Tensor

from pixeltui.core import PixelCNNLoss
from pixeltui.core.gpu import block, feed_forward, use

pytestmark = pytest.mark.usefixtures("kernels_on")
HALVES = (torch.float16, torch.bfloat16) if DEVICE == "cuda" else (torch.float16,)
"""the interpreter's products know no bf16"""
SMALL = use.ProductTile(32, 16, 16, 1, 2)
EPS = 1e-5


def taps_of(kernel_size: int) -> int:
    half = kernel_size // 2
    return half * kernel_size + half + 1


def drawn(
    shape: tuple[int, int, int], channels: int, inside: int, dtype: torch.dtype, kernel_size: int = 3
) -> list[Tensor]:
    """x, taps and their bias, into, its bias, out, its bias, and the gradient of the result."""
    generator = torch.Generator().manual_seed(0)
    batch, height, width = shape
    image, features = (batch, height, width, channels), (taps_of(kernel_size), channels)
    weights = (inside, channels), (inside,), (channels, inside), (channels,)
    tensors = [torch.randn(size, generator=generator) for size in (image, features, (channels,), *weights, image)]
    tensors[3] /= channels**0.5
    tensors[5] /= inside**0.5
    formats = [dtype, torch.float32, torch.float32, dtype, torch.float32, dtype, torch.float32, dtype]
    tensors = [x.to(DEVICE, kind) for x, kind in zip(tensors, formats, strict=True)]
    for each in (0, -1):
        tensors[each] = tensors[each].permute(0, 3, 1, 2)
    return [x.requires_grad_() for x in tensors]


def computed_by(inputs: list[Tensor], kernel_size: int = 3) -> Tensor:
    x, taps, bias, *products = inputs
    return block.block(x, taps, bias, kernel_size, EPS, *products)


def with_gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return [y, *torch.autograd.grad(y, inputs[:-1], inputs[-1])]


def defined(inputs: list[Tensor], kernel_size: int) -> Tensor:
    """The same in double precision, as a block is defined."""
    x, taps, bias, into, into_bias, out, out_bias = inputs
    half, channels = kernel_size // 2, x.shape[1]
    kernel = F.pad(taps.t(), (0, (half + 1) * kernel_size - len(taps))).reshape(channels, 1, half + 1, kernel_size)
    y = F.conv2d(F.pad(x, (half, half, half, 0)), kernel, bias, groups=channels).movedim(1, -1)
    y = F.layer_norm(y, (channels,), eps=EPS)
    return x + F.linear(F.silu(F.linear(y, into, into_bias)), out, out_bias).movedim(-1, 1)


SIZES = [((2, 7, 5), 24, 50), ((1, 1, 1), 16, 16), ((1, 8, 8), 32, 128), ((3, 10, 10), 7, 28), ((1, 5, 5), 64, 100)]


@pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS")  # where a gradient's thread begins with a product
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tiles", ["small", "own"])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_values_and_gradients_are_those_of_double_precision(
    either: str,
    size: tuple[tuple[int, int, int], int, int],
    dtype: torch.dtype,
    tiles: str,
    kernel_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the norm of the error over that of the result: sizes that fill tiles, and that do not."""
    if tiles == "small":
        monkeypatch.setattr(feed_forward, "TILE", SMALL)
        monkeypatch.setattr(feed_forward, "OTHER_TILE", SMALL)
    inputs = drawn(*size, dtype, kernel_size)
    found = with_gradients(computed_by(inputs[:-1], kernel_size), inputs)
    assert [one.dtype for one in found] == [dtype, *(x.dtype for x in inputs[:-1])]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    error = 0.002 if dtype == torch.float16 else 0.015
    for own, other in zip(found, with_gradients(defined(exact[:-1], kernel_size), exact), strict=True):
        assert (own.double() - other).norm() <= error * other.norm() + 1e-12
    assert (either == "torch") == bool(use.given_up)


@pytest.mark.parametrize("turned", [False, True])
def test_torch_knows_the_operations(either: str, turned: bool) -> None:
    """Shapes without values, and gradients, as a compiler asks for them; turned: an image plane by plane."""
    x, taps, bias, *products = (x.detach() for x in drawn((2, 3, 2), 16, 32, torch.float16)[:-1])
    x = x.contiguous() if turned else x
    inputs = (x, taps, bias, 3, EPS, *products)
    inputs = tuple(x.requires_grad_() if isinstance(x, Tensor) else x for x in inputs)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(torch.ops.pixeltui.depthwise_block.default, inputs, test_utils=tests)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
def test_batches_of_any_size_are_compiled_once() -> None:
    calls = []
    for images in (3, 5, 7):
        x, taps, bias, *products = (x.detach() for x in drawn((images, 2, 2), 16, 32, torch.float16)[:-1])
        calls.append((x, taps, bias, 3, EPS, *products))
    assert graphs_of(block.block, calls) == 1


def test_memory_in_any_order(either: str) -> None:
    """Views that are not contiguous, biases too."""
    inputs = [x.detach() for x in drawn((1, 3, 4), 16, 32, torch.float16)[:-1]]
    views = [torch.stack([x, x], dim=-1)[..., 0] for x in inputs]
    assert torch.equal(computed_by(views), computed_by(inputs))
    assert (either == "torch") == bool(use.given_up)


def test_a_result_that_nothing_hangs_on_has_no_gradient(either: str) -> None:
    inputs = drawn((1, 3, 4), 16, 32, torch.float16)[:-1]
    Nowhere.apply(computed_by(inputs)).backward()  # type: ignore[no-untyped-call]
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
    """What the blocks gave to `block`."""
    found: list[Tensor] = []
    own = block.block
    monkeypatch.setattr(block, "block", lambda x, *rest: (found.append(x), own(x, *rest))[1])
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
    for each in model.trunk.blocks:
        each.into.bias = None
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


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # asked by it, which hides it
def test_nothing_is_copied_between_the_blocks_of_a_compiled_model(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features and their gradients come with a pixel's numbers together, the head's too."""
    torch.compiler.reset()
    found: list[bool] = []
    own = block.rows_of
    monkeypatch.setattr(block, "rows_of", lambda x: (found.append(own(x).data_ptr() == x.data_ptr()), own(x))[1])
    model = tiny((3, 4, 5), 8, **OPTIONS | {"linear_skip": 4}).to(DEVICE).train()
    model.compile(backend="aot_eager")
    images = torch.randint(8, (2, 3, 4, 5), dtype=torch.uint8).to(DEVICE)
    with torch.autocast(DEVICE, torch.float16):
        nats = PixelCNNLoss()(model, images).nats_per_dim
    nats.backward()
    assert len(found) == 8
    assert all(found)
