"""The kernels for a pixel's steps: compiled where there is a GPU, elsewhere by Triton's interpreter."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sampled import DEVICE, last, random_images

from pixeltui.commands import sampling_speed
from pixeltui.core import ConditionalPixelCNN, kept
from pixeltui.core.by_wave import WaveSampler
from pixeltui.core.gpu import launches, pixels, use
from pixeltui.core.gpu.launches import MixtureKernel, Tile, TrunkKernel
from pixeltui.core.gpu.pixels import TRUNK_TILES, GpuPixels
from pixeltui.core.parts import Unsupported, scale_levels
from pixeltui.core.rows import RowTrunk
from pixeltui.core.sampler import Settings, fast_sampler, naive_sample_stream

pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
"""the interpreter's numpy warns where an exponential is infinite"""

Tiny = Callable[..., ConditionalPixelCNN]


def mixture_of(sampler: Any) -> MixtureKernel | None:
    """That which it draws with; a wave's has no other kernel."""
    return sampler.gpu if isinstance(sampler, WaveSampler) else sampler.gpu.mixture


WHOLE: list[dict[str, Any]] = [
    {"norm": "layer", "gate": "none"},
    {"norm": "rms", "gate": "tanh", "channel_autoregressive": False},
    {"norm": "none", "gate": "silu", "linear_skip": 0},
    {"norm": "layer", "gate": "none", "linear_skip": 24},
    {"architecture": "single_stack", "norm": "none", "gate": "none"},
    {"architecture": "single_stack", "norm": "batch", "gate": "tanh"},
    {"architecture": "depthwise", "norm": "layer", "gate": "none"},
    {"architecture": "depthwise", "norm": "rms", "gate": "none", "linear_skip": 0, "kernel": 5},
    {"architecture": "depthwise", "norm": "layer", "gate": "none", "kernel": 1},
    {"architecture": "depthwise", "norm": "rms", "gate": "tanh", "linear_skip": 0, "kernel": 1},
]


@pytest.mark.parametrize("options", WHOLE, ids=str)
def test_images_are_those_of_the_naive_loop(made: Tiny, drew: list[Any], options: dict[str, Any]) -> None:
    model = made((3, 2, 3), 8, 3, **options)
    given, known = random_images(model, 3), torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.4
    wish = {"labels": [0, 2, 1], "given": given, "known": known[None].expand(3, 3, 2, 3), "seed": 1}
    assert torch.equal(model.sample(3, **wish), last(naive_sample_stream(model, 3, **wish)))
    assert mixture_of(drew[0]) is not None


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_images_and_pairs(made: Tiny, drew: list[Any], channels: int) -> None:
    model = made((channels, 2, 3), 8)
    assert torch.equal(model.sample(3, seed=1), last(naive_sample_stream(model, 3, seed=1)))
    assert mixture_of(drew[0]) is not None


@pytest.mark.parametrize("wish", [{"guidance": 2.0, "labels": [1, 0]}, {"temperature": 0.8, "top_p": 0.9}], ids=str)
@pytest.mark.parametrize("head", ["dmol", "categorical"])
def test_other_draws_are_torch_s(made: Tiny, drew: list[Any], head: str, wish: dict[str, Any]) -> None:
    model = made((3, 2, 3), 8, 3, head=head, gate="none")
    assert torch.equal(model.sample(2, seed=1, **wish), last(naive_sample_stream(model, 2, seed=1, **wish)))
    assert mixture_of(drew[0]) is None


def row_begun(model: ConditionalPixelCNN, images: torch.Tensor) -> RowTrunk:
    """A trunk that has taken in all rows but the last, which begins."""
    batch, _, height, width = images.shape
    trunk = model.trunk.incremental(None, batch, height, width, torch.float32)
    assert isinstance(trunk, RowTrunk)
    trunk.fill_rows(0, scale_levels(images, model.levels)[:, :, :-1].permute(0, 2, 3, 1))
    trunk.set_row(height - 1)
    trunk.begin_row()
    return trunk


TILES = [
    *((12, tile) for tile in (Tile(1, 8, 1), Tile(2, 16, 2, ahead=False), Tile(4, 4, 1))),
    *((72, tile) for tile in TRUNK_TILES.values()),
]
"""and channels: columns of a matrix all at once and in parts, rows in groups, images that do not fill the last tile"""


def test_tiles_grow_with_the_batch() -> None:
    tiles = [pixels.tile_for(batch) for batch in (1, 32, 33, 128, 129, 1024)]
    assert [tile.images for tile in tiles] == [1, 1, 1, 1, 2, 2]
    assert [tile[1:3] for tile in tiles] == [(64, 4), (64, 4), (128, 8), (128, 8), (64, 8), (64, 8)]


@pytest.mark.parametrize(("channels", "tile"), TILES)
@pytest.mark.parametrize("gate", ["none", "tanh"])
@torch.no_grad()
def test_features_are_torch_s(made: Tiny, drew: list[Any], channels: int, tile: Tile, gate: str) -> None:
    options = {"channels": channels, "gate": gate, "first_kernel": 5, "kernel": 5}
    model = made((3, 3, 4), 256, **options)
    images = random_images(model, 3).to(DEVICE)
    ours, theirs = row_begun(model, images), row_begun(model, images)
    kernel = TrunkKernel(ours, tile)
    for column in range(4):
        torch.testing.assert_close(kernel.pixel(column), theirs.pixel(column), atol=1e-5, rtol=1e-5)
        for trunk in (ours, theirs):
            trunk.current[:, column] = scale_levels(images[:, :, -1, column], 256)
    torch.testing.assert_close(ours.stack.current, theirs.stack.current, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("in_order", [True, False])
@torch.no_grad()
def test_draws_are_torch_s_at_256_levels(made: Tiny, drew: list[Any], in_order: bool) -> None:
    model = made((3, 2, 3), 256, mixtures=5, channel_autoregressive=in_order)
    given, known = random_images(model, 5), torch.zeros(2, 3, dtype=torch.bool)
    known[1, 2] = True
    sampler = fast_sampler(model, Settings(5, seed=3, given=given, known=known))
    assert sampler is not None
    assert sampler.gpu is not None
    mixture, features = sampler.gpu.mixture, sampler.gpu.trunk.features
    assert mixture is not None
    given, batch = sampler.request.images, sampler.request.images.shape[0]  # on a GPU, more than 5
    sampler.row.copy_(given[:, :, 1].permute(2, 1, 0))
    sampler.known.copy_(known[1, :, None, None].expand(3, 3, batch))
    sampler.noise.copy_(torch.rand(3, 3, batch, generator=torch.Generator().manual_seed(0)))
    for column in range(3):
        features.copy_(torch.randn(features.shape, generator=torch.Generator().manual_seed(column)))
        mixture.draw(column)
        drawn = sampler.row[column].clone()
        sampler._draw_pixel(column, features)
        assert torch.equal(sampler.row[column], drawn)
        assert torch.equal(sampler.trunk.current[:, column], sampler.scaled[drawn].t())
    assert torch.equal(drawn, given[:, :, 1, 2].t().long())


@pytest.fixture(params=["two_stream", "depthwise"])
def changed(
    request: pytest.FixtureRequest, made: Tiny, drew: list[Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[ConditionalPixelCNN, ConditionalPixelCNN]:
    """A model whose sampler is kept and that has another's weights since; and that other."""
    monkeypatch.setattr(kept, "records", lambda _: True)
    options = {"architecture": request.param, "norm": "layer", "gate": "none"}
    model, other = (made((3, 2, 3), 8, seed=seed, **options) for seed in range(2))
    model.sample(1, seed=1)
    model.load_state_dict(other.state_dict())
    return model, other


def test_a_kept_sampler_draws_with_the_weights_of_now(
    changed: tuple[ConditionalPixelCNN, ConditionalPixelCNN], drew: list[Any]
) -> None:
    model, other = changed
    assert torch.equal(model.sample(1, seed=2), last(naive_sample_stream(other, 1, seed=2)))
    assert drew[0] is drew[1]
    assert mixture_of(drew[0]) is not None
    assert not isinstance(drew[0], WaveSampler) or drew[0].trunk.gpu is not None


def test_streams_that_interleave_or_are_left_draw_their_own(
    made: Tiny, drew: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "records", lambda _: True)
    model = made((3, 2, 3), 8)
    left, one, other = (model.sample_stream(1, seed=seed) for seed in range(3))
    for stream in (left, one, other):
        next(stream)
    left.close()
    for seed, stream in ((2, other), (1, one), (3, model.sample_stream(1, seed=3))):
        assert torch.equal(last(stream), last(naive_sample_stream(model, 1, seed=seed)))
    assert [drew.index(sampler) for sampler in drew] == [0, 1, 2, 0]


def test_a_sampler_kept_with_its_kernels_is_not_taken_for_one_without(
    changed: tuple[ConditionalPixelCNN, ConditionalPixelCNN], drew: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copies of the weights would be those of before."""
    model, other = changed
    monkeypatch.setattr(use, "ON", False)
    assert torch.equal(model.sample(1, seed=2), last(naive_sample_stream(other, 1, seed=2)))
    assert [sampler.gpu is None for sampler in drew] == [False, True]


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"attention": True}, None),
        ({"norm": "batch"}, None),
        ({"architecture": "single_stack", "norm": "layer"}, None),
        ({}, torch.bfloat16),
        ({"architecture": "depthwise", "attention": True}, None),
    ],
    ids=str,
)
def test_what_the_kernels_lack_is_drawn_in_torch(
    made: Tiny, drew: list[Any], options: dict[str, Any], dtype: torch.dtype | None
) -> None:
    model = made((1, 2, 3), 8, **options)
    drawn = model.sample(1, seed=1, dtype=dtype)
    assert drew[0].gpu is None
    if dtype is None:
        assert torch.equal(drawn, last(naive_sample_stream(model, 1, seed=1)))


def test_channels_beyond_three_are_drawn_in_torch(made: Tiny, drew: list[Any]) -> None:
    sampler = fast_sampler(made((4, 2, 3), 8), Settings(1, seed=0))
    assert sampler is not None
    assert sampler.gpu is not None
    assert sampler.gpu.mixture is None
    with pytest.raises(Unsupported, match="4 channels"):
        MixtureKernel(sampler.head, sampler, sampler.gpu.trunk.features, Tile(2, 64, 1))


def test_kernels_that_do_not_compile_are_left(made: Tiny, drew: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[None] = []

    def kernels() -> None:
        tried.append(None)
        raise RuntimeError("no C compiler\n...")

    monkeypatch.setattr(use, "given_up", {})
    monkeypatch.setattr(launches, "kernels", kernels)
    model = made((1, 2, 3), 8)
    for seed in range(2):
        assert torch.equal(model.sample(1, seed=seed), last(naive_sample_stream(model, 1, seed=seed)))
    assert drew[0].gpu is None
    assert list(use.given_up.values()) == ["RuntimeError: no C compiler\n..."]
    assert len(tried) == 1
    assert sampling_speed._steps(model, torch.float32) == "torch (triton: RuntimeError: no C compiler)"


@pytest.mark.usefixtures("drew")
def test_bench_says_that_the_kernels_are_used(made: Tiny) -> None:
    assert sampling_speed._steps(made((1, 2, 3), 8), torch.float32) == "triton"


def test_triton_is_imported_where_it_runs_and_can_be_turned_off() -> None:
    code = "import sys; from pixeltui.core.gpu import pixels, use; print('triton' in sys.modules, use.ON)"
    own = {**os.environ, "PIXELTUI_TRITON": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    assert done.stdout == "False False\n"
    assert use.ON, "the default"


def test_no_argument_has_a_name_that_triton_launches_with() -> None:
    """A local variable of its launcher, which then takes the argument's place: seen only where there is a GPU."""
    pytest.importorskip("triton")
    for name in use.kernels().__all__:
        taken = set(inspect.signature(getattr(use.kernels(), name).fn).parameters)
        assert not taken & {"params", "specialization", "options", "grid", "warmup"}, name


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEFAULT = {"channels": 48, "mixtures": 10, "first_kernel": 7, "blocks": 3, "gate": "none"}

MODELS: list[dict[str, Any]] = [
    DEFAULT,
    {"architecture": "single_stack", "norm": "none"},
    {**DEFAULT, "architecture": "depthwise"},
]


@gpu
@pytest.mark.parametrize("batch", [1, 5, 70])
@pytest.mark.parametrize("options", MODELS, ids=str)
def test_on_a_gpu_images_are_those_of_torch(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], batch: int
) -> None:
    """Rows one after another as graphs; a rounding may move a level at an edge, which is rare."""
    model = tiny((3, 6, 5), 16, 3, **{"std": 0.2, **options}).cuda()
    labels = [n % 3 for n in range(batch)]
    given, known = random_images(model, batch), torch.zeros(6, 5, dtype=torch.bool)
    known[1:3, 2:] = True
    wishes: list[dict[str, Any]] = [{}, {"given": given, "known": known}, {"temperature": 0.9}]
    for wish in wishes:
        drawn = []
        for on in (False, True):
            monkeypatch.setattr(use, "ON", on)
            kept._idle.clear()
            drawn.append(model.sample(batch, labels=labels, seed=1, **wish).cpu())
        assert (drawn[0] == drawn[1]).flatten(1).all(dim=1).float().mean() > 0.95


@gpu
@pytest.mark.parametrize("tile", [*TRUNK_TILES.values(), Tile(1, 64, 8), Tile(4, 64, 8), Tile(8, 64, 8)])
@torch.no_grad()
def test_on_a_gpu_features_are_torch_s(tiny: Tiny, tile: Tile) -> None:
    options = {"channels": 176, "first_kernel": 7, "gate": "none", "norm": "layer"}
    model = tiny((3, 4, 8), 256, std=0.1, blocks=4, **options).cuda()
    images = random_images(model, 21).cuda()
    ours, theirs = row_begun(model, images), row_begun(model, images)
    kernel = TrunkKernel(ours, tile)
    for column in range(8):
        torch.testing.assert_close(kernel.pixel(column), theirs.pixel(column), atol=1e-4, rtol=1e-4)
        for trunk in (ours, theirs):
            trunk.current[:, column] = scale_levels(images[:, :, -1, column], 256)


@gpu
def test_on_a_gpu_the_kernels_run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "ON", True)
    sampler = fast_sampler(tiny((3, 4, 5), 16).cuda(), Settings(2, seed=0))
    assert sampler is not None
    assert isinstance(sampler.gpu, GpuPixels)
    assert sampler.gpu.mixture is not None
