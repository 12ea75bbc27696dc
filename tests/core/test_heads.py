"""Distributions over levels: their formulas, their normalisation, their extremes."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pixeltui.config import Model
from pixeltui.core import ConditionalPixelCNN, PixelCNNLoss
from pixeltui.core.heads import dmol_loss
from pixeltui.core.heads.categorical import CategoricalHead, ChannelNet
from pixeltui.core.heads.dmol import LogisticMixtureHead
from pixeltui.core.heads.logistic import discretised_logistic
from pixeltui.core.parts import nearest_levels, scale_levels

Tiny = Callable[..., ConditionalPixelCNN]


@pytest.mark.parametrize("levels", [2, 17, 255, 256])
def test_levels_survive_scaling(levels: int) -> None:
    every = torch.arange(levels)
    scaled = scale_levels(every, levels)
    assert (float(scaled.min()), float(scaled.max())) == (-1, 1)
    assert torch.equal(nearest_levels(scaled, levels), every)
    assert torch.equal(nearest_levels(scaled + 0.4 / (levels - 1), levels), every)


def logistic_mass(low: float, high: float, mean: float, scale: float) -> float:
    """The logistic density of van den Oord's and Salimans's papers, integrated from low to high in float64."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    low, high = max(low, mean - 745 * scale), min(high, mean + 745 * scale)
    edges = np.linspace(low, high, max(2, math.ceil((high - low) / scale) + 1))
    half = np.diff(edges)[:, None] / 2
    z = np.abs(edges[:-1, None] + half + half * nodes - mean) / scale
    density = np.exp(-z) / (scale * (1 + np.exp(-z)) ** 2)
    return float((density * weights * half).sum())


def level_mass(level: int, levels: int, mean: float, scale: float) -> float:
    centre, half = level * 2 / (levels - 1) - 1, 1 / (levels - 1)
    low = -math.inf if level == 0 else centre - half
    high = math.inf if level == levels - 1 else centre + half
    return logistic_mass(low, high, mean, scale)


@pytest.mark.parametrize("levels", [2, 5, 17, 256])
@pytest.mark.parametrize("mean", [-1.3, -0.25, 0.0, 0.51, 2.0])
@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -2.0, 0.0, 2.0])
def test_a_level_has_the_integral_of_the_logistic_density(levels: int, mean: float, log_scale: float) -> None:
    x = scale_levels(torch.arange(levels), levels)
    log_probs = discretised_logistic(x, torch.tensor(mean), torch.tensor(log_scale), levels)
    for level in {0, 1, levels // 3, levels // 2, levels - 2, levels - 1}:
        mass = level_mass(level, levels, mean, math.exp(log_scale))
        if mass > 1e-250:
            # fp32 holds edges of levels to 6e-8, which is e^7 times as much in units of the sharpest scale
            assert float(log_probs[level]) == pytest.approx(math.log(mass), rel=1e-5, abs=5e-4)
        else:
            assert -1e5 < float(log_probs[level]) < -500
    assert float(log_probs.double().exp().sum()) == pytest.approx(1, abs=1e-4)


def random_params(head: LogisticMixtureHead, seed: int = 0) -> Tensor:
    count = head.out.out_channels
    return torch.randn(1, count, 2, 3, generator=torch.Generator().manual_seed(seed))


def mixture_of_pixel(head: LogisticMixtureHead, params: Tensor, row: int, column: int) -> tuple[np.ndarray, ...]:
    """Weights [K, 1 or C], means [K, C], scales [K, C], coefficients [K, pairs] in float64, by the head's layout."""
    c = head.image_channels
    table = params[0, :, row, column].double().numpy().reshape(head.mixtures, -1)
    logits, means, raw, coefficients = np.split(table, np.cumsum([head.logit_channels, c, c]), axis=1)
    sharpest = math.log(2 / (head.levels - 1)) - 2.15
    scales = np.exp(sharpest + np.log1p(np.exp(raw - sharpest)))
    weights = np.exp(logits) / np.exp(logits).sum(axis=0)
    return weights, means, scales, np.tanh(coefficients)


@pytest.mark.parametrize("levels", [4, 256])
def test_ordered_mixture_is_equation_3_of_salimans_et_al(levels: int) -> None:
    """log p(r, g, b) = log sum_k pi_k p_k(r) p_k(g | r) p_k(b | r, g), a mean linear in the distances before it."""
    head = LogisticMixtureHead(8, 3, levels, Model(linear_skip=0, mixtures=4))
    params = random_params(head)
    image = torch.randint(0, levels, (1, 3, 2, 3), generator=torch.Generator().manual_seed(1))
    log_prob = head.log_prob(params, scale_levels(image, levels))
    for row, column in ((0, 0), (1, 2)):
        weights, means, scales, coefficients = mixture_of_pixel(head, params, row, column)
        level_r, level_g, level_b = (int(v) for v in image[0, :, row, column])
        r, g = (level * 2 / (levels - 1) - 1 for level in (level_r, level_g))
        joint = 0.0
        for k in range(head.mixtures):
            mean_g = means[k, 1] + coefficients[k, 0] * (r - means[k, 0])
            mean_b = means[k, 2] + coefficients[k, 1] * (r - means[k, 0]) + coefficients[k, 2] * (g - mean_g)
            joint += (
                weights[k, 0]
                * level_mass(level_r, levels, means[k, 0], scales[k, 0])
                * level_mass(level_g, levels, mean_g, scales[k, 1])
                * level_mass(level_b, levels, mean_b, scales[k, 2])
            )
        assert float(log_prob[0, :, row, column].sum()) == pytest.approx(math.log(joint), abs=1e-4)


def test_independent_mixtures_have_weights_of_their_own() -> None:
    head = LogisticMixtureHead(8, 3, 9, Model(linear_skip=0, mixtures=4, channel_autoregressive=False))
    params = random_params(head)
    image = torch.randint(0, 9, (1, 3, 2, 3), generator=torch.Generator().manual_seed(1))
    log_prob = head.log_prob(params, scale_levels(image, 9))
    weights, means, scales, _ = mixture_of_pixel(head, params, 1, 2)
    for c in range(3):
        level = int(image[0, c, 1, 2])
        mass = sum(weights[k, c] * level_mass(level, 9, means[k, c], scales[k, c]) for k in range(4))
        assert float(log_prob[0, c, 1, 2]) == pytest.approx(math.log(mass), abs=1e-5)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_a_fresh_mixture_gives_every_level_a_chance(levels: int, channels: int) -> None:
    """Means spread over [-1, 1]: no level costs more than four times as many bits as it would if all were alike."""
    head = LogisticMixtureHead(8, channels, levels, Model(linear_skip=0))
    log_probs = head.level_log_probs(torch.randn(1, 8), torch.zeros(1, 0, dtype=torch.int64))
    assert float(log_probs.min()) > -4 * math.log(levels)
    assert float(log_probs.max()) < -0.25 * math.log(levels)


def test_categorical_is_the_softmax_of_its_logits() -> None:
    head = CategoricalHead(8, 3, 5, Model(linear_skip=0, channel_autoregressive=False))
    params = torch.randn(2, 15, 3, 4)
    image = torch.randint(0, 5, (2, 3, 3, 4))
    log_prob = head.log_prob(params, scale_levels(image, 5))
    logits = params[1, 5:10, 2, 3]
    expected = logits[image[1, 1, 2, 3]] - logits.exp().sum().log()
    torch.testing.assert_close(log_prob[1, 1, 2, 3], expected)


def test_the_blue_channel_has_an_embedding_of_red_and_one_of_green() -> None:
    """Levels matter beside the scaled numbers, which stay as they are here."""
    net = ChannelNet(8, 8, earlier=2, levels=5)
    for embedding in net.embeddings:
        torch.nn.init.normal_(embedding.weight)
    features, x = torch.randn(1, 8, 1, 1), torch.zeros(1, 2, 1, 1)
    pairs = [net(features, x, torch.tensor([r, g]).view(1, 2, 1, 1)) for r in range(5) for g in range(5)]
    assert all(not torch.allclose(a, b) for i, a in enumerate(pairs) for b in pairs[:i])


EXTREMES = [1e2, 1e4, 1e8]


@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("factor", EXTREMES)
@pytest.mark.parametrize("levels", [2, 256])
def test_extreme_weights_give_a_finite_loss_and_gradients(
    tiny: Tiny, head: str, channel_autoregressive: bool, factor: float, levels: int
) -> None:
    model = tiny((3, 3, 4), levels, head=head, channel_autoregressive=channel_autoregressive).train()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(factor**0.5)
    x = torch.randint(0, levels, (4, 3, 3, 4), dtype=torch.uint8)
    loss = PixelCNNLoss()(model, x).nats_per_dim
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("value", [-1e30, -1e4, -100.0, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("which", range(4))
def test_extreme_mixture_parameters_stay_finite_and_normalised(
    channel_autoregressive: bool, value: float, which: int
) -> None:
    """which: mixture logits, means, log-scales or coefficients of every other mixture at an extreme."""
    head = LogisticMixtureHead(
        4, 3, 256, Model(linear_skip=0, mixtures=4, channel_autoregressive=channel_autoregressive)
    )
    edges = np.cumsum([0, head.logit_channels, 3, 3, head.pairs])
    params = random_params(head).repeat(8, 1, 1, 1)
    by_mixture = params.view(8, 4, -1, 2, 3)
    by_mixture[:, ::2, edges[which] : edges[which + 1]] = value
    params.requires_grad_()
    image = torch.randint(0, 256, (8, 3, 2, 3), generator=torch.Generator().manual_seed(0))
    image[0], image[1] = 0, 255
    log_prob = head.log_prob(params, scale_levels(image, 256))
    log_prob.mean().backward()
    assert log_prob.isfinite().all()
    assert params.grad is not None
    assert params.grad.isfinite().all()


def test_extreme_logits_of_a_categorical_stay_finite() -> None:
    head = CategoricalHead(4, 3, 256, Model(linear_skip=0, channel_autoregressive=False))
    params = torch.full((1, 768, 1, 1), -1e30)
    params[:, ::2] = 1e30
    params.requires_grad_()
    log_prob = head.log_prob(params, torch.ones(1, 3, 1, 1))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert params.grad is not None
    assert params.grad.isfinite().all()


@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@torch.no_grad()
def test_log_probabilities_are_fp32_under_autocast(tiny: Tiny, head: str, channel_autoregressive: bool) -> None:
    model = tiny((3, 3, 4), 16, head=head, channel_autoregressive=channel_autoregressive)
    x = torch.randint(0, 16, (2, 3, 3, 4), dtype=torch.uint8)
    expected = model.log_prob(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_prob = model.log_prob(x)
        loss = PixelCNNLoss()(model, x)
        levels = model.head.level_log_probs(torch.randn(2, model.trunk.channels), torch.zeros(2, 1, dtype=torch.int64))
    assert log_prob.dtype == loss.nats_per_dim.dtype == levels.dtype == torch.float32
    torch.testing.assert_close(levels.exp().sum(1), torch.ones(2), atol=1e-4, rtol=0)
    assert float((log_prob - expected).abs().mean()) < 0.1


@pytest.mark.parametrize("head", ["dmol", "categorical"])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_log_prob_of_a_pixel_is_the_sum_of_its_channels(
    head: str, in_order: bool, channels: int, tiny: Tiny
) -> None:
    """Its gradient too, with levels at both ends and parameters that saturate."""
    model = tiny((channels, 5, 6), 256, head=head, channel_autoregressive=in_order)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (4, channels, 5, 6), dtype=torch.uint8, generator=generator)
    x[0], x[1] = 0, 255
    with torch.no_grad():
        params = model(x, torch.zeros(4, dtype=torch.long))
        params += 3 * torch.randn(params.shape, generator=generator)
        params[2] *= 5
    found, expected = params.clone().requires_grad_(), params.clone().requires_grad_()
    pixels, sub_pixels = model.score_pixels(found, x), model.score(expected, x)
    torch.testing.assert_close(pixels, sub_pixels.sum(1), rtol=1e-5, atol=1e-4)
    pixels.mean().backward()
    sub_pixels.sum(1).mean().backward()
    assert found.grad is not None
    assert expected.grad is not None
    assert (found.grad - expected.grad).norm() <= 1e-5 * expected.grad.norm()
    assert PixelCNNLoss(model)(params, x).item() == pytest.approx(-sub_pixels.mean().item(), rel=1e-5)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_the_gradient_of_a_mixture_that_channels_share_is_its_slope(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 1 + 2 * channels + channels * (channels - 1) // 2
    params = torch.randn(3, 2 * n, 2, 2, dtype=torch.float64, generator=generator).requires_grad_()
    x = torch.rand(3, channels, 2, 2, dtype=torch.float64, generator=generator) * 2 - 1
    x[0], x[1] = -1, 1
    assert torch.autograd.gradcheck(lambda p: dmol_loss.log_prob(p, x, 2, 0.1, -2.0, 1.0), params)
