"""Heads at one pixel: the log-probabilities of the full forward, and levels drawn as these say."""

from collections.abc import Callable

import pytest
import torch
from sampled import Fast, random_images

from pixeltui.core import ConditionalPixelCNN
from pixeltui.core.draw import LARGEST_NOISE
from pixeltui.core.parts import scale_levels

Tiny = Callable[..., ConditionalPixelCNN]


@pytest.mark.parametrize("head", list(Fast.HEADS))
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [2, 8, 256])
@torch.no_grad()
def test_heads_give_the_log_probabilities_of_the_full_forward(
    tiny: Tiny, head: str, channel_autoregressive: bool, channels: int, levels: int
) -> None:
    model = tiny((channels, 3, 4), levels, head=head, channel_autoregressive=channel_autoregressive)
    images = random_images(model, 2)
    full = model.log_prob(images)
    features = model.trunk(scale_levels(images, levels), None)
    pixel = model.head.incremental()
    assert pixel is not None
    for row in range(3):
        for column in range(4):
            pixel.begin(features[:, :, row, column])
            for channel in range(channels):
                level = images[:, channel, row, column].long()
                log_probs = pixel.log_probs(channel)
                assert log_probs.shape == (2, levels)
                torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(2), atol=1e-4, rtol=0)
                own = log_probs[torch.arange(2), level]
                torch.testing.assert_close(own, full[:, channel, row, column], atol=1e-4, rtol=1e-4)
                if channel + 1 < channels:
                    pixel.observe(channel, level)


@pytest.mark.parametrize("head", list(Fast.HEADS))
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize("levels", [2, 17, 200, 256])
@pytest.mark.parametrize("batch", [3, 150])
@torch.no_grad()
def test_heads_draw_the_inverse_of_their_cumulative_distribution(
    tiny: Tiny, head: str, channel_autoregressive: bool, levels: int, batch: int
) -> None:
    model = tiny((3, 1, 1), levels, head=head, channel_autoregressive=channel_autoregressive, std=0.7)
    pixel = model.head.incremental()
    assert pixel is not None
    generator = torch.Generator().manual_seed(1)
    pixel.begin(torch.randn(batch, model.trunk.channels, generator=generator))
    seen = set()
    for channel in range(3):
        noise = torch.rand(batch, generator=generator)
        noise[0], noise[1] = 0.0, LARGEST_NOISE
        drawn = pixel.draw(channel, noise)
        assert drawn.dtype == torch.int64
        assert 0 <= int(drawn.min()) <= int(drawn.max()) < levels
        cumulative = pixel.log_probs(channel).double().exp().cumsum(1)
        upto = cumulative.gather(1, drawn[:, None])[:, 0]
        below = upto - pixel.log_probs(channel).double().exp().gather(1, drawn[:, None])[:, 0]
        assert bool((below <= noise + 2e-6).all())
        assert bool((upto >= noise - 2e-6).all())
        seen |= set(drawn.tolist())
        pixel.observe(channel, drawn)
    assert len(seen) > min(levels, batch) // 5
