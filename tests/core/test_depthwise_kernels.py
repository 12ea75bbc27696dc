"""Kernels that train a kernel for each feature: compiled where there is a GPU, elsewhere by Triton's interpreter."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sampled import DEVICE
from torch import Tensor

from pixeltui.commands.naive_training import naive_copy
from pixeltui.core import PixelCNNLoss
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.core.gpu import depthwise, use
from pixeltui.core.layers import LayerNorm

pytestmark = pytest.mark.usefixtures("kernels_on")
HALF = torch.bfloat16 if DEVICE == "cuda" else torch.float16
"""of products: the interpreter's know no bf16"""


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
    assert (either == "torch") == bool(use.given_up)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.015)])
@pytest.mark.parametrize("eps", [None, 1e-5])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize(("channels", "shape"), [(6, (2, 4, 5)), (70, (3, 9, 7))])
def test_with_the_norm_and_in_half_formats(
    either: str,
    dtype: torch.dtype,
    error: float,
    eps: float | None,
    kernel_size: int,
    channels: int,
    shape: tuple[int, int, int],
) -> None:
    """By the norm of the error over that of the result in double precision."""
    torch.manual_seed(0)
    conv = DepthwiseConv2d(channels, kernel_size).to(DEVICE)
    images, height, width = shape
    x = torch.randn(images, channels, height, width, device=DEVICE).to(dtype).requires_grad_()
    weights = torch.randn_like(x)
    found = gradients(conv.on_gpu(x, eps), weights, x, conv)
    assert [one.dtype for one in found] == [dtype, dtype, torch.float32, torch.float32]
    whole, exact = copy.deepcopy(conv).double(), x.detach().double().requires_grad_()
    y = whole(exact)
    y = y if eps is None else LayerNorm(channels, eps).double().to(DEVICE).bare(y)
    for own, other in zip(found, gradients(y, weights.double(), exact, whole), strict=True):
        assert (own.double() - other).norm() <= error * other.norm()
    assert (either == "torch") == bool(use.given_up)


def test_recomputed_and_under_autocast(either: str, tiny: Any) -> None:
    """As a training step has them: the same whether blocks are computed once more or not."""
    options = {"architecture": "depthwise", "norm": "layer", "gate": "none"}
    images, labels, loss = torch.randint(8, (2, 3, 4, 5), dtype=torch.uint8), torch.tensor([0, 2]), PixelCNNLoss()

    def computed(recompute: bool) -> list[Tensor]:
        model = tiny((3, 4, 5), 8, 3, **options).to(DEVICE)
        model.trunk.recompute = recompute
        model.train()
        model.label_dropout = 0.0
        with torch.autocast(DEVICE, HALF):
            nats = loss(model, images.to(DEVICE), labels.to(DEVICE)).nats_per_dim
        return [nats, *torch.autograd.grad(nats, list(model.parameters()), allow_unused=True)]

    for own, other in zip(computed(True), computed(False), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)
    assert (either == "torch") == bool(use.given_up)


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
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # asked by it, which hides it
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
    assert not use.given_up


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("CUDA error: an illegal memory access was encountered", torch.AcceleratorError),
        ("CUDA error: out of memory", torch.OutOfMemoryError),
    ],
)
def test_nor_is_a_device_that_failed(monkeypatch: pytest.MonkeyPatch, said: str, raised: type[Exception]) -> None:
    def fails() -> None:
        raise torch.AcceleratorError(said)

    monkeypatch.setattr(use, "given_up", {})
    with pytest.raises(raised, match=said):
        use.tried("a kernel", torch.device("cpu"), fails)
    assert not use.given_up
