"""What is drawn: repeatable, exact, as often as the model says, and with the kept pixels untouched."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from pixeltui import registry
from pixeltui.core import ConditionalPixelCNN, draw
from pixeltui.core.native import compiled
from pixeltui.core.sampler import inverse_cdf, naive_sample_stream, noise_of, nucleus

Tiny = Callable[..., ConditionalPixelCNN]


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_noise_gives_the_same_image_as_naive_sampling(
    tiny: Tiny, architecture: str, head: str, channel_autoregressive: bool, attention: bool, channels: int
) -> None:
    options = {"architecture": architecture, "head": head, "channel_autoregressive": channel_autoregressive}
    model = tiny((channels, 7, 3), 8, 3, attention=attention, **options)
    wish: dict[str, Any] = {"labels": torch.tensor([0, 2]), "guidance": 1.7, "temperature": 0.9, "seed": 4}
    *_, (naive, _) = naive_sample_stream(model, 2, top_p=0.95, **wish)
    assert torch.equal(model.sample(2, top_p=0.95, **wish), naive)
    assert len(naive.unique()) > 3


def test_rows_come_one_by_one(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 8)
    frames = list(model.sample_stream(2, seed=0))
    assert [rows for _, rows in frames] == [1, 2, 3, 4]
    last = frames[-1][0]
    assert last.dtype == torch.uint8
    assert torch.equal(last, model.sample(2, seed=0))
    for images, rows in frames:
        assert torch.equal(images[:, :, :rows], last[:, :, :rows])
        assert not images[:, :, rows:].any()


def test_an_image_does_not_hang_on_its_batch(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 8, 3)
    batch = model.sample(5, labels=[0, 1, 2, 1, 0], seed=9)
    assert torch.equal(model.sample(2, labels=[2, 1], seed=9, first_index=2), batch[2:4])
    assert len({tuple(image.flatten().tolist()) for image in batch}) == 5
    assert not torch.equal(model.sample(5, labels=[0, 1, 2, 1, 0], seed=10), batch)


def test_noise_of_neighbouring_seeds_and_indices_differs() -> None:
    shape = (3, 4, 5)
    drawn = [noise_of(seed, index, shape) for seed in range(3) for index in range(3)]
    assert len({tuple(noise.flatten().tolist()) for noise in drawn}) == 9
    assert torch.equal(noise_of(1, 2, shape), drawn[5])
    many = noise_of(0, 0, (100_000,))
    assert float(many.min()) >= 0
    assert float(many.max()) < 1
    assert float(many.mean()) == pytest.approx(0.5, abs=0.005)


def test_without_a_seed_every_call_is_new(tiny: Tiny) -> None:
    model = tiny((1, 4, 5), 8)
    assert not torch.equal(model.sample(2), model.sample(2))


def test_kept_pixels_are_kept_bit_for_bit_and_the_rest_follows_from_them(tiny: Tiny) -> None:
    model = tiny((3, 6, 5), 8)
    whole = model.sample(3, seed=1)
    known = torch.zeros(6, 5, dtype=torch.bool)
    known[:2] = True
    known[2, :3] = True
    completed = model.sample(3, seed=1, given=torch.where(known, whole, 7), known=known)
    assert torch.equal(completed, whole)
    other = (whole + 3) % 8
    completed = model.sample(3, seed=1, given=other, known=known)
    assert torch.equal(completed[:, :, known], other[:, :, known])
    assert not torch.equal(completed[:, :, ~known], whole[:, :, ~known])


@pytest.mark.parametrize("shape", [(3, 3, 6, 5), (3, 1, 6, 5), (1, 3, 6, 5), (1, 1, 6, 5)])
def test_any_mask_keeps_what_it_marks(tiny: Tiny, shape: tuple[int, ...]) -> None:
    model = tiny((3, 6, 5), 8)
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(0, 8, (3, 3, 6, 5), generator=generator, dtype=torch.uint8)
    known = torch.rand(shape, generator=generator) < 0.6
    everywhere = known.expand(3, 3, 6, 5)
    before = given.clone()
    completed = model.sample(3, seed=1, given=given, known=known)
    assert torch.equal(completed[everywhere], given[everywhere])
    assert not torch.equal(completed[~everywhere], given[~everywhere])
    assert torch.equal(given, before)
    *_, (naive, _) = naive_sample_stream(model, 3, seed=1, given=given, known=known)
    assert torch.equal(completed, naive)


def test_known_rows_cost_no_forward(tiny: Tiny) -> None:
    model = tiny((1, 6, 5), 8)
    calls: list[int] = []
    model.trunk.register_forward_hook(lambda *_: calls.append(1))
    known = torch.ones(6, 5, dtype=torch.bool)
    given = torch.full((2, 1, 6, 5), 3, dtype=torch.uint8)
    for stream in (model.sample_stream, partial(naive_sample_stream, model)):
        frames = list(stream(2, given=given, known=known))
        assert [rows for _, rows in frames] == [1, 2, 3, 4, 5, 6]
        assert torch.equal(frames[-1][0], given)
    assert not calls
    known[4, 2] = False
    list(naive_sample_stream(model, 2, given=given, known=known))
    assert len(calls) == 1


def chi_square(counts: Tensor, probabilities: Tensor) -> tuple[float, float]:
    """The statistic, and a bound that it passes by chance less than once in a million (Wilson and Hilferty 1931)."""
    expected = probabilities.double() * counts.sum()
    rare = expected < 5
    counts, expected = (torch.cat([values[~rare], values[rare].sum()[None]]) for values in (counts.double(), expected))
    counts, expected = counts[expected > 0], expected[expected > 0]
    freedom = len(counts) - 1
    bound = freedom * (1 - 2 / (9 * freedom) + 4.75 * math.sqrt(2 / (9 * freedom))) ** 3
    return float(((counts - expected).square() / expected).sum()), bound


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize(("shape", "levels"), [((3, 1, 2), 2), ((1, 2, 2), 3)])
@torch.no_grad()
def test_images_are_drawn_as_often_as_the_model_says(
    tiny: Tiny, architecture: str, head: str, channel_autoregressive: bool, shape: tuple[int, int, int], levels: int
) -> None:
    options = {"architecture": architecture, "head": head, "channel_autoregressive": channel_autoregressive}
    model = tiny(shape, levels, seed=1, **options)
    size = shape[0] * shape[1] * shape[2]
    every = torch.cartesian_prod(*[torch.arange(levels, dtype=torch.uint8)] * size).view(-1, *shape)
    probabilities = model.log_prob(every).double().sum((1, 2, 3)).exp()
    drawn = model.sample(4000, seed=0).flatten(1).long()
    place = (drawn * levels ** torch.arange(size - 1, -1, -1)).sum(1)
    statistic, bound = chi_square(torch.bincount(place, minlength=len(every)), probabilities)
    assert statistic < bound
    wrong, bound = chi_square(torch.bincount(place, minlength=len(every)), probabilities.flip(0))
    assert wrong > bound, "the test tells distributions apart"


@torch.no_grad()
def distributions(model: ConditionalPixelCNN, label: int) -> tuple[Tensor, Tensor]:
    """p(level | label) and p(level) of a model of one sub-pixel."""
    every = torch.arange(model.levels, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels = torch.full((model.levels,), label)
    return model.log_prob(every, labels).exp().flatten(), model.log_prob(every).exp().flatten()


@pytest.mark.parametrize(
    ("temperature", "top_p", "guidance"),
    [(1, 1, 1), (1, 1, 0), (1, 1, 2.5), (1, 1, 0.5), (0.5, 1, 1), (2, 1, 1), (1, 0.6, 1), (0.7, 0.8, 2)],
)
def test_temperature_top_p_and_guidance_mean_what_they_say(
    tiny: Tiny, temperature: float, top_p: float, guidance: float
) -> None:
    model = tiny((1, 1, 1), 6, 2, head="categorical", std=0.5)
    conditional, unconditional = distributions(model, 1)
    expected = unconditional * (conditional / unconditional) ** guidance
    expected = expected ** (1 / temperature)
    expected /= expected.sum()
    kept, held = set(), 0.0
    for level in sorted(range(6), key=lambda one: -float(expected[one])):
        if held < top_p:
            kept.add(level)
        held += float(expected[level])
    expected = torch.tensor([float(p) if level in kept else 0.0 for level, p in enumerate(expected)])
    expected /= expected.sum()
    wish: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "guidance": guidance}
    drawn = model.sample(4000, labels=[1] * 4000, seed=3, **wish).flatten()
    counts = torch.bincount(drawn.long(), minlength=6)
    assert not counts[expected == 0].any()
    statistic, bound = chi_square(counts, expected)
    assert statistic < bound


def test_guidance_0_is_unconditional_and_1_is_plain(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 8, 3)
    labels = torch.tensor([0, 1, 2])
    assert torch.equal(model.sample(3, labels, guidance=0.0, seed=1), model.sample(3, seed=1))
    assert torch.equal(model.sample(3, guidance=5.0, seed=1), model.sample(3, seed=1))
    assert not torch.equal(model.sample(3, labels, seed=1), model.sample(3, seed=1))


@pytest.mark.parametrize("wish", [{"temperature": 1e-3}, {"temperature": 1e-300}, {"top_p": 1e-6}, {"top_p": 1e-300}])
def test_cold_samples_are_the_most_likely_levels(tiny: Tiny, wish: dict[str, float]) -> None:
    model = tiny((1, 1, 1), 6, 2, head="categorical", std=0.5)
    conditional, _ = distributions(model, 0)
    second, first = conditional.sort().values[-2:].tolist()
    assert first > 1.1 * second
    drawn = model.sample(50, [0] * 50, temperature=wish.get("temperature", 1), top_p=wish.get("top_p", 1), seed=0)
    assert set(drawn.flatten().tolist()) == {int(conditional.argmax())}


def test_extremes_draw_levels(tiny: Tiny) -> None:
    """What is no number would be drawn as the level after the last."""
    model = tiny((1, 3, 4), 8, 3)
    extremes: list[dict[str, float]] = [
        {"temperature": 1e300, "guidance": 2.0},
        {"temperature": 5e-324, "guidance": 1e300},
        {"guidance": 1e300, "top_p": 5e-324},
    ]
    for wish in extremes:
        *_, (naive, _) = naive_sample_stream(model, 2, labels=[0, 2], seed=1, **wish)
        for drawn in (naive, model.sample(2, [0, 2], seed=1, **wish)):
            assert 0 <= int(drawn.min()) < int(drawn.max()) < 8


def test_sums_by_product_are_running_sums_and_stand_still_where_nothing_comes() -> None:
    probs = torch.softmax(8 * torch.randn(64, 256), dim=1)
    probs[:, ::3] = 0
    sums = draw.sums_by_product(probs)
    torch.testing.assert_close(sums, probs.cumsum(dim=1))
    steps = sums.diff(dim=1)
    assert not steps[probs[:, 1:] == 0].any()
    assert bool((steps >= 0).all())


@pytest.mark.parametrize("sums", [draw.running_sums, draw.sums_by_product])
def test_inverse_cdf_never_draws_what_has_no_probability(monkeypatch: pytest.MonkeyPatch, sums: Any) -> None:
    monkeypatch.setattr(draw, "running_sums", sums)
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]])
    noise = torch.tensor([0.0, 0.2499, 0.25, 0.9, 1 - 2**-24])
    assert inverse_cdf(probs.expand(5, -1), noise).tolist() == [1, 1, 3, 3, 3]


def test_nucleus_keeps_the_fewest_levels_that_hold_top_p() -> None:
    probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
    torch.testing.assert_close(nucleus(probs, 0.5), torch.tensor([[0, 4 / 7, 0, 3 / 7]]))
    torch.testing.assert_close(nucleus(probs, 0.39), torch.tensor([[0, 1.0, 0, 0]]))
    torch.testing.assert_close(nucleus(probs, 0.95), probs)
    assert nucleus(torch.tensor([[0.25, 0.5, 0.25]]), 0.5).tolist() == [[0, 1, 0]]


def test_sampling_leaves_modes_and_the_global_generator_alone(tiny: Tiny) -> None:
    model = tiny((1, 4, 5), 8, 3, norm="batch", dropout=0.5, label_dropout=0.5)
    expected = model.sample(2, [0, 1], seed=0)
    model.train()
    model.trunk.norm.eval()
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    for frame, _ in model.sample_stream(2, [0, 1], seed=0):
        images = frame
        assert [module.training for module in model.modules()] == modes
        assert torch.is_grad_enabled()
    assert torch.equal(images, expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


MASK = torch.ones(4, 5, dtype=torch.bool)
GIVEN = torch.zeros(2, 1, 4, 5, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch size of 1 or more, got 0"),
        ({"temperature": 0.0}, "temperature over 0"),
        ({"temperature": math.nan}, "temperature over 0"),
        ({"top_p": 0.0}, "top_p over 0"),
        ({"top_p": 1.5}, "top_p over 0, up to 1, got 1.5"),
        ({"guidance": -1.0}, "guidance of 0 or more"),
        ({"labels": [0, 3]}, "labels from 0 to 2"),
        ({"labels": [0]}, r"labels int64 \[2\]"),
        ({"labels": ["a", "b"]}, r"labels int64 \[2\], got \['a', 'b'\]"),
        ({"labels": [[0, 1], [2]]}, r"labels int64 \[2\]"),
        ({"labels": [0.5, 1.0]}, r"labels int64 \[2\], got float32"),
        ({"batch_size": 2.0}, "whole number for batch_size, got 2.0"),
        ({"batch_size": None}, "whole number for batch_size"),
        ({"seed": "7"}, "whole number for seed, got '7'"),
        ({"temperature": "1"}, "number for temperature, got '1'"),
        ({"guidance": None}, "number for guidance"),
        ({"given": GIVEN, "known": MASK.tolist()}, "tensor for known, got list"),
        ({"dtype": torch.int64}, "floating-point"),
        ({"first_index": -1}, "first_index"),
        ({"given": GIVEN}, "together"),
        ({"known": MASK}, "together"),
        ({"given": GIVEN.float(), "known": MASK}, "given uint8"),
        ({"given": GIVEN[:1], "known": MASK}, r"\[2, 1, 4, 5\], got torch.uint8 \[1, 1, 4, 5\]"),
        ({"given": GIVEN + 9, "known": MASK}, "given levels from 0 to 7, got 9"),
        ({"given": GIVEN, "known": MASK.float()}, "known bool"),
        ({"given": GIVEN, "known": MASK[:3]}, r"got torch.bool \[3, 5\]"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(tiny: Tiny, wrong: dict[str, Any], message: str) -> None:
    model = tiny((1, 4, 5), 8, 3)
    with pytest.raises(ValueError, match=message):
        model.sample_stream(**{"batch_size": 2, **wrong})


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize("head", list(registry.HEADS))
@pytest.mark.parametrize("wish", [{}, {"temperature": 0.8, "top_p": 0.9}])
def test_weights_that_give_no_probabilities_still_draw_levels(
    tiny: Tiny, architecture: str, head: str, wish: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In torch: of 200 images a mixture's levels are found in two steps."""
    monkeypatch.setattr(compiled, "load", lambda: "not built")
    for value in (math.nan, 1e30):
        model = tiny((3, 2, 3), 17, architecture=architecture, head=head)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(value)
        assert int(model.sample(200, seed=0, **wish).max()) < 17
        *_, (naive, _) = naive_sample_stream(model, 2, seed=0, **wish)
        assert int(naive.max()) < 17
