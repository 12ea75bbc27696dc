"""Proof that no sub-pixel hangs on a later one, and that every earlier one counts, for every part there is."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from leaks import check, flat, image, moves
from sampled import Fast
from torch import Tensor

from pixeltui import registry
from pixeltui.core import CausalSelfAttention, ConditionalPixelCNN, PixelCNNLoss

PARTS = [
    pytest.param(
        {"architecture": a, "head": h, "channel_autoregressive": r, "norm": n, "attention": t, "shape": (c, 4, 5)}
        # Features that grow, and heads that take them as they are, go beyond what single precision resolves.
        | ({"seed": 9} if a == "depthwise" else {})  # so that no unit of a head is dead at any pixel
        | ({"std": 0.2} if n not in ("batch", "layer", "rms") or h not in Fast.HEADS else {}),
        id=f"{a}-{h}-{'ordered' if r else 'independent'}-{n}-{'attention' if t else 'plain'}-{c}",
    )
    for a, h, r, n, t, c in itertools.product(
        registry.ARCHITECTURES, registry.HEADS, (True, False), registry.NORMS, (False, True), (1, 3)
    )
]
PARTS += [
    pytest.param(
        {"architecture": a, "head": "dmol", "channel_autoregressive": True, "norm": "layer", "gate": g, "std": 0.25}
        | {"attention": False, "shape": (3, 4, 5), "linear_skip": s},
        id=f"{a}-gate-{g}-skip-{s}",
    )
    for a, g, s in itertools.product(registry.ARCHITECTURES, registry.GATES, (0, 5))
]
Tiny = Callable[..., ConditionalPixelCNN]


@pytest.mark.parametrize("parts", PARTS)
def test_no_log_probability_moves_with_a_later_sub_pixel_and_the_next_ones_do(
    tiny: Tiny, parts: dict[str, Any]
) -> None:
    model = tiny(levels=6, num_classes=3, **parts)
    if parts["head"] in Fast.HEADS:
        assert model.head.in_order == (parts["channel_autoregressive"] and model.image_shape[0] > 1)
    check(model, moves(model), in_order=model.head.in_order, least=1e-9)


@pytest.mark.parametrize("parts", [p for p in PARTS if p.values[0]["norm"] != "batch"])
def test_gradients_reach_earlier_sub_pixels_only_in_training_mode_too(tiny: Tiny, parts: dict[str, Any]) -> None:
    model = tiny(levels=6, num_classes=3, **parts).train()
    c, h, w = model.image_shape
    size = c * h * w
    x = image(model).float() / 2.5 - 1
    many = x.repeat(size, 1, 1, 1).requires_grad_()
    log_prob = flat(model.log_prob(many, torch.full((size,), 2)))
    (gradient,) = torch.autograd.grad(log_prob.diagonal().sum(), many)
    reached = flat(gradient).abs()  # [m, n]: of log-probability m in sub-pixel n
    m, n = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    assert not reached[n >= m].any()
    assert bool((reached[(n // c == m // c - 1) & (m // c % w > 0)] > 0).all())


TRANSFORMED = pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"architecture": a, "head": h, "norm": n, "gate": g, "attention": True}, id=f"{a}-{h}-{n}-{g}")
        for a in registry.ARCHITECTURES
        for h in registry.HEADS
        for n, g in (("layer", "none"), ("rms", "tanh"))
    ],
)


@TRANSFORMED
def test_jacobians_all_at_once_are_those_of_autograd(tiny: Tiny, parts: dict[str, Any]) -> None:
    model = tiny((3, 2, 3), levels=6, num_classes=3, **parts)
    x, labels = image(model).float() / 2.5 - 1, torch.tensor([2])

    def log_prob(x: Tensor) -> Tensor:
        return model.log_prob(x, labels)

    expected = torch.autograd.functional.jacobian(log_prob, x)
    assert float(expected.abs().max()) > 1e-2
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(log_prob)(x), expected, atol=1e-4, rtol=1e-4)
    together = torch.autograd.functional.jacobian(log_prob, x, vectorize=True)
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-4)


@TRANSFORMED
def test_second_derivatives_are_right_or_refused(tiny: Tiny, parts: dict[str, Any]) -> None:
    """torch.func has them all; autograd those of parts whose gradients are not written out."""
    written_out = parts["norm"] == "rms"  # as is the norm of attention
    model = tiny((3, 2, 3), levels=6, **{**parts, "attention": written_out})
    x = image(model).float() / 2.5 - 1

    def log_prob(x: Tensor) -> Tensor:
        return model.log_prob(x).sum()

    expected = torch.func.hessian(log_prob)(x).detach()
    assert float(expected.abs().max()) > 1e-2
    if written_out:
        with pytest.raises(RuntimeError, match=r"expected torch\.func"):
            torch.autograd.functional.hessian(log_prob, x)
    else:
        found = torch.autograd.functional.hessian(log_prob, x)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    if parts["head"] == "dmol":
        loss, parameters = PixelCNNLoss()(model, image(model)), [*model.parameters()]
        with pytest.raises(RuntimeError, match=r"expected torch\.func"):
            torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)


@TRANSFORMED
def test_gradients_of_each_image_by_torch_func_are_those_of_autograd(tiny: Tiny, parts: dict[str, Any]) -> None:
    model = tiny((3, 2, 3), levels=6, num_classes=3, **parts)
    images, labels = image(model, 2), torch.tensor([2, 0])

    def loss(parameters: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        params = torch.func.functional_call(model, parameters, (x[None], label[None]))
        return PixelCNNLoss(model)(params, x[None]).nats_per_dim

    parameters = dict(model.named_parameters())
    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, images, labels)
    for number in range(2):
        model.zero_grad()
        PixelCNNLoss()(model, images[number : number + 1], labels[number : number + 1]).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(each[name][number], parameter.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("parts", PARTS)
@torch.no_grad()
def test_the_levels_of_every_sub_pixel_sum_to_one_and_agree_with_the_head(tiny: Tiny, parts: dict[str, Any]) -> None:
    model = tiny(levels=6, num_classes=3, **parts)
    x, labels = image(model), torch.tensor([1])
    features = model.trunk(model._scaled(x), labels)
    for row, column in ((0, 0), (2, 3), (3, 4)):
        for channel in range(model.image_shape[0]):
            every = x.repeat(model.levels, 1, 1, 1)
            every[:, channel, row, column] = torch.arange(model.levels)
            log_probs = model.log_prob(every, labels.repeat(model.levels))[:, channel, row, column]
            assert log_probs.dtype == torch.float32
            assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-4)
            drawn_from = model.head.level_log_probs(features[:, :, row, column], x[:, :channel, row, column].long())
            torch.testing.assert_close(drawn_from[0], log_probs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", registry.ARCHITECTURES)
@pytest.mark.parametrize("head", registry.HEADS)
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(("shape", "levels"), [((1, 2, 3), 2), ((3, 1, 2), 2), ((1, 2, 2), 3)])
@torch.no_grad()
def test_the_probabilities_of_all_images_add_to_one(
    tiny: Tiny,
    architecture: str,
    head: str,
    channel_autoregressive: bool,
    attention: bool,
    shape: tuple[int, int, int],
    levels: int,
) -> None:
    options = {"architecture": architecture, "head": head, "channel_autoregressive": channel_autoregressive}
    model = tiny(shape, levels, attention=attention, **options)
    size = shape[0] * shape[1] * shape[2]
    images = torch.cartesian_prod(*[torch.arange(levels, dtype=torch.uint8)] * size).view(-1, *shape)
    probabilities = model.log_prob(images).double().sum((1, 2, 3)).exp()
    assert len(probabilities) == levels**size
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)
    assert float(probabilities.std()) > 1e-4


def field(model: ConditionalPixelCNN, row: int, column: int) -> set[tuple[int, int]]:
    """Pixels that the features at a pixel have a gradient in."""
    model = model.double()
    x = torch.rand(1, *model.image_shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.trunk(x, None)[:, :, row, column].square().sum(), x)
    return {(r, c) for r, c in gradient.abs().sum((0, 1)).nonzero().tolist()}


@pytest.mark.parametrize("place", [(0, 0), (0, 5), (1, 0), (4, 0), (4, 3), (4, 5)])
@pytest.mark.parametrize("attention", [True, False])
def test_two_streams_have_no_blind_spot(tiny: Tiny, place: tuple[int, int], attention: bool) -> None:
    """Four blocks reach over the whole of a 5 x 6 image: every earlier pixel is seen, and no other."""
    model = tiny((2, 5, 6), architecture="two_stream", blocks=4, attention=attention)
    row, column = place
    assert field(model, row, column) == {divmod(n, 6) for n in range(row * 6 + column)}


@pytest.mark.parametrize(("first_kernel", "kernel", "blocks"), [(3, 3, 2), (5, 3, 2), (3, 5, 1), (7, 1, 2), (1, 3, 1)])
def test_the_field_of_two_streams_is_what_their_kernels_reach(
    tiny: Tiny, first_kernel: int, kernel: int, blocks: int
) -> None:
    size = 13
    model = tiny(
        (1, size, size), architecture="two_stream", first_kernel=first_kernel, kernel=kernel, blocks=blocks, std=0.3
    )
    half, first = kernel // 2, first_kernel // 2
    vertical = {(-r, c) for r in range(1, first + 2) for c in range(-first, first + 1)}
    horizontal = vertical | {(0, -c) for c in range(1, first + 2)}
    for _ in range(blocks):
        taps = {(-r, c) for r in range(half + 1) for c in range(-half, half + 1)}
        vertical = {(r + dr, c + dc) for r, c in vertical for dr, dc in taps}
        taps = {(-r, -c) for r in range(half + 1) for c in range(half + 1)}
        horizontal = vertical | {(r + dr, c + dc) for r, c in horizontal for dr, dc in taps}
    expected = {(10 + r, 6 + c) for r, c in horizontal if 0 <= 6 + c < size}
    assert field(model, 10, 6) == expected
    assert model.trunk.rows_above == -min(r for r, _ in horizontal)


@pytest.mark.parametrize(("first_kernel", "kernel", "blocks"), [(3, 3, 3), (5, 3, 2), (3, 5, 2)])
def test_the_blind_spot_of_the_single_stack_is_that_of_its_masks(
    tiny: Tiny, first_kernel: int, kernel: int, blocks: int
) -> None:
    size = 13
    model = tiny(
        (1, size, size), architecture="single_stack", first_kernel=first_kernel, kernel=kernel, blocks=blocks, std=0.3
    )

    def taps(width: int, *, centre: bool) -> set[tuple[int, int]]:
        half = width // 2
        above = {(-r, c) for r in range(1, half + 1) for c in range(-half, half + 1)}
        return above | {(0, -c) for c in range(0 if centre else 1, half + 1)}

    reached = taps(first_kernel, centre=False)
    for _ in range(blocks):
        reached = {(r + dr, c + dc) for r, c in reached for dr, dc in taps(kernel, centre=True)}
    assert field(model, 10, 6) == {(10 + r, 6 + c) for r, c in reached if 0 <= 6 + c < size}
    assert model.trunk.rows_above == -min(r for r, _ in reached)
    if first_kernel == kernel == 3:
        assert (-1, 2) not in reached, "up one and right two is what a stack of 3 x 3 masks cannot see"


@pytest.mark.parametrize("architecture", registry.ARCHITECTURES)
@torch.no_grad()
def test_rows_above_are_enough_and_not_too_many(tiny: Tiny, architecture: str) -> None:
    model = tiny((2, 12, 4), architecture=architecture, first_kernel=5, blocks=3)
    x = model._scaled(image(model))
    above = model.trunk.rows_above
    assert above is not None
    for row in (above, above + 2, 11):
        full = model.trunk(x, None)[:, :, row]
        crop = model.trunk(x[:, :, row - above : row + 1], None)[:, :, -1]
        torch.testing.assert_close(crop, full, atol=1e-5, rtol=0)
        short = model.trunk(x[:, :, row - above + 1 : row + 1], None)[:, :, -1]
        assert float((short - full).abs().max()) > 1e-7
    attending = tiny((1, 5, 6), architecture=architecture, attention=True).trunk
    if architecture in Fast.ARCHITECTURES or any(isinstance(m, CausalSelfAttention) for m in attending.modules()):
        assert attending.rows_above is None


@pytest.mark.parametrize("architecture", registry.ARCHITECTURES)
@torch.no_grad()
def test_a_forward_leaves_weights_and_buffers_alone(tiny: Tiny, architecture: str) -> None:
    model = tiny((3, 4, 5), architecture=architecture, norm="batch", attention=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.log_prob(image(model, 3))
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any("mask" in name for name in after)


@torch.no_grad()
def test_two_streams_tell_the_edge_from_grey_pixels(tiny: Tiny) -> None:
    """Grey is 0 after scaling, as is the padding: the first layer tells them apart by its channel of ones."""
    trunk = tiny((1, 5, 6), architecture="two_stream").trunk
    outputs: list[Tensor] = []
    for name in ("vertical_first", "horizontal_first"):
        trunk.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    trunk(torch.zeros(1, 1, 5, 6), None)
    vertical, horizontal = outputs
    assert not torch.allclose(vertical[:, :, 0, 3], vertical[:, :, 3, 3])
    assert not torch.allclose(horizontal[:, :, 3, 0], horizontal[:, :, 3, 3])
