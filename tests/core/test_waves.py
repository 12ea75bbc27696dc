"""Pixels of several rows at once: the right ones, with the features and the images of one at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sampled import last, random_images
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN, kept
from pixeltui.core.by_wave import WaveSampler
from pixeltui.core.native import compiled as compiled_steps
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import Settings, fast_sampler, naive_sample_stream
from pixeltui.core.wavefront import MOST_TRACKS, Wavefront

Tiny = Callable[..., ConditionalPixelCNN]


@pytest.mark.parametrize("width", [1, 3, 8, 13, 32, 64, 100])
@pytest.mark.parametrize(("reach", "above"), [(0, 1), (1, 1), (2, 2), (3, 3), (5, 5), (9, 2)])
def test_a_wave_draws_every_pixel_when_all_it_looks_at_are_there(width: int, reach: int, above: int) -> None:
    front = Wavefront.of(width, reach, above)
    assert front.tracks <= max(MOST_TRACKS, above + 1)
    first, end = 5, 5 + 2 * front.tracks
    places = front.places(first, end)
    drawn = [(step, track, place) for step, row in enumerate(places.tolist()) for track, place in enumerate(row)]
    when = {divmod(place, width): (step, track) for step, track, place in drawn if place >= 0}
    assert sorted(when) == [(row, column) for row in range(first, end) for column in range(width)]
    assert len(when) == sum(place >= 0 for _, _, place in drawn)
    assert len(places) == front.end(end - 1 - first)
    latest: dict[int, int] = {}
    for (row, column), (step, track) in sorted(when.items(), key=lambda item: item[1][0]):
        assert track == row % front.tracks
        assert latest.get(track, row) <= row, "a row has its track to itself"
        latest[track] = row
        assert front.end(row - first) > step
        seen = {(row, c) for c in range(column - reach, column)}
        seen |= {(row - up, c) for up in range(1, above + 1) for c in range(column - reach, column + reach + 1)}
        for pixel in seen & when.keys():
            assert when[pixel][0] < step
            over = (pixel[0] + front.tracks, pixel[1])
            assert over not in when or when[over][0] >= step, "the track is written to after that"


def wave_of(model: ConditionalPixelCNN, batch: int, **wish: Any) -> WaveSampler:
    sampler = fast_sampler(model, Settings(batch, seed=0, **wish))
    assert isinstance(sampler, WaveSampler)
    return sampler


@torch.no_grad()
def features_of(model: ConditionalPixelCNN, images: Tensor, labels: Tensor | None, filled: int = 0) -> Tensor:
    """[B, D, H, W] of true images, step by step; NaN in the first rows, so many, that are taken in at once."""
    batch, _, height, width = images.shape
    known = torch.ones_like(images, dtype=torch.bool)
    sampler = wave_of(model, batch, labels=labels, given=images, known=known)
    front = sampler.trunk.front
    if filled:
        sampler.fill(0, filled)
    sampler.request.rows.extend(range(filled, height))
    sampler._begin_rows(filled)
    features = torch.full((height * width, batch, model.trunk.channels), torch.nan)
    for step, places in enumerate(front.places(filled, height)):
        if sampler.native is None:
            sampler._step()
        else:
            sampler.native.draw((filled, height), (step, step + 1))
        own = sampler.trunk.features.view(front.tracks, batch, -1)
        features[places[places >= 0]] = own[places >= 0]
    levels = sampler.levels_drawn[:-1].view(height, width, -1, batch).permute(3, 2, 0, 1)
    assert torch.equal(levels[:, :, filled:], images[:, :, filled:].long())
    return features.view(height, width, batch, -1).permute(2, 3, 0, 1)


KERNELS = [(7, 3), (3, 7), (5, 1), (3, 3)]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("width", [3, 9, 17])
@pytest.mark.parametrize(("first_kernel", "kernel"), KERNELS)
@torch.no_grad()
def test_features_are_those_of_the_full_forward(
    tiny: Tiny, request: pytest.FixtureRequest, native: bool, width: int, first_kernel: int, kernel: int
) -> None:
    if native:
        request.getfixturevalue("compiled")
    for norm, gate, skip in (("layer", "none", 4), ("rms", "tanh", 0), ("batch", "silu", 0)):
        options = {"first_kernel": first_kernel, "kernel": kernel, "norm": norm, "gate": gate, "linear_skip": skip}
        model = tiny((3, 11, width), 8, 3, architecture="depthwise", std=0.3, **options)
        images, labels = random_images(model, 3), torch.tensor([0, 2, 1])
        full = model.trunk(scale_levels(images, 8), labels)
        with pytest.MonkeyPatch.context() as patch:
            if not native:
                patch.setattr(compiled_steps, "load", lambda: "not built")
            for filled in (0, 1, 6):
                features = features_of(model, images, labels, filled)
                torch.testing.assert_close(features[:, :, filled:], full[:, :, filled:], atol=1e-4, rtol=1e-4)
                assert bool(features[:, :, :filled].isnan().all())


@pytest.mark.usefixtures("lanes")
@torch.no_grad()
def test_features_are_bit_for_bit_those_of_any_batch(tiny: Tiny) -> None:
    model = tiny((3, 9, 30), 256, architecture="depthwise", channels=40)
    images = random_images(model, 29)
    whole = features_of(model, images, None)
    for size in (1, 2, 3, 5, 13):
        assert torch.equal(features_of(model, images[:size], None), whole[:size])


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("gate", ["none", "tanh"])
def test_threads_that_share_a_step_draw_the_images_of_one(
    tiny: Tiny, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its products by outputs, everything else by pixels; as often as it takes to meet in every order."""
    monkeypatch.setattr(compiled_steps.sharing, "pays", lambda: True)
    model = tiny((3, 9, 30), 256, 3, architecture="depthwise", gate=gate, channels=24)
    for images, wish in ((1, {}), (3, {"guidance": 1.5, "temperature": 0.9}), (30, {})):
        wish = {"labels": [n % 3 for n in range(images)], "seed": 3, **wish}
        monkeypatch.setattr(compiled_steps, "threads_for", lambda *_: (1, 1))
        alone = last(model.sample_stream(images, **wish))
        for threads in (2, 3, 5, 11) * (4 if images < 30 else 1):
            monkeypatch.setattr(compiled_steps, "threads_for", lambda *_, n=threads: (n, 1))
            assert torch.equal(last(model.sample_stream(images, **wish)), alone)
        monkeypatch.setattr(compiled_steps, "threads_for", lambda *_: (4, 4))
        assert torch.equal(last(model.sample_stream(images, **wish)), alone)


@pytest.mark.parametrize("native", [False, True])
def test_what_is_known_anywhere_is_kept_and_what_follows_is_that_of_the_naive_loop(
    tiny: Tiny, request: pytest.FixtureRequest, native: bool
) -> None:
    """In rows that a wave passes, or that end it; in part; in rows of which nothing is to be drawn at the end."""
    if native:
        request.getfixturevalue("compiled")
    model = tiny((3, 16, 10), 8, 3, architecture="depthwise", first_kernel=5)
    given, generator = random_images(model, 3), torch.Generator().manual_seed(0)
    known = torch.zeros(16, 10, dtype=torch.bool)
    known[:2], known[4], known[8:13], known[7, 3:], known[15] = True, True, True, True, True
    masks = [known, known & (torch.rand(3, 3, 16, 10, generator=generator) < 0.9)]
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(compiled_steps, "load", lambda: "not built")
        for mask in masks:
            for wish in ({}, {"labels": [1, 2, 0], "guidance": 1.5, "top_p": 0.9}):
                own = {"given": given, "known": mask, "seed": 2, **wish}
                drawn = last(model.sample_stream(3, **own))
                assert torch.equal(drawn, last(naive_sample_stream(model, 3, **own)))
                everywhere = mask.expand_as(drawn)
                assert torch.equal(drawn[everywhere], given[everywhere])


def test_rows_that_are_known_here_and_there_do_not_end_a_wave(tiny: Tiny) -> None:
    model = tiny((1, 20, 12), 8, architecture="depthwise", first_kernel=5)
    tracks, known = wave_of(model, 1).trunk.front.tracks, torch.zeros(20, 12, dtype=torch.bool)
    known[1::2] = True
    sampler = wave_of(model, 1, given=random_images(model, 1), known=known)
    sampler.draw_row(0)
    assert (sampler.first, sampler.end, sampler.taken) == (0, 19, 19)
    known[1 : 1 + tracks] = True
    sampler = wave_of(model, 1, given=random_images(model, 1), known=known)
    sampler.draw_row(0)
    assert (sampler.first, sampler.end, sampler.taken) == (0, 1, 1)


def test_labels_that_change_while_a_stream_draws_change_nothing(tiny: Tiny) -> None:
    model = tiny((3, 16, 10), 8, 3, architecture="depthwise", first_kernel=5)
    given, known = random_images(model, 3), torch.zeros(16, 10, dtype=torch.bool)
    known[5:11] = True
    labels = torch.tensor([0, 2, 1])
    wish: dict[str, Any] = {"labels": labels, "given": given, "known": known, "seed": 1}
    expected = model.sample(3, **wish)
    rows = model.sample_stream(3, **wish)
    next(rows)
    labels.fill_(1)
    assert torch.equal(last(rows), expected)


def test_a_stream_shows_whole_rows_and_nothing_of_those_under_way(tiny: Tiny) -> None:
    model = tiny((1, 12, 9), 8, architecture="depthwise")
    expected = last(naive_sample_stream(model, 2, seed=1))
    for images, done in model.sample_stream(2, seed=1):
        assert torch.equal(images[:, :, :done], expected[:, :, :done])
        assert not images[:, :, done:].any()


def test_an_image_takes_a_step_for_several_pixels(tiny: Tiny) -> None:
    front = wave_of(tiny((3, 32, 32), 8, architecture="depthwise", first_kernel=7), 2).trunk.front
    assert (front.tracks, front.lag, front.end(31)) == (8, 4, 156)


@pytest.mark.parametrize("wish", [{}, {"labels": [0, 1], "guidance": 2.0}], ids=str)
def test_a_step_never_waits_for_the_device(tiny: Tiny, wish: dict[str, Any]) -> None:
    """What a CUDA graph records, on a device without values: reading one there raises."""
    model = tiny((3, 5, 6), 256, 3, architecture="depthwise").to("meta")
    sampler = wave_of(model, 2, **wish)
    sampler._step()
    assert sampler.levels_drawn.is_meta
    with pytest.raises((RuntimeError, NotImplementedError)):
        sampler.levels_drawn.tolist()


def test_a_kept_sampler_begins_anew_with_the_weights_of_now(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    drew: list[Any] = []
    stream = WaveSampler.stream
    monkeypatch.setattr(kept, "records", lambda _: True)
    monkeypatch.setattr(compiled_steps, "load", lambda: "not built")
    monkeypatch.setattr(WaveSampler, "stream", lambda self: (drew.append(self), stream(self))[1])
    model, other = (tiny((3, 7, 6), 8, 3, architecture="depthwise", seed=seed) for seed in range(2))
    given, known = random_images(model, 4), torch.zeros(7, 6, dtype=torch.bool)
    known[1:6], pool = True, torch.tensor([0, 2, 1, 1, 2, 1, 0, 0])
    wish: dict[str, Any] = {"given": given, "known": known, "seed": 1}
    for labels in (pool[:4], pool[4:], pool[2:6].clone()):
        expected = last(naive_sample_stream(model, 4, labels=labels, **wish))
        assert torch.equal(model.sample(4, labels=labels, **wish), expected)
    assert pool.tolist() == [0, 2, 1, 1, 2, 1, 0, 0]
    wish["labels"] = pool[:4]
    left = model.sample_stream(4, **{**wish, "seed": 3})
    next(left)
    left.close()
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.sample(4, **wish), last(naive_sample_stream(other, 4, **wish)))
    assert len(set(map(id, drew))) == 1
