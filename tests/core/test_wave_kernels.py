"""A wave's kernels: compiled where there is a GPU, elsewhere by Triton's interpreter."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sampled import DEVICE, last, random_images

from pixeltui.core import ConditionalPixelCNN, depthwise_wave, kept
from pixeltui.core.by_wave import WaveSampler
from pixeltui.core.gpu import feed_forward, use, wave
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import Settings, fast_sampler, naive_sample_stream

pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
"""the interpreter's numpy warns where an exponential is infinite"""

Tiny = Callable[..., ConditionalPixelCNN]
WAVE_TILES = [use.ProductTile(16, 16, 16, 1, 2), use.ProductTile(32, 16, 32, 1, 2)]


@pytest.mark.usefixtures("drew")
@pytest.mark.parametrize("tile", WAVE_TILES, ids=str)
@pytest.mark.parametrize("size", [1e36, 1e20, 3e4, 1.0, 1e-8, 1e-30])
@pytest.mark.parametrize("options", [{}, {"norm": "rms", "kernel": 5}, {"channels": 20, "kernel": 1}], ids=str)
@torch.no_grad()
def test_blocks_of_a_wave_are_those_of_double_precision(
    made: Tiny, monkeypatch: pytest.MonkeyPatch, tile: use.ProductTile, size: float, options: dict[str, Any]
) -> None:
    """Features of true images, as near as torch's own in fp32; weights of any size."""
    monkeypatch.setattr(wave, "tiles_for", lambda _: wave.Tiles(tile, tile))
    model = made((3, 4, 5), 256, **{"architecture": "depthwise", "norm": "layer", "gate": "none"} | options)
    for block in model.trunk.blocks:
        block.into.weight *= size
        block.into.bias *= size
        block.out.weight /= size
    images = random_images(model, 3).to(DEVICE)
    exact = copy.deepcopy(model).double()
    expected = exact.trunk(scale_levels(images, 256).double(), exact.label_index(None, 3, images.device))
    wish: dict[str, Any] = {"given": images, "known": torch.ones(4, 5, dtype=torch.bool)}
    errors = []
    for on in (True, False):
        monkeypatch.setattr(use, "ON", on)
        sampler = fast_sampler(model, Settings(3, seed=0, **wish))
        assert isinstance(sampler, WaveSampler)
        assert (sampler.trunk.gpu is not None) == on
        found = features_by_step(sampler, images)
        errors.append(float((found - expected).norm() / expected.norm()))
    ours, theirs = errors
    assert ours < 3 * theirs + 1e-7


def features_by_step(sampler: WaveSampler, images: torch.Tensor) -> torch.Tensor:
    """[B, D, H, W]"""
    batch, _, height, width = images.shape
    sampler.request.rows.extend(range(height))
    sampler._begin_rows(0)
    front = sampler.trunk.front
    size = sampler.request.images.shape[0]  # on a GPU, more than the batch
    features = torch.full((height * width, size, sampler.trunk.features.shape[1]), torch.nan, device=images.device)
    for places in front.places(0, height):
        sampler._step()
        features[places[places >= 0]] = sampler.trunk.features.view(front.tracks, size, -1)[places >= 0]
    return features.view(height, width, size, -1).permute(2, 3, 0, 1)[:batch]


@pytest.mark.parametrize("memory", [232_448, 166_912, 101_376], ids=["H100", "A100", "RTX 4090"])
def test_products_fit_the_memory_of_smaller_devices(memory: int) -> None:
    tiles = [(4, tile) for tiles in wave.TILES.values() for tile in tiles]
    for each, tile in [*tiles, (2, feed_forward.TILE), (2, feed_forward.OTHER_TILE)]:
        fitted = tile.fitting(memory, each)
        assert fitted.stages * fitted.terms * (fitted.rows + fitted.columns) * each <= memory
        assert fitted == tile or memory < 232_448


def test_a_wave_kept_with_its_kernels_is_not_taken_for_one_without(
    made: Tiny, drew: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor with the number of a norm that has become another."""
    monkeypatch.setattr(kept, "records", lambda _: True)
    model = made((3, 2, 3), 8, architecture="depthwise", norm="rms", gate="none")
    model.sample(1, seed=1)
    for block in model.trunk.blocks:
        block.norm.eps = 0.5
    assert torch.equal(model.sample(1, seed=1), last(naive_sample_stream(model, 1, seed=1)))
    monkeypatch.setattr(depthwise_wave, "wave_blocks", lambda *_: None)
    assert torch.equal(model.sample(1, seed=1), last(naive_sample_stream(model, 1, seed=1)))
    assert len(set(map(id, drew))) == 3
    assert [sampler.trunk.gpu is None for sampler in drew] == [False, False, True]


def test_kernels_that_fail_on_the_way_leave_nothing(
    made: Tiny, drew: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = wave.WaveBlocks._norm

    def fails(self: wave.WaveBlocks, block: int, columns: torch.Tensor) -> None:
        if block == 1:
            raise RuntimeError("no compiler")
        own(self, block, columns)

    monkeypatch.setattr(use, "given_up", {})
    monkeypatch.setattr(wave.WaveBlocks, "_norm", fails)
    model = made((3, 12, 5), 8, architecture="depthwise", norm="layer", gate="none", blocks=3)
    assert torch.equal(model.sample(2, seed=1), last(naive_sample_stream(model, 2, seed=1)))
    assert drew[0].trunk.gpu is None
    assert use.given_up


def test_a_wave_of_no_norm_is_torch_s(made: Tiny, drew: list[Any]) -> None:
    """Features that nothing bounds may be too large for fp16."""
    model = made((1, 2, 3), 8, architecture="depthwise", norm="none", gate="none")
    assert torch.equal(model.sample(1, seed=1), last(naive_sample_stream(model, 1, seed=1)))
    assert drew[0].trunk.gpu is None
