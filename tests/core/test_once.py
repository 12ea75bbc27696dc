"""Weights are packed once for as long as they are the same, and never used for others."""

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from sampled import Fast, last
from torch import Tensor, nn

from pixeltui import registry
from pixeltui.core import ConditionalPixelCNN, once
from pixeltui.core.native import compiled, library
from pixeltui.core.sampler import naive_sample_stream

Tiny = Callable[..., ConditionalPixelCNN]
Change = Callable[[ConditionalPixelCNN], object]


@pytest.fixture(params=["torch", "compiled"], autouse=True)
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    built: Any = "not built" if request.param == "torch" else request.getfixturevalue("built")
    monkeypatch.setattr(compiled, "load", lambda: built)


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """The modules that were packed."""
    packed: list[nn.Module] = []

    def counted(module: nn.Module, kind: Any, make: Callable[[], Any]) -> Any:
        return whole(module, kind, lambda: (packed.append(module), make())[1])

    whole = once.once
    for architecture in ("single_stack", "two_stream"):
        monkeypatch.setattr(f"{registry.ARCHITECTURES[architecture].split(':')[0]}.once", counted)
    return packed


def naive(model: ConditionalPixelCNN, **wish: Any) -> Tensor:
    return last(naive_sample_stream(model, 2, seed=1, **wish))


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_streams_of_a_model_share_what_was_packed(tiny: Tiny, architecture: str, packings: list[nn.Module]) -> None:
    """Labels, guidance, batch and what is known are a stream's own."""
    model = tiny((3, 5, 4), 8, 3, architecture=architecture, attention=True, norm="batch")
    given, known = torch.randint(0, 8, (2, 3, 5, 4), dtype=torch.uint8), torch.zeros(5, 4, dtype=torch.bool)
    known[:2] = True
    wishes: list[dict[str, Any]] = [
        *({"labels": labels} for labels in ([0, 2], [1, 1], None)),
        {"labels": [2, 0], "guidance": 2.0},
        {"labels": [2, 0], "given": given, "known": known},
    ]
    for wish in (*wishes, *wishes):
        assert torch.equal(model.sample(2, seed=1, **wish), naive(model, **wish))
    assert torch.equal(model.sample(5, [0, 2, 1, 1, 0], seed=1)[:2], naive(model, labels=[0, 2]))
    assert packings == [model.trunk]
    panels = once._made[model.trunk].result.panels
    held = len(panels)
    model.sample(1, seed=0)
    assert len(panels) == held, "a stream adds nothing to what is kept"
    assert bool(held) == isinstance(compiled.load(), library.Library)


def smallest(model: ConditionalPixelCNN) -> Tensor:
    return min(model.trunk.parameters(), key=Tensor.numel)


def through_numpy(model: ConditionalPixelCNN) -> None:
    smallest(model).detach().numpy()[0] += 0.5


def through_data(model: ConditionalPixelCNN) -> None:
    smallest(model).data[0] += 0.5


def two_swapped(model: ConditionalPixelCNN) -> None:
    """What a sum over the weights does not see."""
    weight = max(model.trunk.parameters(), key=Tensor.numel).data.flatten(0, 1)
    weight[:2] = weight[[1, 0]]


def by_an_optimizer(model: ConditionalPixelCNN) -> None:
    for parameter in model.trunk.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.Adam(model.trunk.parameters(), 0.1, fused=True).step()
    model.zero_grad()


def by_statistics(model: ConditionalPixelCNN) -> None:
    buffer = next(buffer for name, buffer in model.trunk.named_buffers() if name.endswith("running_mean"))
    buffer += 1


def by_a_new_part(model: ConditionalPixelCNN) -> None:
    parent = next(one for one in model.trunk.modules() if isinstance(one, nn.BatchNorm2d))
    parent.eps = 3.0


CHANGES: dict[str, Change] = {
    "in place": lambda model: torch.nn.init.ones_(smallest(model)),
    "of the average": lambda model: torch._foreach_lerp_(
        [one.data for one in model.trunk.parameters()], [torch.zeros_like(one) for one in model.trunk.parameters()], 0.3
    ),
    "a state dict": lambda model: model.load_state_dict({k: v * 0.5 for k, v in model.state_dict().items()}),
    "assigned": lambda model: model.load_state_dict({k: v * 0.5 for k, v in model.state_dict().items()}, assign=True),
    "data": through_data,
    "numpy": through_numpy,
    "swapped": two_swapped,
    "an optimizer": by_an_optimizer,
    "statistics": by_statistics,
    "a setting": by_a_new_part,
}


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_no_change_of_the_weights_is_missed(tiny: Tiny, architecture: str, change: str) -> None:
    model = tiny((1, 4, 4), 256, 2, architecture=architecture, norm="batch")
    before = model.sample(2, seed=1)
    streaming = model.sample_stream(2, seed=1)
    next(streaming)
    with torch.no_grad():
        CHANGES[change](model)
    after = model.sample(2, seed=1)
    assert torch.equal(after, naive(model))
    assert not torch.equal(after, before)
    assert torch.equal(last(streaming), before), "a sample in progress keeps the weights that it began with"


def test_another_precision_is_packed_for_itself(tiny: Tiny) -> None:
    model = tiny((3, 5, 4), 256)
    exact = model.sample(2, seed=1)
    rounded = model.sample(2, seed=1, dtype=torch.bfloat16)
    assert torch.equal(model.sample(2, seed=1), exact)
    assert torch.equal(model.sample(2, seed=1, dtype=torch.bfloat16), rounded)
    assert torch.equal(model.double().sample(2, seed=1), naive(model))


def test_a_copy_and_a_model_that_is_gone_hold_nothing(tiny: Tiny) -> None:
    model = tiny((3, 5, 4), 8)
    model.sample(2, seed=1)
    assert copy.deepcopy(model.trunk) not in once._made
    gone = weakref.ref(once._made[model.trunk].weights[0])
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_batches_of_other_sizes_whose_dropout_has_seeds_change_nothing(
    tiny: Tiny, architecture: str, packings: list[nn.Module]
) -> None:
    model = tiny((3, 5, 4), 8, architecture=architecture, dropout=0.3)
    expected = model.sample(2, seed=1)
    for batch in (2, 3):
        model.seed_images([*range(batch)])
        assert torch.equal(model.sample(2, seed=1), expected)
    assert len(packings) == 1
