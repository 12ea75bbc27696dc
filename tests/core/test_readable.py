"""Models that somebody has changed: hooks, wrappers, pruning, other modules. What is drawn is what the model scores."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sampled import Fast, by_log_prob, last, random_images
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from pixeltui.core import ConditionalPixelCNN, MaskedConv2d, inspect
from pixeltui.core.depthwise import DepthwiseConv2d
from pixeltui.core.layers import LayerNorm, silu_gate
from pixeltui.core.sampler import naive_sample_stream
from pixeltui.core.sequence import distributions

Tiny = Callable[..., ConditionalPixelCNN]


class Halved(nn.Module):
    """Around a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        y: Tensor = self.layer(*inputs, **options)
        return 0.5 * y


def first_conv(model: ConditionalPixelCNN) -> str:
    return next(name for name, part in model.named_modules() if isinstance(part, nn.Conv2d | MaskedConv2d))


def wrap(model: ConditionalPixelCNN, name: str) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, Halved(model.get_submodule(name)))


def wrapped_first(model: ConditionalPixelCNN) -> None:
    wrap(model, first_conv(model))


def wrapped_in_block(model: ConditionalPixelCNN) -> None:
    wrap(model, "trunk.blocks.1.horizontal_out" if hasattr(model.trunk, "vertical_first") else "trunk.blocks.1.out")


def wrapped_head(model: ConditionalPixelCNN) -> None:
    wrap(model, "head.hidden")
    wrap(model, "head.out")


def wrapped_near(model: ConditionalPixelCNN) -> None:
    wrap(model, "trunk.near.above")


def halves(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    return tuple(0.5 * one for one in output) if isinstance(output, tuple) else 0.5 * output


def hook_of_a_block(model: ConditionalPixelCNN) -> None:
    model.get_submodule("trunk.blocks.0").register_forward_hook(halves)


def hook_of_the_head(model: ConditionalPixelCNN) -> None:
    model.head.register_forward_hook(halves)


def hook_of_the_model(model: ConditionalPixelCNN) -> None:
    model.register_forward_hook(halves)


def hooks_of_norms(model: ConditionalPixelCNN) -> None:
    for name, part in model.named_modules():
        if name.endswith("norm"):
            part.register_forward_hook(lambda _module, _inputs, output: output + 1)


def hook_at_a_place(model: ConditionalPixelCNN) -> None:
    def moved(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, :, 2, 1] += 3
        return output

    model.trunk.register_forward_hook(moved)


def hook_before(model: ConditionalPixelCNN) -> None:
    model.get_submodule(first_conv(model)).register_forward_pre_hook(lambda _module, x: (x[0] * 0.5, *x[1:]))


def own_forward(model: ConditionalPixelCNN) -> None:
    conv: Any = model.get_submodule(first_conv(model))
    forward = conv.forward
    conv.forward = lambda *inputs, **options: 0.5 * forward(*inputs, **options)


def kernels(model: ConditionalPixelCNN) -> list[nn.Module]:
    return [part for part in model.modules() if isinstance(part, nn.Conv2d | MaskedConv2d)]


def pruned(model: ConditionalPixelCNN) -> None:
    for conv in kernels(model):
        prune.random_unstructured(conv, "weight", 0.5)  # type: ignore[no-untyped-call]
    model.train()
    model.log_prob(random_images(model, 2)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():  # as an optimizer does: the weights that were computed are old now
            parameter.mul_(1.5)


def old_weight_norm(model: ConditionalPixelCNN) -> None:
    for conv in kernels(model):
        nn.utils.weight_norm(conv)
        conv.get_parameter("weight_g").data.mul_(0.5)


def weight_norm(model: ConditionalPixelCNN) -> None:
    for conv in kernels(model):
        parametrizations.weight_norm(conv)


def spectral_norm(model: ConditionalPixelCNN) -> None:
    for conv in kernels(model):
        parametrizations.spectral_norm(conv)
    model.train()


def gate_of_ones_own(model: ConditionalPixelCNN) -> None:
    gated: Any = model.get_submodule("trunk.blocks.1")
    gated.gate = silu_gate


def wider_kernel(model: ConditionalPixelCNN) -> None:
    block: Any = model.get_submodule("trunk.blocks.1")
    if isinstance(getattr(block, "spread", None), DepthwiseConv2d):
        block.spread = DepthwiseConv2d(8, 5)
    elif hasattr(block, "out"):
        block.out = MaskedConv2d("B", 8, 8, 3)


def attention_elsewhere(model: ConditionalPixelCNN) -> None:
    layers: Any = model.get_submodule("trunk.attention")
    layers["2"] = layers.pop("1")


def no_attention(model: ConditionalPixelCNN) -> None:
    layers: Any = model.get_submodule("trunk.attention")
    layers["1"] = nn.Identity()


def compiled_block(model: ConditionalPixelCNN) -> None:
    blocks: Any = model.get_submodule("trunk.blocks")
    blocks[1] = torch.compile(blocks[1], backend="eager")


CHANGES = [
    *(wrapped_first, wrapped_in_block, wrapped_head, wrapped_near),
    *(hook_of_a_block, hook_of_the_head, hook_of_the_model, hooks_of_norms, hook_at_a_place, hook_before, own_forward),
    *(pruned, old_weight_norm, weight_norm, spectral_norm),
    *(gate_of_ones_own, wider_kernel, attention_elsewhere, no_attention, compiled_block),
]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("change", CHANGES)
def test_images_are_those_that_the_scores_of_all_levels_give(
    tiny: Tiny, architecture: str, change: Callable[[ConditionalPixelCNN], None]
) -> None:
    attention = change in (attention_elsewhere, no_attention)
    model = tiny((2, 3, 4), 4, 3, architecture=architecture, attention=attention)
    model.sample(1, seed=0)  # what it has packed then is of no use
    change(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    drawn = [model.sample(3, [0, 2, 1], seed=5, guidance=guidance) for guidance in (1.0, 1.5)]
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.eval()
    for guidance, images in zip((1.0, 1.5), drawn, strict=True):
        assert torch.equal(images, by_log_prob(model, [0, 2, 1], guidance, seed=5))


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("change", [wrapped_in_block, wrapped_head, hook_of_a_block, hook_at_a_place, weight_norm])
@torch.no_grad()
def test_a_coder_is_told_what_the_model_scores(
    tiny: Tiny, architecture: str, change: Callable[[ConditionalPixelCNN], None]
) -> None:
    model = tiny((2, 3, 4), 4, 3, architecture=architecture)
    change(model)
    images, labels = random_images(model, 2), torch.tensor([0, 2])
    scores = model.log_prob(images, labels).permute(2, 3, 1, 0).flatten(0, 2)
    steps = distributions(model, 2, labels)
    told = next(steps)
    levels = images.permute(2, 3, 1, 0).flatten(0, 2).long()
    for number, own in enumerate(levels):
        torch.testing.assert_close(told.gather(1, own[:, None])[:, 0], scores[number], atol=1e-4, rtol=1e-4)
        if number + 1 < len(levels):
            told = steps.send(own)


def test_hooks_that_only_look_are_called_and_change_nothing(tiny: Tiny) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.seen, self.lock = 0, threading.Lock()  # which cannot be copied

        def look(self, *_: Any) -> None:
            with self.lock:
                self.seen += 1

    model = tiny((2, 3, 4), 4, 3)
    expected = model.sample(2, [0, 1], seed=0)
    watcher = Watcher()
    handles = [part.register_forward_hook(watcher.look) for part in (model, model.trunk, model.head)]
    assert torch.equal(model.sample(2, [0, 1], seed=0), expected)
    assert watcher.seen
    assert torch.equal(model.sample(2, [0, 1], seed=0, dtype=torch.bfloat16), expected), "no reason to be less exact"
    for handle in handles:
        handle.remove()
    watcher.seen = 0
    assert torch.equal(model.sample(2, [0, 1], seed=0), expected)
    assert not watcher.seen


def test_a_weight_that_is_no_parameter_is_read_anew(tiny: Tiny) -> None:
    """As what a network of networks puts there."""
    model = tiny((2, 3, 4), 4)
    conv: Any = model.get_submodule(first_conv(model))
    weight = conv.weight.detach()
    del conv.weight
    for factor in (1.0, -0.5):
        conv.weight = factor * weight
        assert torch.equal(model.sample(3, seed=5), by_log_prob(model, None, 1.0, seed=5))


@pytest.mark.parametrize("architecture", ["two_stream", "depthwise"])
def test_a_norm_of_ones_own_and_hooks_of_a_norm_count_in_the_forward(tiny: Tiny, architecture: str) -> None:
    class Moved(LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    def norms(model: ConditionalPixelCNN) -> list[LayerNorm]:
        return [part for part in model.modules() if isinstance(part, LayerNorm)]

    model, hooked, own = (tiny((2, 3, 4), 4, architecture=architecture, norm="layer") for _ in range(3))
    images = random_images(model, 2)
    seen: list[int] = []
    for norm in norms(hooked):
        norm.register_forward_hook(lambda _module, _inputs, output: (seen.append(1), output + 1)[1])
    for norm in norms(own):
        norm.__class__ = Moved
    moved = hooked(images)
    assert len(seen) == len(norms(hooked))
    torch.testing.assert_close(own(images), moved)
    assert not torch.allclose(model(images), moved, atol=1e-2)
    assert torch.equal(own.sample(3, seed=5), by_log_prob(own, None, 1.0, seed=5))


def test_a_pruned_model_is_inspected(tiny: Tiny) -> None:
    model = tiny((1, 4, 5), 4)
    pruned(model)
    images = random_images(model, 2)
    assert inspect.check_causality(model, images).causal
    assert inspect.receptive_field(model, images).outside == 0
    assert inspect.check_sampler(model, pixels=4).follows


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("change", ["kernels", "attention"])
def test_a_completion_sees_as_far_up_as_the_modules_of_now(tiny: Tiny, architecture: str, change: str) -> None:
    model = tiny((1, 7, 3), 4, architecture=architecture, blocks=1, kernel=1)
    if change == "attention":
        layers: Any = model.get_submodule("trunk.attention")
        layers["1"] = tiny((1, 7, 3), 4, architecture=architecture, attention=True).get_submodule("trunk.attention.1")
    else:
        blocks: Any = model.get_submodule("trunk.blocks")
        wide = tiny((1, 7, 3), 4, architecture=architecture, blocks=1, kernel=9)
        blocks[0] = wide.get_submodule("trunk.blocks.0")
    given, known = random_images(model, 4), torch.ones(7, 3, dtype=torch.bool)
    known[6] = False
    naive = last(naive_sample_stream(model, 4, seed=1, given=given, known=known))
    assert torch.equal(model.sample(4, seed=1, given=given, known=known), naive)
