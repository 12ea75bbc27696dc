"""Cached sampling computes what the full forward computes, and draws the images that naive sampling draws."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sampled import Fast, features_by_row, last, random_images
from torch import Tensor

from pixeltui import registry
from pixeltui.config import Model
from pixeltui.core import ConditionalPixelCNN, build_model, cached
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import Settings, fast_sampler, naive_sample_stream

Tiny = Callable[..., ConditionalPixelCNN]


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("norm", list(Fast.NORMS))
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("first_kernel", "kernel"), [(3, 3), (7, 5), (5, 1)])
@torch.no_grad()
def test_features_are_those_of_the_full_forward(
    tiny: Tiny, architecture: str, norm: str, attention: bool, channels: int, first_kernel: int, kernel: int
) -> None:
    shape = (channels, 6, 5)
    kernels = {"first_kernel": first_kernel, "kernel": kernel}
    model = tiny(shape, 8, 3, architecture=architecture, norm=norm, attention=attention, **kernels)
    images, labels = random_images(model, 3), torch.tensor([0, 2, 3])
    full = model.trunk(scale_levels(images, 8), labels)
    torch.testing.assert_close(features_by_row(model, images, labels, ()), full, atol=1e-4, rtol=1e-4)
    for filled in ((0, 1, 3), (0, 1, 2, 3), (1, 2, 4)):
        by_row = features_by_row(model, images, labels, filled)
        drawn = [row for row in range(6) if row not in filled]
        torch.testing.assert_close(by_row[:, :, drawn], full[:, :, drawn], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("gate", list(Fast.GATES))
@torch.no_grad()
def test_features_of_fresh_weights_are_those_of_the_full_forward(architecture: str, gate: str) -> None:
    """Where nothing is known yet the features are all but zero, and every norm makes them large again."""
    config = Model(architecture=architecture, gate=gate, channels=32, blocks=12)
    model = build_model(config, (3, 4, 5), 256, 0).eval()
    images = random_images(model, 2)
    full = model.trunk(scale_levels(images, 256), None)
    for filled in (0, 2):
        by_row = features_by_row(model, images, None, range(filled))
        torch.testing.assert_close(by_row[:, :, filled:], full[:, :, filled:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize("head", list(registry.HEADS))
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(("shape", "levels"), [((1, 7, 3), 17), ((3, 4, 6), 256)])
def test_the_same_noise_gives_the_naive_image(
    tiny: Tiny,
    architecture: str,
    head: str,
    channel_autoregressive: bool,
    attention: bool,
    shape: tuple[int, int, int],
    levels: int,
) -> None:
    options = {"architecture": architecture, "head": head, "channel_autoregressive": channel_autoregressive}
    model = tiny(shape, levels, 3, attention=attention, **options)
    labels = torch.tensor([0, 2, 1])
    for wish in ({}, {"labels": labels}, {"labels": labels, "guidance": 1.7, "temperature": 0.9, "top_p": 0.95}):
        naive = last(naive_sample_stream(model, 3, seed=4, **wish))
        assert torch.equal(last(model.sample_stream(3, seed=4, **wish)), naive)
        assert len(naive.unique()) > 3


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_completion_is_that_of_naive_sampling(tiny: Tiny, architecture: str, attention: bool, guidance: float) -> None:
    model = tiny((3, 9, 4), 8, 3, architecture=architecture, attention=attention, blocks=2)
    given = random_images(model, 2)
    generator = torch.Generator().manual_seed(0)
    below = torch.zeros(9, 4, dtype=torch.bool)
    below[:6] = True
    middle = below.clone()
    middle[7:], middle[6, 1] = True, True
    pixels = torch.rand(2, 3, 9, 4, generator=generator) < 0.6
    pixels[:, :, 4] = True
    for known in (below, middle, pixels):
        wish: dict[str, Any] = {"labels": [1, 2], "guidance": guidance, "seed": 1, "given": given, "known": known}
        naive = last(naive_sample_stream(model, 2, **wish))
        completed = last(model.sample_stream(2, **wish))
        assert torch.equal(completed, naive)
        everywhere = known.expand(2, 3, 9, 4)
        assert torch.equal(completed[everywhere], given[everywhere])
        assert not torch.equal(completed[~everywhere], given[~everywhere])


@pytest.mark.parametrize("architecture", [*Fast.ARCHITECTURES, "cropped"])
@pytest.mark.parametrize("norm", Fast.NORMS)
def test_weights_that_change_between_rows_change_nothing(
    tiny: Tiny, architecture: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cropped = architecture == "cropped"
    architecture = "two_stream" if cropped else architecture
    for head in Fast.HEADS:
        model = tiny((3, 4, 5), 8, 3, architecture=architecture, head=head, attention=True, norm=norm)
        if cropped:
            monkeypatch.setattr(type(model.trunk), "incremental", lambda *_: None)
        expected = last(model.sample_stream(2, [0, 1], seed=0))
        rows = model.sample_stream(2, [0, 1], seed=0)
        next(rows)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(1)
        assert torch.equal(last(rows), expected)
        assert not torch.equal(last(model.sample_stream(2, [0, 1], seed=0)), expected)


@pytest.mark.parametrize("part", ["trunk", "head"])
def test_parts_without_incremental_are_sampled_too(tiny: Tiny, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny((3, 4, 5), 8, 3)
    labels = torch.tensor([0, 2])
    expected = last(naive_sample_stream(model, 2, labels=labels, seed=3))
    monkeypatch.setattr(type(getattr(model, part)), "incremental", lambda *_: None)
    assert torch.equal(last(model.sample_stream(2, labels, seed=3)), expected)


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_an_unknown_norm_is_left_to_the_forward(tiny: Tiny, architecture: str) -> None:
    class Shrink(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * x

    model = tiny((1, 4, 5), 8, architecture=architecture, norm="none")
    for module in list(model.trunk.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Identity):
                setattr(module, name, Shrink())
    naive = last(naive_sample_stream(model, 2, seed=3))
    assert torch.equal(last(model.sample_stream(2, seed=3)), naive)


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("attention", [True, False])
def test_rows_that_are_known_take_one_pass(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, architecture: str, attention: bool
) -> None:
    """Those above the first unknown pixel, and every run of them further down; never a pixel at a time."""
    model = tiny((3, 12, 4), 8, architecture=architecture, attention=attention, blocks=1)
    sampler: Any = fast_sampler(model, Settings(1))
    trunk, kind = type(sampler.trunk), type(sampler)
    passes: list[tuple[int, int]] = []
    drawn: list[int] = []
    fill, draw = trunk.fill_rows, kind.draw_row
    monkeypatch.setattr(trunk, "fill_rows", lambda self, row, x: (passes.append((row, x.shape[1])), fill(self, row, x)))
    monkeypatch.setattr(kind, "draw_row", lambda self, row: (drawn.append(row), draw(self, row)))
    given, known = random_images(model, 2), torch.ones(12, 4, dtype=torch.bool)
    known[6, 2:], known[10] = False, False
    completed = model.sample(2, seed=0, given=given, known=known)
    first = 0 if model.trunk.rows_above is None else 6 - model.trunk.rows_above
    assert passes == [(first, 6 - first), (7, 3)]
    assert drawn == [6, 10]
    assert torch.equal(completed, last(naive_sample_stream(model, 2, seed=0, given=given, known=known)))
    passes.clear()
    monkeypatch.setattr(cached, "FILLED_PIXELS", 3 * 2 * 4)
    assert torch.equal(model.sample(2, seed=0, given=given, known=known), completed)
    assert max(rows for _, rows in passes) == 3, "what a pass takes of memory is bounded"


def test_no_forward_of_the_trunk_is_needed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny((1, 6, 5), 8)
    calls: list[int] = []
    forward = type(model.trunk).forward
    monkeypatch.setattr(type(model.trunk), "forward", lambda *inputs: (calls.append(1), forward(*inputs))[1])
    model.sample(2, seed=0)
    assert not calls
    model(random_images(model, 1))
    assert calls == [1]


@pytest.mark.parametrize("cropped", [False, True])
def test_bfloat16_draws_images_of_the_same_kind(tiny: Tiny, cropped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the cached steps, and by forwards of a trunk that offers none."""
    model = tiny((3, 8, 8), 256, std=0.15)
    if cropped:
        monkeypatch.setattr(type(model.trunk), "incremental", lambda *_: None)
    exact = last(model.sample_stream(16, seed=0)).float()
    rounded = last(model.sample_stream(16, seed=0, dtype=torch.bfloat16)).float()
    assert not torch.equal(rounded, exact)
    close = (rounded - exact).abs() < 16
    assert float(close.float().mean()) > 0.8


def test_autocast_and_the_global_generator_do_not_matter(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 256)
    expected = last(model.sample_stream(2, seed=0))
    state = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(last(model.sample_stream(2, seed=0)), expected)
    assert torch.equal(torch.get_rng_state(), state)
