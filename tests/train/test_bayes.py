"""Bayes' rule, by hand and on digits."""

import math

import pytest
import torch

from pixeltui.config import Data, Model
from pixeltui.core import PixelCNNLoss, build_model
from pixeltui.data import load
from pixeltui.train.bayes import class_log_probs, class_priors, classify
from pixeltui.train.evaluate import image_nats


def test_by_hand() -> None:
    """Two classes, the first three times as common: an image half as likely there is still rather of it."""
    priors = class_priors(torch.tensor([0, 0, 0, 1]), 2)
    assert priors.exp().tolist() == pytest.approx([0.75, 0.25])
    log_probs = torch.tensor([[0.1, 0.2], [0.1, 0.4], [0.3, 0.3]], dtype=torch.float64).log()
    found = classify(log_probs, priors, torch.tensor([0, 1, 1]), dims=4)
    assert found.accuracy == pytest.approx(2 / 3), "0.075 against 0.05; 0.075 against 0.1; 0.225 against 0.075"
    assert found.accuracy_se == pytest.approx(math.sqrt(2 / 9 / 3))
    assert found.chance == pytest.approx(1 / 3)
    posteriors = [0.075 / 0.125, 0.1 / 0.175, 0.075 / 0.3]
    assert found.label_bits == pytest.approx(-sum(map(math.log2, posteriors)) / 3)
    evidence = [0.125, 0.175, 0.3]
    assert found.bits_per_dim == pytest.approx(-sum(map(math.log2, evidence)) / 3 / 4)


def test_a_class_that_training_has_not_is_never_named() -> None:
    priors = class_priors(torch.tensor([1, 1, 2]), 4)
    found = classify(torch.tensor([[9.0, 1, 1, 9]], dtype=torch.float64), priors, torch.tensor([1]), dims=1)
    assert found.accuracy == 1
    assert math.isfinite(found.bits_per_dim)


def test_a_model_of_digits_tells_them_apart() -> None:
    data = load(Data(name="digits"))
    torch.manual_seed(0)
    table = Model(channels=16, blocks=2, gate="silu", first_kernel=5, mixtures=3, linear_skip=8, label_dropout=0.0)
    model = build_model(table, data.image_shape, data.levels, data.num_classes)
    optimizer, criterion = torch.optim.AdamW(model.parameters(), lr=1e-2), PixelCNNLoss()
    for _ in range(60):
        batch = torch.randint(len(data.train), (32,))
        optimizer.zero_grad()
        criterion(model, data.train.images[batch], data.train.labels[batch]).backward()
        optimizer.step()
    seen = []
    images, labels = data.test.images, data.test.labels
    log_probs = class_log_probs(model, images, batch_size=64, progress=lambda *place: seen.append(place))
    assert log_probs.shape == (180, 10)
    assert seen[-1] == (1800, 1800)
    assert sorted(seen) == seen
    own = log_probs.gather(1, labels[:, None])[:, 0] / -64
    torch.testing.assert_close(own, image_nats(model, data.test, batch_size=50))
    found = classify(log_probs, class_priors(data.train.labels, 10), labels, dims=64)
    assert found.accuracy > 0.6
    assert found.chance < 0.15
    assert found.label_bits < 2
