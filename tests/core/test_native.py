"""The compiled steps compute what torch computes. Built here from their source, whatever the installation has."""

import copy
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from sampled import Fast, last, random_images
from torch import Tensor

from pixeltui.config import Model
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.core.cached import CachedSampler
from pixeltui.core.native import compiled
from pixeltui.core.native.rows import NativeRow
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import naive_sample_stream

Tiny = Callable[..., ConditionalPixelCNN]


def in_torch(model: ConditionalPixelCNN, batch: int, **wish: Any) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "load", lambda: "not built")
        return last(model.sample_stream(batch, **wish))


@pytest.fixture(scope="module")
def once() -> Callable[[Any, Callable[[], Tensor]], Tensor]:
    """What torch draws is the same whatever the vectors: drawn for the first of them, kept for the others."""
    drawn: dict[Any, Tensor] = {}

    def get(key: Any, draw: Callable[[], Tensor]) -> Tensor:
        if key not in drawn:
            drawn[key] = draw()
        return drawn[key]

    return get


def sampler_of(rows_of_stream: Any) -> CachedSampler:
    sampler = rows_of_stream.gi_frame.f_locals["self"]
    assert isinstance(sampler, CachedSampler)
    return sampler


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("head", list(Fast.HEADS))
@pytest.mark.parametrize("channel_autoregressive", [True, False])
@pytest.mark.parametrize(("shape", "levels"), [((1, 7, 3), 17), ((3, 4, 6), 256)])
def test_the_same_noise_gives_the_image_of_torch(
    tiny: Tiny,
    once: Callable[[Any, Callable[[], Tensor]], Tensor],
    architecture: str,
    head: str,
    channel_autoregressive: bool,
    shape: tuple[int, int, int],
    levels: int,
) -> None:
    """All 48 but one at most: a number within rounding of an edge parts them, on some processor or other."""
    options = {"architecture": architecture, "head": head, "channel_autoregressive": channel_autoregressive}
    labels, apart = torch.tensor([0, 2, 1]), 0
    for norm, attention in itertools.product(Fast.NORMS, (False, True)):
        model = tiny(shape, levels, 3, norm=norm, attention=attention, **options)
        for wish in ({}, {"labels": labels, "guidance": 1.7, "temperature": 0.9, "top_p": 0.95}):
            assert sampler_of(model.sample_stream(3, seed=4, **wish)).native is not None
            drawn = last(model.sample_stream(3, seed=4, **wish))
            key = (*options.values(), shape, norm, attention, "guidance" in wish)
            expected = once(key, lambda model=model, wish=wish: in_torch(model, 3, seed=4, **wish))
            apart += int((drawn != expected).flatten(1).any(dim=1).sum())
            assert len(drawn.unique()) > 2
    assert apart <= 1


@torch.no_grad()
def features_of(model: ConditionalPixelCNN, images: Tensor, labels: Tensor | None) -> Tensor:
    """[B, D, H, W] of true images, row by row as compiled steps."""
    batch, _, height, width = images.shape
    known = torch.ones_like(images, dtype=torch.bool)
    wish: dict[str, Any] = {"labels": labels, "seed": 0, "given": images, "known": known}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.trunk), "in_waves", lambda *_: None)
        sampler = sampler_of(model.sample_stream(batch, **wish))
    trunk: Any = sampler.trunk
    trunk.features = torch.zeros(width, batch, model.trunk.channels)
    sampler.native = NativeRow.of(sampler)
    assert sampler.native is not None
    features = []
    for row in range(height):
        sampler.draw_row(row)
        features.append(trunk.features.clone())
    assert torch.equal(sampler.request.images, images)
    return torch.stack(features).permute(2, 3, 0, 1)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("norm", list(Fast.NORMS))
@pytest.mark.parametrize(("first_kernel", "kernel"), [(3, 3), (7, 5), (5, 1)])
@torch.no_grad()
def test_features_are_those_of_the_full_forward(
    tiny: Tiny, architecture: str, norm: str, first_kernel: int, kernel: int
) -> None:
    kernels = {"first_kernel": first_kernel, "kernel": kernel}
    for channels, size, attention, gate in ((1, 8, False, "tanh"), (3, 44, False, "none"), (3, 44, True, "silu")):
        options: dict[str, Any] = {
            "architecture": architecture,
            "norm": norm,
            "channels": size,
            "gate": gate,
            **kernels,
        }
        model = tiny((channels, 6, 5), 8, 3, attention=attention, **options)
        images, labels = random_images(model, 3), torch.tensor([0, 2, 1])
        full = model.trunk(scale_levels(images, 8), labels)
        scale = float(full.abs().max())
        torch.testing.assert_close(features_of(model, images, labels), full, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("gate", list(Fast.GATES))
@torch.no_grad()
def test_features_of_fresh_weights_are_those_of_the_full_forward(architecture: str, gate: str) -> None:
    """Where nothing is known yet the features are all but zero, and every norm makes them large again."""
    config = Model(architecture=architecture, gate=gate, channels=32, blocks=12)
    model = build_model(config, (3, 4, 5), 256, 0).eval()
    images = random_images(model, 2)
    full = model.trunk(scale_levels(images, 256), None)
    torch.testing.assert_close(features_of(model, images, None), full, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_completion_is_that_of_naive_sampling(tiny: Tiny, architecture: str, attention: bool, guidance: float) -> None:
    model = tiny((3, 9, 4), 8, 3, architecture=architecture, attention=attention)
    given = random_images(model, 2)
    pixels = torch.rand(2, 3, 9, 4, generator=torch.Generator().manual_seed(0)) < 0.6
    pixels[:, :, 4] = True
    below = torch.zeros(9, 4, dtype=torch.bool)
    below[:6], below[6, 1] = True, True
    for known in (below, pixels):
        wish: dict[str, Any] = {"labels": [1, 2], "guidance": guidance, "seed": 1, "given": given, "known": known}
        completed = last(model.sample_stream(2, **wish))
        assert torch.equal(completed, last(naive_sample_stream(model, 2, **wish)))
        everywhere = known.expand(2, 3, 9, 4)
        assert torch.equal(completed[everywhere], given[everywhere])


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@torch.no_grad()
def test_features_are_bit_for_bit_those_of_any_batch_on_any_threads(
    tiny: Tiny, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny((3, 3, 30), 256, architecture=architecture, channels=40, attention=True)
    images = random_images(model, 29)
    whole = features_of(model, images, None)
    for size in (1, 2, 3, 5, 13):
        assert torch.equal(features_of(model, images[:size], None), whole[:size])
    monkeypatch.setattr(compiled.sharing, "pays", lambda: True)
    for threads, groups, size in ((3, 3, 29), (2, 1, 1), (3, 1, 2), (4, 2, 3), (7, 1, 1), (64, 29, 29)):
        monkeypatch.setattr(compiled, "threads_for", lambda *_, of=(threads, groups): of)
        assert torch.equal(features_of(model, images[:size], None), whole[:size])


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
def test_threads_that_share_a_row_draw_the_images_of_one(
    tiny: Tiny, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it takes to meet in every order, with more threads than this machine may have."""
    monkeypatch.setattr(compiled.sharing, "pays", lambda: True)
    model = tiny((3, 9, 30), 256, 3, architecture=architecture, blocks=4, channels=24)
    wishes: list[dict[str, Any]] = [{"labels": [1]}, {"labels": [2], "guidance": 1.5, "temperature": 0.9}]
    for wish in wishes:
        monkeypatch.setattr(compiled, "threads_for", lambda *_: (1, 1))
        alone = last(model.sample_stream(1, seed=3, **wish))
        for threads in (2, 3, 5) * 8:
            monkeypatch.setattr(compiled, "threads_for", lambda *_, n=threads: (n, 1))
            assert torch.equal(last(model.sample_stream(1, seed=3, **wish)), alone)


def test_rows_are_left_to_one_thread_while_others_want_the_processors() -> None:
    sharing = compiled.Sharing()

    def attempts(busy: bool, of: int) -> list[int]:
        tried = []
        for row in range(of):
            if sharing.pays():
                tried.append(row)
                sharing.lost(compiled.PATIENCE + 1 if busy else 0)
        return tried

    assert attempts(busy=False, of=50) == list(range(50))
    assert attempts(busy=True, of=1200) == [0, 4, 12, 28, 60, 124, 252, 508, 1020]
    assert len(attempts(busy=False, of=1200)) > 600, "it finds out that they are free again"
    assert attempts(busy=True, of=5) == [0, 4], "and is quick to try again"


def test_few_images_share_the_threads_and_many_have_one_each() -> None:
    chosen = {
        threads: [compiled.threads_for(threads, images, 4 * images) for images in (1, 3, 4, 16)]
        for threads in (1, 2, 8)
    }
    assert chosen == {
        1: [(1, 1), (1, 1), (1, 1), (1, 1)],
        2: [(2, 1), (2, 1), (2, 2), (2, 2)],
        8: [(4, 1), (8, 1), (8, 2), (8, 8)],
    }


@pytest.mark.usefixtures("compiled")
def test_two_streams_do_not_disturb_each_other(tiny: Tiny) -> None:
    model = tiny((3, 6, 5), 256)
    expected = [last(model.sample_stream(4, seed=seed)) for seed in (0, 1)]
    streams = [model.sample_stream(4, seed=seed) for seed in (0, 1)]
    *_, ((first, _), (second, _)) = zip(*streams, strict=True)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])


@pytest.mark.usefixtures("compiled")
def test_other_threads_may_sample_and_train_at_the_same_time(tiny: Tiny) -> None:
    models = [tiny((3, 8, 8), 8, seed=seed) for seed in range(2)]
    expected = [model.sample(4, seed=0) for model in models]
    trained = tiny((3, 8, 8), 8)
    images = random_images(trained, 8)
    losses: list[list[float]] = []

    def train(steps: int = 10) -> None:
        model = copy.deepcopy(trained)
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)
        losses.append([])
        for _ in range(steps):
            optimizer.zero_grad()
            loss = -model.log_prob(images).mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())

    train()
    with ThreadPoolExecutor() as pool:
        training = pool.submit(train)
        drawn = [pool.submit(model.sample, 4, seed=0) for model in models * 4]
        assert all(torch.equal(one.result(), want) for one, want in zip(drawn, expected * 4, strict=True))
        training.result()
    assert losses[0] == losses[1]


@pytest.mark.usefixtures("compiled")
def test_what_the_steps_do_not_know_is_left_to_torch(tiny: Tiny) -> None:
    class Other(type(tiny((1, 4, 5), 8).head.incremental())):  # type: ignore[misc]
        pass

    plain = tiny((1, 4, 5), 8)
    expected = in_torch(plain, 2, seed=0)
    plain.head.incremental = lambda: Other(plain.head)
    for model in (plain, tiny((1, 4, 5), 8).bfloat16()):
        assert sampler_of(model.sample_stream(2, seed=0)).native is None
    assert torch.equal(last(plain.sample_stream(2, seed=0)), expected)


def test_threads_that_draw_at_the_same_time_leave_torch_as_many_as_it_had() -> None:
    """The second begins while torch has one for the first, which ends before it."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    alone, entered, left = compiled.OneThread(), threading.Event(), threading.Event()
    found: list[int] = []

    def second() -> None:
        found.append(alone.enter())
        entered.set()
        left.wait(60)
        alone.leave(found[0])
        found.append(torch.get_num_threads())

    try:
        assert alone.enter() == 3
        assert torch.get_num_threads() == 1
        other = threading.Thread(target=second)
        other.start()
        entered.wait(60)
        alone.leave(3)
        left.set()
        other.join()
        assert found == [3, 3]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_each_caller_has_as_many_threads_again_as_it_had() -> None:
    before = torch.get_num_threads()
    alone, ready, begun = compiled.OneThread(), threading.Event(), threading.Event()
    found: list[int] = []

    def second() -> None:
        torch.set_num_threads(3)
        assert torch.get_num_threads() == 3  # asked for the first time, torch takes the newest of any thread's
        ready.set()
        begun.wait(60)
        found.append(alone.enter())
        alone.leave(found[0])
        found.append(torch.get_num_threads())

    other = threading.Thread(target=second)
    other.start()
    try:
        ready.wait(60)
        torch.set_num_threads(2)
        assert alone.enter() == 2
        begun.set()
        other.join()
        alone.leave(2)
        assert found == [3, 3]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
