"""Inspection holds for every part there is, and finds models, masks and samplers that are broken on purpose."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from leaks import image
from sampled import Fast
from torch import Tensor

from pixeltui import registry
from pixeltui.core import ConditionalPixelCNN, inspect
from pixeltui.core.native import compiled
from pixeltui.core.parts import Head
from pixeltui.core.rows import RowTrunk
from pixeltui.core.two_stream import VerticalBlock

Tiny = Callable[..., ConditionalPixelCNN]
EVERYTHING = 1000
"""of an image's few sub-pixels"""

PARTS = [
    {"architecture": a, "head": h, "channel_autoregressive": r, "norm": n, "gate": g, "attention": t}
    for (a, h, r), (n, g), t in zip(
        itertools.cycle(itertools.product(registry.ARCHITECTURES, registry.HEADS, (True, False))),
        [*itertools.product(registry.NORMS, registry.GATES)] * 2,
        itertools.cycle((False, True, True, False, False)),
        strict=False,
    )
]


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: "-".join(map(str, parts.values())))
def test_every_part_is_right(tiny: Tiny, parts: dict[str, Any]) -> None:
    model = tiny((3, 4, 5), 6, 3, std=0.25, **parts)
    images, labels = image(model, 4), torch.tensor([0, 1, 2, 0])
    causality = inspect.check_causality(model, images, labels, cuts=EVERYTHING, gradients=EVERYTHING)
    assert (causality.leak, causality.moved <= 1e-5, causality.normed) == (None, True, True)
    in_order = model.head.in_order
    for channel, row in enumerate(causality.same_pixel):
        assert all(value > 1e-9 for value in row[:channel]) if in_order else max(row[:channel], default=0) <= 1e-5
        assert max(row[channel:]) <= 1e-5
    assert min(map(min, causality.later_pixels)) > 1e-6
    sampler = inspect.check_sampler(model, labels[:2], count=2, pixels=EVERYTHING)
    assert sampler.compared == 2 * 3 * 4 * 5
    fast = [(Fast.ARCHITECTURES, "architecture"), (Fast.NORMS, "norm"), (Fast.GATES, "gate")]
    assert sampler.cached == all(parts[kind] in names for names, kind in fast)
    assert sampler.follows
    assert sampler.agrees


def wrong(model: ConditionalPixelCNN, **options: Any) -> inspect.Leak:
    found = inspect.check_causality(model, image(model, 4), **options).leak
    assert found is not None
    return found


def test_a_mask_that_lets_the_pixel_to_the_right_through(tiny: Tiny) -> None:
    model = tiny((1, 5, 6), architecture="single_stack", linear_skip=0)
    model.trunk.first.mask[-1] = torch.tensor([1.0, 0, 1])
    leak = wrong(model)
    (row, column, _), (to_row, to_column, _) = leak.later, leak.earlier
    assert (row, column) == (to_row, to_column + 1)
    assert leak.moved > 1e-5


def test_a_mask_that_lets_the_pixel_itself_through(tiny: Tiny) -> None:
    """Of one channel: nothing earlier moves, and levels no longer sum to one over the whole model."""
    model = tiny((1, 5, 6), architecture="single_stack", linear_skip=0)
    model.trunk.first.mask[-1] = torch.tensor([1.0, 1, 0])
    leak = wrong(model)
    assert leak.later == leak.earlier


def test_a_mask_that_lets_the_pixel_itself_through_of_three_channels(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), architecture="single_stack", linear_skip=0)
    model.trunk.first.mask[-1] = torch.tensor([1.0, 1, 0])
    leak = wrong(model)
    assert leak.later[:2] == leak.earlier[:2]


@pytest.mark.parametrize("amount", [1e-1, 1e-3])
@pytest.mark.parametrize("cuts", [EVERYTHING, 24])
def test_a_trunk_that_sees_the_row_below(tiny: Tiny, amount: float, cuts: int) -> None:
    model = tiny((3, 8, 8), architecture="two_stream")
    spoil(model, lambda features: features + amount * F.pad(features, (0, 0, 0, 1))[:, :, 1:])
    leak = wrong(model, cuts=cuts)
    assert leak.later >= leak.earlier, "the row below sees the pixel itself"


def test_a_query_that_has_nothing_to_attend_to_and_takes_everything(tiny: Tiny) -> None:
    """The features of the first pixel hang on the whole image."""
    model = tiny((1, 5, 6))

    def first(features: Tensor) -> Tensor:
        features = features.clone()
        features[:, :, 0, 0] = features.mean((2, 3))
        return features

    spoil(model, first)
    assert wrong(model).earlier == (0, 0, 0)


def test_a_head_whose_channels_see_later_ones(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny((3, 3, 4), head="categorical")
    forward = type(model.head).forward
    monkeypatch.setattr(type(model.head), "forward", lambda head, features, x: forward(head, features, x.flip(1)))
    leak = wrong(model)
    assert leak.later[:2] == leak.earlier[:2]
    assert leak.later[2] > leak.earlier[2]


def test_a_leak_too_small_for_single_precision_is_found_by_its_gradient(tiny: Tiny) -> None:
    model = tiny((1, 5, 6))
    spoil(model, lambda features: features + 3e-5 * F.pad(features, (0, 1))[:, :, :, 1:])
    assert wrong(model).moved < 1e-2


def spoil(model: ConditionalPixelCNN, change: Callable[[Tensor], Tensor]) -> None:
    model.trunk.register_forward_hook(lambda _module, _inputs, features: change(features))


def test_levels_that_do_not_sum_to_one(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny((1, 5, 6))
    log_prob = type(model.head).log_prob
    monkeypatch.setattr(type(model.head), "log_prob", lambda head, params, x: log_prob(head, params, x) * 0.99)
    found = inspect.check_causality(model, image(model, 4))
    assert not found.normed
    assert found.causal


# -- the sampler ---------------------------------------------------------------------------------------------------


def test_a_cache_that_forgets_to_move_on(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "load", lambda: "not built")
    monkeypatch.setattr(VerticalBlock, "end_row", lambda self: None)
    found = inspect.check_sampler(tiny((3, 6, 6)), pixels=EVERYTHING)
    assert not found.follows
    assert found.first_off is not None
    assert found.first_off[0] >= 1, "the first row has nothing to forget"
    assert not found.agrees


def test_a_cache_with_other_weights(tiny: Tiny) -> None:
    model, other = tiny((1, 5, 6)), tiny((1, 5, 6), seed=1)
    model.trunk.incremental = other.trunk.incremental
    found = inspect.check_sampler(model, pixels=4)
    assert not found.follows
    assert found.apart is not None
    assert found.apart > 0.05


def test_a_cached_head_that_forgets_the_channels_before(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixeltui.core.heads.dmol_pixel import LogisticMixturePixel

    monkeypatch.setattr(compiled, "load", lambda: "not built")
    monkeypatch.setattr(LogisticMixturePixel, "observe", lambda self, channel, levels: None)
    found = inspect.check_sampler(tiny((3, 5, 6), head="dmol"), pixels=EVERYTHING)
    assert not found.follows
    assert not found.agrees


@pytest.mark.parametrize("rows_above", [1, None])
def test_a_trunk_without_a_cache_that_claims_to_see_few_rows(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, rows_above: int | None
) -> None:
    model = tiny((1, 6, 5))
    monkeypatch.setattr(type(model.trunk), "incremental", lambda *_: None)
    model.trunk.rows_above = rows_above
    found = inspect.check_sampler(model, pixels=EVERYTHING)
    assert not found.cached
    assert found.follows is (rows_above is None)


def test_a_leaking_model_does_not_make_its_sampler_wrong(tiny: Tiny) -> None:
    model = tiny((1, 5, 6), architecture="single_stack", linear_skip=0)
    model.trunk.incremental = lambda *_: None
    model.trunk.rows_above = None
    model.trunk.first.mask[-1] = torch.tensor([1.0, 0, 1])
    found = inspect.check_sampler(model, pixels=EVERYTHING)
    assert found.follows
    assert not found.agrees, "what is drawn is not what is scored"


def test_a_row_trunk_is_what_the_tests_above_break(tiny: Tiny) -> None:
    assert isinstance(tiny((1, 5, 6)).trunk.incremental(None, 1, 5, 6, torch.float32), RowTrunk)


# -- receptive fields ----------------------------------------------------------------------------------------------


def test_two_streams_have_no_blind_spot_and_single_stacks_have_one(tiny: Tiny) -> None:
    two = tiny((1, 12, 13), architecture="two_stream")
    found = inspect.receptive_field(two, image(two, 2))
    assert (found.row, found.column) == (11, 6)
    assert (found.reach.above, found.blind, found.outside) == (two.trunk.rows_above, [], 0)
    assert float(found.magnitude[~found.support].max()) == 0
    assert found.effective.above <= found.reach.above
    one = tiny((1, 12, 13), architecture="single_stack", linear_skip=0)
    found = inspect.receptive_field(one, image(one, 2), place=(10, 6))
    assert found.reach.above == one.trunk.rows_above
    assert (9, 8) in found.blind, "up one and right two is what a stack of 3 x 3 masks cannot see"
    assert all(row < 10 and column > 6 for row, column in found.blind)
    assert found.outside == 0


def test_the_field_is_seen_whatever_the_weights(tiny: Tiny) -> None:
    """Also of weights that are zero, as many are at the start; and at depth, where gates might overflow."""
    model = tiny((3, 8, 9), blocks=20, norm="none", gate="silu", attention=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    found = inspect.receptive_field(model, image(model, 1))
    assert int(found.support.sum()) == 7 * 9 + 4
    assert float(found.magnitude.max()) == 0


def test_a_field_that_leaks(tiny: Tiny) -> None:
    model = tiny((1, 6, 7), architecture="single_stack", linear_skip=0)
    model.trunk.first.mask[-1] = torch.tensor([1.0, 0, 1])
    assert inspect.receptive_field(model, image(model, 1), place=(3, 3)).outside > 0


# -- layers and bits -----------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_features(tiny: Tiny) -> None:
    model = tiny((1, 5, 6), architecture="two_stream", num_classes=3)
    images, labels = image(model, 10), torch.arange(10) % 3
    with torch.no_grad():
        model.trunk.vertical_first.weight[2] = 0
        with inspect.Recorder(model, 10) as recorder:
            bits = inspect.score(model, images, labels, batch_size=4)
        torch.testing.assert_close(bits, -model.log_prob(images, labels) / math.log(2))
        features = model.trunk.norm(torch.zeros(1, 8, 5, 6))
    found = {layer.name: layer for layer in recorder.statistics()}
    assert list(found)[:2] == ["vertical_first", "horizontal_first"]
    assert {"blocks.0:0", "blocks.1:1", "blocks.0.vertical_gate", "norm", "head.hidden"} <= found.keys()
    assert found["vertical_first"].dead == [2]
    assert found["blocks.0:1"].dead == []
    maps = {one.name: one for one in inspect.feature_maps(model, images[0], labels[0], units=8)}
    assert maps.keys() == found.keys()
    caught: list[Tensor] = []
    handle = model.trunk.norm.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    with torch.no_grad():
        model.log_prob(images, labels)
    handle.remove()
    norm = found["norm"]
    assert norm.units == features.shape[1]
    assert norm.mean == pytest.approx(float(caught[0].mean()), abs=1e-5)
    assert norm.std == pytest.approx(float(caught[0].std(correction=0)), rel=1e-4)
    assert (norm.lowest, norm.highest) == pytest.approx((float(caught[0].min()), float(caught[0].max())))
    assert sum(norm.histogram) == 10 * 8 * 30
    order = maps["norm"].units
    torch.testing.assert_close(maps["norm"].maps, caught[0][0, order].detach())
    variances = caught[0][0].flatten(1).var(1)[order]
    assert bool((variances.diff() <= 0).all())


def test_gates_driven_to_their_ends_are_saturated(tiny: Tiny) -> None:
    def share(std: float) -> float:
        model = tiny((1, 6, 6), architecture="single_stack", norm="none", linear_skip=0, std=std)
        with inspect.Recorder(model, 8) as recorder:
            inspect.score(model, image(model, 8))
        return next(layer.saturated for layer in recorder.statistics() if layer.name == "blocks.1.gate")

    assert share(0.1) < 0.2
    assert share(5.0) > 0.4


def test_zeros_are_counted(tiny: Tiny) -> None:
    model = tiny((1, 5, 6))
    model.trunk.norm.register_forward_hook(lambda _module, _inputs, output: F.relu(output))
    with inspect.Recorder(model, 8) as recorder:
        inspect.score(model, image(model, 8))
    assert 0.2 < next(layer.zeros for layer in recorder.statistics() if layer.name == "norm") < 0.8


def test_an_unknown_layer_is_told_with_those_there_are(tiny: Tiny) -> None:
    model = tiny((1, 5, 6))
    with pytest.raises(ValueError, match=r"among vertical_first, .*got blocks.7"):
        inspect.feature_maps(model, image(model)[0], layers=["norm", "blocks.7"])


def test_the_model_is_left_as_it_was(tiny: Tiny) -> None:
    model = tiny((1, 5, 6), dropout=0.5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = image(model, 4)
    inspect.check_causality(model, images)
    inspect.receptive_field(model, images)
    inspect.check_sampler(model, pixels=2)
    inspect.feature_maps(model, images[0])
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert isinstance(model.head, Head)
