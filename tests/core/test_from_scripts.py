"""Models in the hands of other people's scripts: torch's modes, its wrappers, and arguments of the wrong kind."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sampled import Fast, last, random_images
from torch import Tensor, nn

from pixeltui import registry
from pixeltui.config import Attention, Model
from pixeltui.core import ConditionalPixelCNN, PixelCNNLoss, ResidualBlock, build_model
from pixeltui.core.heads.dmol import LogisticMixtureHead
from pixeltui.core.native import compiled
from pixeltui.core.sampler import naive_sample_stream

Tiny = Callable[..., ConditionalPixelCNN]


class SlowHead(LogisticMixtureHead):
    """One that offers no `incremental`."""

    def incremental(self) -> None:  # type: ignore[override]
        return None


@pytest.fixture
def slow_head(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry.HEADS, "slow", f"{__name__}:SlowHead")
    return "slow"


@pytest.fixture(params=["torch", "compiled"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    built: Any = "not built" if request.param == "torch" else request.getfixturevalue("built")
    monkeypatch.setattr(compiled, "load", lambda: built)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("part", [*({"architecture": one} for one in Fast.ARCHITECTURES), {"gate": "soft"}])
def test_a_stream_goes_on_in_another_mode_than_it_was_asked_for_in(
    tiny: Tiny, steps: None, part: dict[str, str], attention: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.GATES, "soft", f"{__name__}:soft_gate")  # which is sampled by whole forwards
    model = tiny((3, 4, 5), 8, 3, attention=attention, **part)
    given, known = random_images(model, 2), torch.zeros(4, 5, dtype=torch.bool)
    known[0], known[2, 3] = True, True
    wish: dict[str, Any] = {"labels": [0, 2], "guidance": 2.0, "seed": 1, "given": given, "known": known}
    expected = last(naive_sample_stream(model, 2, **wish))
    for asked in (True, False):
        for naive in (True, False):
            with torch.inference_mode(asked):
                stream = naive_sample_stream(model, 2, **wish) if naive else model.sample_stream(2, **wish)
            images, mode, done = torch.zeros(0), asked, 0
            while done < 4:
                mode = not mode
                with torch.inference_mode(mode):
                    images, done = next(stream)
            assert torch.equal(images, expected)
    model.train()
    PixelCNNLoss()(model, given, torch.tensor([0, 2])).backward()


def soft_gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * b.sigmoid().square()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_a_head_without_cached_steps_draws_in_the_precision_of_its_weights(
    tiny: Tiny, slow_head: str, architecture: str, dtype: torch.dtype
) -> None:
    model = tiny((3, 4, 5), 8, 3, architecture=architecture, head=slow_head).to(dtype)
    wish: dict[str, Any] = {"labels": [0, 2], "seed": 1}
    images = model.sample(2, **wish)
    assert len(images.unique()) > 3
    if dtype == torch.float64:
        assert torch.equal(images, last(naive_sample_stream(model, 2, **wish)))


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_copies_of_data_parallel_compute_what_the_model_does(
    tiny: Tiny, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nn.DataParallel's own copying, with the processor for both devices."""
    replicate = importlib.import_module("torch.nn.parallel.replicate")
    monkeypatch.setattr(replicate, "_get_device_index", lambda device, _: device)

    def copied(tensors: list[Tensor], devices: list[int], detach: bool = False) -> list[list[Tensor]]:
        return [[tensor.clone() for tensor in tensors] for _ in devices]

    monkeypatch.setattr(replicate, "_broadcast_coalesced_reshape", copied)
    model = tiny((3, 4, 5), 8, 3, architecture=architecture, attention=True, norm="batch")
    x, labels = random_images(model, 2), torch.tensor([0, 2])
    for replica in replicate.replicate(model, [0, 1]):
        assert isinstance(replica, nn.Module)
        assert list(replica.parameters()) == []
        torch.testing.assert_close(replica(x, labels), model(x, labels))


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_what_is_no_tensor_is_named(tiny: Tiny, kind: Callable[[Any], Any]) -> None:
    model = tiny((1, 4, 5), 8, 3)
    x, labels = random_images(model, 2), torch.tensor([0, 2])
    name = type(kind(labels)).__name__
    for call in (model, model.log_prob):
        with pytest.raises(ValueError, match=rf"expected images \[B, 1, 4, 5\], got {name}"):
            call(kind(x), labels)
        with pytest.raises(ValueError, match=rf"expected labels int64 \[2\], got {name}"):
            call(x, kind(labels))


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"norm": "group"}, "expected norm to be one of batch, layer, rms, none, got 'group'"),
        ({"gate": "glu"}, "expected gate to be one of none, silu, tanh, got 'glu'"),
        ({"head": "mol"}, "expected head to be one of categorical, dmol, got 'mol'"),
        ({"attention": Attention(after=(1, 3), heads=2)}, "attention after blocks from 1 to 2, got 3"),
        ({"attention": Attention(after=(0,), heads=2)}, "attention after blocks from 1 to 2, got 0"),
    ],
)
def test_a_model_table_that_was_made_by_hand_is_checked(architecture: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(Model(architecture=architecture, channels=8, blocks=2, **wrong), (1, 4, 5), 8, 3)


def test_a_block_names_the_norms_and_gates_that_there_are() -> None:
    with pytest.raises(ValueError, match="expected norm to be one of batch, layer, rms, none, got 'group'"):
        ResidualBlock(8, norm="group")
    with pytest.raises(ValueError, match="expected gate to be one of none, silu, tanh, got 'glu'"):
        ResidualBlock(8, gate="glu")
