"""What a GPU computes is what the definition says: every part, the recorded rows, the verdict of the inspection."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from leaks import check, moves
from sampled import Fast, last, random_images

from pixeltui import registry
from pixeltui.core import ConditionalPixelCNN, kept
from pixeltui.core.inspect.causality import check_causality
from pixeltui.core.sampler import naive_sample_stream

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
Tiny = Callable[..., ConditionalPixelCNN]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize("norm", list(registry.NORMS))
@pytest.mark.parametrize("gate", list(registry.GATES))
@torch.no_grad()
def test_log_probabilities_are_those_of_the_cpu(tiny: Tiny, architecture: str, norm: str, gate: str) -> None:
    model = tiny((3, 6, 5), 8, 3, architecture=architecture, norm=norm, gate=gate, attention=True, std=0.2)
    images, labels = random_images(model, 3), torch.tensor([0, 2, 1])
    expected = model.log_prob(images, labels)
    found = model.to(CUDA).log_prob(images.to(CUDA), labels.to(CUDA))
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize("head", list(registry.HEADS))
@pytest.mark.parametrize("attention", [True, False])
def test_no_sub_pixel_hangs_on_a_later_one(tiny: Tiny, architecture: str, head: str, attention: bool) -> None:
    model = tiny((3, 4, 5), 6, 3, architecture=architecture, head=head, attention=attention, std=0.2)
    model.to(CUDA)
    on_cpu = model.log_prob

    def log_prob(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return on_cpu(images.to(CUDA), labels.to(CUDA)).cpu()

    model.log_prob = log_prob  # type: ignore[method-assign,assignment]
    check(model, moves(model), in_order=model.head.in_order, least=1e-9)


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("head", list(Fast.HEADS))
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("norm", list(Fast.NORMS))
def test_recorded_rows_draw_the_naive_images(
    tiny: Tiny, architecture: str, head: str, attention: bool, norm: str
) -> None:
    """Batches that are padded and that are not, the second of a size by what the first recorded, other weights then."""
    options = {"architecture": architecture, "head": head, "attention": attention, "norm": norm, "std": 0.2}
    model, other = (tiny((3, 6, 5), 8, 3, seed=seed, **options).to(CUDA) for seed in range(2))
    labels = [0, 2, 1]
    wishes: list[dict[str, Any]] = [
        {"labels": labels},
        {"labels": labels, "guidance": 1.7, "temperature": 0.9, "top_p": 0.95},
    ]
    for wish in wishes:
        for seed in (4, 5):
            naive = last(naive_sample_stream(model, 3, seed=seed, **wish))
            assert torch.equal(last(model.sample_stream(3, seed=seed, **wish)), naive)
            assert len(naive.unique()) > 3
    model.load_state_dict(other.state_dict())
    drawn = last(model.sample_stream(3, seed=4, labels=labels))
    assert torch.equal(drawn, last(naive_sample_stream(other, 3, seed=4, labels=labels)))
    assert torch.equal(drawn[:1], last(model.sample_stream(1, seed=4, labels=labels[:1]))), "whatever the batch"


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_completion_is_that_of_naive_sampling(tiny: Tiny, architecture: str, guidance: float) -> None:
    model = tiny((3, 9, 4), 8, 3, architecture=architecture, attention=True, std=0.2).to(CUDA)
    given = random_images(model, 2)
    known = torch.rand(2, 3, 9, 4, generator=torch.Generator().manual_seed(0)) < 0.6
    known[:, :, :3], known[:, :, 5] = True, True
    wish: dict[str, Any] = {"labels": [1, 2], "guidance": guidance, "seed": 1, "given": given, "known": known}
    drawn = last(model.sample_stream(2, **wish)).cpu()
    assert torch.equal(drawn, last(naive_sample_stream(model, 2, **wish)).cpu())
    assert torch.equal(drawn[known], given[known])


def test_bfloat16_draws_images_of_the_same_kind(tiny: Tiny) -> None:
    model = tiny((3, 8, 8), 256, std=0.15).to(CUDA)
    exact = last(model.sample_stream(16, seed=0)).float()
    rounded = last(model.sample_stream(16, seed=0, dtype=torch.bfloat16)).float()
    assert not torch.equal(rounded, exact)
    assert float(((rounded - exact).abs() < 16).float().mean()) > 0.8


def test_a_stream_goes_on_while_the_model_trains(tiny: Tiny) -> None:
    """As live samples do: rows in turn with steps, which change the weights under the stream."""
    model = tiny((3, 6, 5), 8, 3, std=0.2).to(CUDA)
    expected = last(model.sample_stream(2, [0, 1], seed=0))
    for _ in range(2):  # the second by the graph that the first has recorded
        copied = tiny((3, 6, 5), 8, 3, std=0.2).to(CUDA)
        optimizer = torch.optim.AdamW(copied.parameters(), lr=0.01, fused=True)
        drawn = None
        for drawn, _ in copied.sample_stream(2, [0, 1], seed=0):  # noqa: B007
            with torch.autocast("cuda", dtype=torch.bfloat16):
                copied.train()
                copied.log_prob(
                    random_images(copied, 4).to(CUDA), torch.arange(4, device=CUDA) % 3
                ).mean().neg().backward()
            optimizer.step()
            copied.eval()
        assert drawn is not None
        assert torch.equal(drawn, expected)


def test_the_verdict_on_a_gpu_finds_nothing_and_finds_a_leak(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 8, 3, std=0.2).to(CUDA)
    images, labels = random_images(model, 2).to(CUDA), torch.tensor([0, 1], device=CUDA)
    assert check_causality(model, images, labels).causal
    model.trunk.register_forward_hook(lambda _, given, features: features + 0.1 * given[0].mean())
    assert not check_causality(model, images, labels).causal


def test_deterministic_algorithms_draw_the_same(tiny: Tiny) -> None:
    model = tiny((3, 6, 5), 8, 3, std=0.2).to(CUDA)
    wish: dict[str, Any] = {"seed": 0, "labels": [0, 1], "temperature": 0.9, "top_p": 0.9, "guidance": 1.5}
    expected = model.sample(2, **wish)
    kept._idle.clear()  # the graphs of that one
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(model.sample(2, **wish), expected)
    finally:
        torch.use_deterministic_algorithms(False)
