"""A step's gradients by a recorded graph are those that the step computes as it is. Needs a GPU."""

import copy
from collections.abc import Callable

import pytest
import torch

from pixeltui.config import Config
from pixeltui.core import build_model
from pixeltui.data import load
from pixeltui.train import recorded
from pixeltui.train.precision import Precision, set_up
from pixeltui.train.update import Updater

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CUDA = torch.device("cuda")
Make = Callable[..., Config]


@pytest.fixture(autouse=True)
def switches() -> None:
    set_up(deterministic=False)


def updater(config: Config, precision: str = "fp32") -> Updater:
    data = load(config.data).to(CUDA)
    torch.manual_seed(0)
    model = build_model(config, data.image_shape, data.levels, data.num_classes).to(CUDA)
    average = copy.deepcopy(model)
    if config.train.compile is True:
        model.compile()
    return Updater(config, model, average, data, Precision(precision, CUDA))


def losses(one: Updater, steps: int) -> list[float | None]:
    found = []
    for step in range(steps):
        one.update(step, 1e-2)
        found.append(one.window.take()["loss"])
    return found


@pytest.mark.parametrize("options", [(), ("model.norm=batch",), ("train.checkpoint_activations=true",)])
def test_recorded_gradients_are_those_of_the_step_as_it_is(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Augmentation, dropout and hidden labels differ from step to step, weights too, and are read by the graph."""
    draws = ("model.dropout=0.3", "model.label_dropout=0.5", "data.augmentations.random_crop=1")
    config = tiny_config("train.device=cuda", *draws, *options)
    one, other = updater(config), updater(config)
    monkeypatch.setattr(Updater, "_records", property(lambda self: self is one))
    for step in range(8):
        found, expected = (float(each._gradients(*each.batch(step), step)) for each in (one, other))
        assert found == pytest.approx(expected, rel=1e-5)
        for own, ours in zip(one.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(own.grad, ours.grad, rtol=1e-3, atol=1e-5)
            with torch.no_grad():
                for parameter in (own, ours):
                    parameter.add_(ours.grad, alpha=-0.05)
                    parameter.grad = None
    assert one._recorded.graph is not None
    assert other._recorded.graph is None


def test_steps_of_parts_are_not_recorded_and_what_was_is_forgotten(tiny_config: Make) -> None:
    one = updater(tiny_config("train.device=cuda"))
    before = losses(one, 6)
    assert one._recorded.graph is not None
    one.accumulate = 2
    one._recorded.forget()
    after = losses(one, 3)
    assert one._recorded.graph is None
    assert len(before) + len(after) == 9


def test_a_graph_is_not_kept_where_it_takes_much_of_the_memory(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "MOST_MEMORY", 0.0)
    one = updater(tiny_config("train.device=cuda"))
    losses(one, 6)
    assert one._recorded.graph is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the compiler, in itself
def test_bf16_and_compiled_networks_are_recorded_too(tiny_config: Make) -> None:
    for compiled in ("false", "true"):
        one = updater(tiny_config("train.device=cuda", f"train.compile={compiled}", "train.lr=0.01"), "bf16")
        found = losses(one, 30)
        assert one._recorded.graph is not None
        assert found[-1] < 0.9 * found[0]
