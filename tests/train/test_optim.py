"""Schedules as functions of the step; the EMA."""

import math

import pytest
import torch
from torch import nn

from pixeltui.config import load_config
from pixeltui.train.optim import Ema, ema_decay_at, lr_at, make_optimizer


def lr(step: int, schedule: str = "cosine") -> float:
    return lr_at(step, peak=0.5, total_steps=100, warmup_steps=10, schedule=schedule)


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    assert [lr(step) for step in range(10)] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert lr(10) == pytest.approx(0.5)


def test_cosine_falls_to_zero_at_the_end() -> None:
    assert lr(55) == pytest.approx(0.25)
    assert lr(100) == pytest.approx(0, abs=1e-12)
    falling = [lr(step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)
    assert lr(99, "constant") == 0.5


def test_no_warm_up() -> None:
    assert lr_at(0, peak=0.5, total_steps=10, warmup_steps=0, schedule="cosine") == 0.5


def test_ema_decay_warms_up_to_its_value() -> None:
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(10**6, 0.999) == 0.999
    assert ema_decay_at(5, 0.0) == 0.0


def test_ema_follows_the_recurrence_and_leaves_the_model_alone() -> None:
    torch.manual_seed(0)
    model, average = (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(2))
    average.load_state_dict(model.state_dict())
    expected = {name: t.clone().double() for name, t in average.state_dict().items()}
    ema = Ema(model, average)
    for step in range(20):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 2))
            model[1].running_mean.add_(1)
        before = {name: t.clone() for name, t in model.state_dict().items()}
        ema.update(step, 0.5)
        decay = min(0.5, (1 + step) / (10 + step))
        for name in ("0.weight", "1.running_mean"):
            expected[name] = decay * expected[name] + (1 - decay) * before[name].double()
            torch.testing.assert_close(average.state_dict()[name].double(), expected[name], rtol=1e-5, atol=1e-5)
            assert torch.equal(model.state_dict()[name], before[name])
    assert not average.training
    assert not any(p.requires_grad for p in average.parameters())


def test_adamw_decays_matrices_only() -> None:
    config = load_config(overrides=["train.weight_decay=0.1", "train.lr=1"]).train
    model = nn.Linear(3, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    optimizer = make_optimizer(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert model.weight[0, 0].item() == pytest.approx(0.9)
    assert model.bias[0].item() == 1.0


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_first_update_has_the_size_of_the_learning_rate(optimizer: str) -> None:
    """Kingma & Ba 2015, section 2.1: the effective step is bounded by the learning rate."""
    config = load_config(overrides=[f"train.optimizer={optimizer}", "train.lr=0.01", "train.weight_decay=0"]).train
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    made = make_optimizer(model, config)
    (model.weight * 7).sum().backward()
    made.step()
    assert math.isclose(before - model.weight.item(), 0.01, rel_tol=1e-3)
