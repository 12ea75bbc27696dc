"""A recorded step does what the step does as it is. Needs a GPU."""

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
    return losses_from(one, 0, steps)


def losses_from(one: Updater, first: int, steps: int) -> list[float | None]:
    found = []
    for step in range(first, first + steps):
        one.update(step, 1e-2)
        found.append(one.window.take()["loss"])
    return found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("model.norm=batch",),
        ("train.checkpoint_activations=true",),
        ("train.optimizer=adamw",),
        ("train.optimizer=adam",),
    ],
)
def test_a_recorded_step_is_that_which_is_computed_as_it_is(
    tiny_config: Make, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Augmentation, dropout, hidden labels, learning rate differ from step to step, weights and moments too, and are
    read by the graph; after steps that are not finite it goes on."""
    set_up(deterministic=True)  # both by the same kernels: sums in another order would grow from step to step
    draws = ("model.dropout=0.3", "model.label_dropout=0.5", "data.augmentations.random_crop=1")
    config = tiny_config("train.device=cuda", *draws, *options)
    one, other = updater(config), updater(config)
    monkeypatch.setattr(Updater, "_records", property(lambda self: self is one))

    def compared(name: str) -> bool:
        """Before BatchNorm a bias has no gradient but rounding, of which Adam makes steps either way."""
        return "model.norm=batch" not in options or "trunk." not in name or not name.endswith("bias")

    for step in range(10):
        for each in (one, other):
            weights = each.model.head.out.weight
            kept = weights.detach().clone()
            if step == 6:
                weights.detach().fill_(float("nan"))
            each.update(step, 1e-3 * (1 + step % 3))
            if step == 6:
                weights.detach().copy_(kept)
        assert int(one.skipped) == int(other.skipped) == (step >= 6)
        found, expected = (each.window.take() for each in (one, other))
        assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)
        for (name, own), ours in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
            if compared(name):
                torch.testing.assert_close(own, ours, rtol=1e-3, atol=3e-4, msg=lambda text, n=name: f"{n}: {text}")
    assert one._recorded.graph is not None
    assert other._recorded.graph is None
    ours = other.tensors()
    for name, own in one.tensors().items():
        if not name.startswith("ema/") and compared(name):  # the average had what was not finite
            torch.testing.assert_close(own, ours[name], rtol=1e-2, atol=3e-4, msg=lambda text, n=name: f"{n}: {text}")


def test_moments_that_are_loaded_are_those_that_a_recorded_step_goes_on_with(tiny_config: Make) -> None:
    config = tiny_config("train.device=cuda")
    one, other = updater(config), updater(config)
    losses(one, 6)
    saved = {name: tensor.clone() for name, tensor in one.tensors().items()}
    expected = losses_from(one, 6, 6)
    losses(other, 6)
    other.load(saved, {})
    assert losses_from(other, 6, 6) == pytest.approx(expected, rel=1e-3)


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
