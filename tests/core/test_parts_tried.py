"""The parts that benchmarks/likelihood.py compares leak nothing: otherwise its figures would be no likelihoods."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from leaks import check, image, moves

from pixeltui import registry
from pixeltui.core import ConditionalPixelCNN

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TRUNKS = (
    "dilated",
    "weight_norm",
    "concat_elu",
    "half_size",
    "skips",
    "norm_at_the_end",
    "norm_in_the_blocks",
    "norm_after",
    "norm_after_and_at_the_end",
    "class_at_the_start",
    "norm_before",
    "depthwise_twice",
    "depthwise_thrice",
    "depthwise_gains",
    "depthwise_from_first",
    "depthwise_eight",
    "depthwise_two_stream",
    "depthwise_linked",
    "dense_above",
    "branch_above",
    "depthwise_waves_of_levels",
    "depthwise_places",
    "depthwise_times",
    "depthwise_two_kernels",
    "depthwise_inside",
    "depthwise_inside_half",
    "depthwise_inside_quarter",
    "depthwise_both",
    "depthwise_dilated",
    "depthwise_white",
    "depthwise_white_start",
    "depthwise_white_skip",
)


@pytest.fixture(autouse=True)
def _parts_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    for names in ("ARCHITECTURES", "HEADS", "GATES"):
        monkeypatch.setattr(registry, names, dict(getattr(registry, names)))
    importlib.import_module("parts_tried").register()


@pytest.mark.parametrize("architecture", TRUNKS)
def test_trunks(tiny: Callable[..., ConditionalPixelCNN], architecture: str) -> None:
    model = tiny((3, 6, 8), 6, 3, architecture=architecture, blocks=6, gate="none", std=0.25)
    check(model, moves(model), in_order=True, least=1e-9)


@pytest.mark.parametrize(
    ("architecture", "kernel"),
    [("depthwise", 7), ("depthwise", 11), ("depthwise_two_stream", 7), ("depthwise_linked", 7)],
)
def test_wide_kernels(tiny: Callable[..., ConditionalPixelCNN], architecture: str, kernel: int) -> None:
    model = tiny((3, 6, 8), 6, 3, architecture=architecture, kernel=kernel, blocks=6, gate="none", std=0.25)
    check(model, moves(model), in_order=True, least=1e-9)


@pytest.mark.parametrize("gate", ["relu2", "gelu", "elu"])
def test_gates(tiny: Callable[..., ConditionalPixelCNN], gate: str) -> None:
    model = tiny((3, 4, 5), 6, 3, gate=gate, std=0.25)
    check(model, moves(model), in_order=True, least=1e-9)


@torch.no_grad()
def test_a_mixture_whose_green_and_blue_have_networks_of_their_own(tiny: Callable[..., ConditionalPixelCNN]) -> None:
    model = tiny((3, 4, 5), 6, 3, head="dmol_nets", gate="none", std=0.25)
    check(model, moves(model), in_order=True, least=1e-9)
    x, labels = image(model), torch.tensor([1])
    features = model.trunk(model._scaled(x), labels)
    for channel in range(3):
        every = x.repeat(model.levels, 1, 1, 1)
        every[:, channel, 2, 3] = torch.arange(model.levels)
        log_probs = model.log_prob(every, labels.repeat(model.levels))[:, channel, 2, 3]
        assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-4)
        drawn_from = model.head.level_log_probs(features[:, :, 2, 3], x[:, :channel, 2, 3].long())
        torch.testing.assert_close(drawn_from[0], log_probs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", ["dmol_relative", "dmol_relative_all"])
def test_means_in_units_of_the_scale(tiny: Callable[..., ConditionalPixelCNN], head: str) -> None:
    model = tiny((3, 4, 5), 6, 3, head=head, gate="none", std=0.25)
    check(model, moves(model), in_order=True, least=1e-9)


def test_groups_of_features_for_red_green_and_blue(tiny: Callable[..., ConditionalPixelCNN]) -> None:
    model = tiny(
        (3, 4, 5), 6, 3, architecture="channel_groups", head="of_groups", channels=9, gate="none", linear_skip=0
    )
    check(model, moves(model), in_order=True, least=1e-9)
