"""Whole models: building, checks of arguments, labels, dropout, the loss."""

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixeltui.config import load_config
from pixeltui.core import ConditionalPixelCNN, PixelCNNLoss, build_model
from pixeltui.core.dropout import Draws, Dropout

Tiny = Callable[..., ConditionalPixelCNN]


def image(model: ConditionalPixelCNN, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, model.levels, (count, *model.image_shape), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("preset", "millions", "share"), [("baseline", 7.0, 0.03), ("pixelcnn", 7.0, 0.05)])
def test_presets_have_about_7_million_parameters(preset: str, millions: float, share: float) -> None:
    model = build_model(load_config(preset=preset), (3, 32, 32), levels=256, num_classes=10)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=share)


def test_baseline_is_the_recipe_to_the_letter() -> None:
    config = load_config(preset="baseline", overrides=["model.channels=8"])
    model = build_model(config, (3, 8, 8), levels=256, num_classes=10)
    kinds = [(m.mask_type, m.kernel_size) for m in model.modules() if hasattr(m, "mask_type")]
    assert kinds == [("A", 7), *[("B", 3), ("B", 1)] * 15, ("B", 1), ("B", 1)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 15
    assert [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)] == [11]
    assert model(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape == (1, 3 * 256, 8, 8)


def test_build_model_takes_a_config_or_its_model_table() -> None:
    config = load_config(overrides=["model.channels=8", "model.blocks=1"])
    models = []
    table = {"channels": 8, "blocks": 1}
    for given in (config, config.model, table, {"model": table}):
        torch.manual_seed(0)
        models.append(build_model(given, (1, 4, 5), levels=4, num_classes=2))
    x = image(models[0])
    assert all(torch.equal(models[0](x), model(x)) for model in models[1:])
    assert (models[0].image_shape, models[0].levels, models[0].num_classes) == ((1, 4, 5), 4, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"levels": 1}, "2 to 256 levels, got 1"),
        ({"levels": 257}, "got 257"),
        ({"num_classes": -1}, "0 or more classes, got -1"),
        ({"image_shape": (32, 32)}, r"\(channels, height, width\)"),
        ({"image_shape": (3, 0, 32)}, r"\(3, 0, 32\)"),
        ({"image_shape": (3, 4.7, 5)}, r"\(3, 4.7, 5\)"),
        ({"image_shape": "345"}, "got '345'"),
        ({"image_shape": 5}, "got 5"),
        ({"levels": 16.5}, "got 16.5"),
        ({"levels": None}, "got None"),
        ({"num_classes": 2.5}, "got 2.5"),
        ({"config": [("channels", 8)]}, "model table, got list"),
        ({"config": {"chanels": 8}}, "model table has no key 'chanels'"),
        ({"config": {"model": {"chanels": 8}}}, "model table has no key 'chanels'"),
        ({"config": {"attention": {"afer": [1]}}}, "model.attention table has no key 'afer'"),
        ({"config": {"preset": "pixelcnn", "model": 8}}, "cannot build that"),
    ],
)
def test_build_model_refuses_what_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(**{"config": load_config(), **wrong})


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None, r"\[B, 3, 4, 5\], got uint8 \[1, 3, 4, 4\]"),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), None, r"got uint8 \[3, 4, 5\]"),
        (torch.zeros(1, 3, 4, 5, dtype=torch.int64), None, "dtype uint8"),
        (torch.full((1, 3, 4, 5), 6, dtype=torch.uint8), None, "levels from 0 to 5, got 6"),
        (torch.zeros(1, 3, 4, 5), torch.tensor([3]), "labels from 0 to 2, got 3 to 3"),
        (torch.zeros(1, 3, 4, 5), torch.tensor([-1]), "labels from 0 to 2, got -1"),
        (torch.zeros(1, 3, 4, 5), torch.tensor([0, 1]), r"labels int64 \[1\], got int64 \[2\]"),
        (torch.zeros(1, 3, 4, 5), torch.tensor([0.0]), "labels int64"),
    ],
)
def test_a_model_says_what_it_expected_and_what_came(
    tiny: Tiny, x: Tensor, labels: Tensor | None, message: str
) -> None:
    model = tiny((3, 4, 5), 6, num_classes=3)
    for call in (model, model.log_prob):
        with pytest.raises(ValueError, match=message):
            call(x, labels)


@pytest.mark.parametrize("head", ["dmol", "categorical"])
def test_levels_and_scaled_floats_are_the_same_image(tiny: Tiny, head: str) -> None:
    model = tiny((3, 4, 5), 6, head=head)
    x = image(model)
    scaled = x.float() / 5 * 2 - 1
    torch.testing.assert_close(model.log_prob(scaled), model.log_prob(x))
    torch.testing.assert_close(model.log_prob(scaled.requires_grad_()), model.log_prob(x))


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
def test_labels_matter_and_none_is_a_class_of_its_own(tiny: Tiny, architecture: str) -> None:
    model = tiny((1, 4, 5), 4, num_classes=3, architecture=architecture)
    x = image(model, 1)
    outcomes = [model.log_prob(x, None if c is None else torch.tensor([c])) for c in (0, 1, 2, None)]
    assert all(not torch.allclose(a, b) for i, a in enumerate(outcomes) for b in outcomes[:i])


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": 3, "conditional": False}])
def test_an_unconditional_model_passes_labels_over(tiny: Tiny, options: dict[str, Any]) -> None:
    model = tiny((1, 4, 5), 4, **options)
    x = image(model, 2)
    assert model.num_classes == 0
    assert torch.equal(model.log_prob(x, torch.tensor([0, 2])), model.log_prob(x))


def test_label_dropout_hides_labels_in_training_only(tiny: Tiny) -> None:
    model = tiny((1, 4, 5), 4, num_classes=3, label_dropout=0.5)
    x, labels = image(model, 1).repeat(64, 1, 1, 1), torch.ones(64, dtype=torch.int64)
    told, untold = model.log_prob(x[:1], labels[:1]), model.log_prob(x[:1])
    torch.testing.assert_close(model.log_prob(x, labels), told.expand(64, -1, -1, -1))
    model.train()
    torch.manual_seed(0)
    mixed = model.log_prob(x, labels)
    hidden = torch.isclose(mixed, untold, atol=1e-5).flatten(1).all(1)
    shown = torch.isclose(mixed, told, atol=1e-5).flatten(1).all(1)
    assert bool((hidden ^ shown).all())
    assert 16 < int(hidden.sum()) < 48
    torch.manual_seed(0)
    assert torch.equal(model.log_prob(x, labels), mixed)


def test_a_training_batch_is_as_large_as_its_seeds_say(tiny: Tiny) -> None:
    model = tiny(label_dropout=0.5).train()
    model.seed_images([1, 2, 3])
    assert len(model(image(model), torch.zeros(3, dtype=torch.int64))) == 3
    with pytest.raises(ValueError, match="expected the 3 images that seed_images was told of, got 1"):
        model(image(model, 1), torch.zeros(1, dtype=torch.int64))
    assert len(model.eval()(image(model, 1), torch.zeros(1, dtype=torch.int64))) == 1


@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
def test_no_images_have_no_log_probabilities(tiny: Tiny, architecture: str, head: str) -> None:
    model = tiny((3, 4, 5), 4, 2, architecture=architecture, head=head, attention=True)
    none = torch.zeros(0, 3, 4, 5, dtype=torch.uint8)
    assert model.log_prob(none, torch.zeros(0, dtype=torch.int64)).shape == (0, 3, 4, 5)


class OnGpu(Tensor):
    """Takes the way that tensors on a GPU take."""

    is_cuda = True


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_dropout_drops_the_same_on_every_device(p: float) -> None:
    """Of numbers near the threshold, which floats tell apart no finer than 128."""
    layer = Dropout(p, 1)
    places = torch.arange(-300, 300, dtype=torch.int32).view(1, 1, 20, 30) + (round(p * 2**32) - 2**31)
    one, none = torch.ones(1, 1, 1, 1, dtype=torch.int32), torch.zeros(1, 1, 1, 1, dtype=torch.int32)
    layer.draws = Draws(one, none, places, places)
    x = torch.ones(1, 1, 20, 30)
    kept = layer(x)
    assert 200 < kept.count_nonzero() < 400
    assert torch.equal(layer(x.as_subclass(OnGpu)).as_subclass(Tensor), kept)


def test_dropout_is_off_in_evaluation(tiny: Tiny) -> None:
    for architecture in ("single_stack", "two_stream", "depthwise"):
        model = tiny((1, 4, 5), 4, architecture=architecture, dropout=0.5)
        x = image(model)
        assert torch.equal(model(x), model(x))
        model.train()
        assert not torch.equal(model(x), model(x))


class Wrapped(nn.Module):
    """As DistributedDataParallel: the model is its `module`, and only calls go through."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, *args: Tensor) -> Tensor:
        self.calls += 1
        result: Tensor = self.module(*args)
        return result


@torch.no_grad()
def test_the_loss_is_the_mean_in_three_units_and_calls_the_model(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 6, num_classes=3)
    x, labels = image(model), torch.arange(3)
    wrapped = Wrapped(model)
    loss = PixelCNNLoss()(wrapped, x, labels)
    assert wrapped.calls == 1
    nats = -float(model.log_prob(x, labels).mean())
    assert float(loss.nats_per_dim) == pytest.approx(nats)
    assert float(loss.bits_per_dim) == pytest.approx(nats / math.log(2))
    assert float(loss.perplexity) == pytest.approx(math.exp(nats))


def test_the_loss_is_a_tensor_like_any_other(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 6, num_classes=3)
    x, labels = image(model), torch.arange(3)
    loss = PixelCNNLoss()(model, x, labels)
    nats = loss.item()
    assert isinstance(loss, Tensor)
    assert (loss.shape, loss.dtype) == ((), torch.float32)
    assert f"{loss:.3f}" == f"{nats:.3f}"
    assert bool(loss.isfinite())
    assert float(loss.detach()) == nats
    for more in (loss / 2, 2 * loss, loss + loss, sum([loss, loss]), torch.stack([loss, loss])):
        assert type(more) is Tensor
    gradients = torch.autograd.grad(loss / 2, list(model.parameters()), retain_graph=True, allow_unused=True)
    loss.backward(retain_graph=True)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, 2 * gradient)
    torch.testing.assert_close(copy.deepcopy(loss.detach()), loss.detach())


def test_a_model_is_built_of_what_is_read_from_a_file() -> None:
    table = {"channels": 8, "blocks": 2, "attention": {"after": [1], "heads": 2}}
    for given in (table, {"model": table, "preset": "pixelcnn", "train": {"steps": 3}}, json.loads(json.dumps(table))):
        model = build_model(given, (1, 4, 5), 4, 2)
        assert len(model.trunk.blocks) == 2
        assert list(model.trunk.attention) == ["1"]
    for wrong, message in (
        ({"channel": 8}, "no key 'channel'"),
        ({"channels": "many"}, "channels"),
        ({"model": {"blocks": 0}}, "blocks"),
    ):
        with pytest.raises(ValueError, match=message):
            build_model(wrong, (1, 4, 5))


def test_the_loss_of_an_output_is_that_of_the_model(tiny: Tiny) -> None:
    model = tiny((3, 4, 5), 6, num_classes=3)
    x, labels = image(model), torch.arange(3)
    criterion = PixelCNNLoss(model)
    loss = criterion(model(x, labels), x)
    assert loss.item() == pytest.approx(PixelCNNLoss()(model, x, labels).item())
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())
    assert list(criterion.parameters()) == []
    with pytest.raises(ValueError, match=r"PixelCNNLoss\(model\)"):
        PixelCNNLoss()(model(x, labels), x)


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("norm", ["rms", "batch", "none"])
def test_a_few_steps_from_the_start_learn_an_image(architecture: str, head: str, norm: str) -> None:
    """From the real initialisation, every parameter gets a gradient within two steps, and the loss falls by half."""
    torch.manual_seed(0)
    model_options = [f"model.{k}={v}" for k, v in {"channels": 16, "blocks": 1, "first_kernel": 3}.items()]
    parts = [f"model.architecture={architecture}", f"model.head={head}", f"model.norm={norm}", "model.label_dropout=0"]
    attention = ["model.attention.after=[1]", "model.attention.heads=2"]
    model = build_model(load_config(overrides=[*model_options, *parts, *attention]), (3, 3, 4), 16, 2)
    x, labels = image(model, 4), torch.arange(4) % 2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for step in range(30):
        loss = PixelCNNLoss()(model, x, labels).nats_per_dim
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if step == 2:
            still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
            assert not still
    assert losses[-1] < losses[0] / 2
