"""Augmentation: each image its own draw, values in range, a pure function of (images, seed, step)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixeltui.config import Augmentations
from pixeltui.data.augment import augment
from pixeltui.data.batches import step_generator

OFF = Augmentations(horizontal_flip=False)


def images(batch=64, channels=3, height=8, width=6, levels=256):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(levels, (batch, channels, height, width), generator=generator, dtype=torch.uint8)


def apply(x, *, levels=256, seed=0, step=0, **config):
    config = {"horizontal_flip": False, **config}
    return augment(x, Augmentations(**config), levels, step_generator(seed, "augment", step))


@settings(deadline=None)
@given(
    config=st.builds(
        Augmentations,
        random_crop=st.integers(0, 4),
        horizontal_flip=st.booleans(),
        color_jitter=st.sampled_from([0.0, 0.2, 1.0]),
        cutout=st.integers(0, 9),
    ),
    levels=st.integers(2, 256),
    shape=st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7)),
    step=st.integers(0, 2**31),
)
def test_values_stay_below_levels_and_the_same_step_gives_the_same_images(config, levels, shape, step):
    x = images(*shape, levels)
    before = x.clone()
    results = [augment(x, config, levels, step_generator(3, "augment", step)) for _ in range(2)]
    assert results[0].equal(results[1])
    assert results[0].dtype == torch.uint8
    assert results[0].shape == x.shape
    assert int(results[0].max()) < levels
    assert x.equal(before)


def test_off_returns_the_same_tensor():
    x = images()
    assert augment(x, OFF, 256, step_generator(0, "augment", 0)) is x


def test_crops_are_windows_of_the_padded_image_all_of_them_about_equally_often():
    x = images(1, 1, 5, 4).clamp(min=1).expand(5000, 1, 5, 4)
    padded = torch.nn.functional.pad(x[0], (2, 2, 2, 2))
    windows = torch.stack([padded[:, i : i + 5, j : j + 4] for i in range(5) for j in range(5)])
    result = apply(x, random_crop=2)
    hits = (result[:, None] == windows[None]).flatten(2).all(2)
    assert hits.sum(1).eq(1).all()
    counts = hits.sum(0)
    assert (counts - 200).abs().max() < 5 * (5000 * 0.04 * 0.96) ** 0.5


def test_flips_mirror_about_half_of_the_images_each_by_its_own_draw():
    x = images(2000)
    result = apply(x, horizontal_flip=True)
    mirrored = (result == x.flip(3)).flatten(1).all(1)
    same = (result == x).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert abs(int(mirrored.sum()) - 1000) < 5 * 500**0.5
    assert not apply(x, horizontal_flip=True, step=1).equal(result)


def test_cutout_zeroes_one_square_whose_centre_is_any_pixel():
    x = torch.full((4000, 3, 8, 6), 9, dtype=torch.uint8)
    result = apply(x, cutout=3)
    holes = result[:, 0] == 0
    assert (result == 0).all(1).equal(holes)
    assert (result == 0).any(1).equal(holes)
    rows, columns = holes.any(2), holes.any(1)
    assert (rows[:, :, None] & columns[:, None, :]).equal(holes)
    assert set(rows.sum(1).tolist()) == set(columns.sum(1).tolist()) == {2, 3}
    share = holes.float().mean((0,))
    assert abs(share[3, 3].item() - 9 / 48) < 0.04
    assert abs(share[0, 0].item() - 4 / 48) < 0.04
    assert not apply(x, cutout=64).any()


def test_jitter_follows_torchvisions_definitions():
    from pixeltui.data.torchvision_sets import import_datasets

    import_datasets()
    from torchvision.transforms import functional

    x = images(32)
    strength = 0.4
    draws = torch.rand(32, 8, generator=step_generator(0, "augment", 0))
    expected = []
    for image, row in zip(x, draws, strict=True):
        brightness, contrast, saturation = (1 + strength * (2 * row[3:6] - 1)).tolist()
        y = functional.adjust_brightness(image / 255, brightness)
        y = functional.adjust_contrast(y, contrast)
        expected.append(functional.adjust_saturation(y, saturation) * 255)
    result = apply(x, color_jitter=strength)
    assert (result - torch.stack(expected)).abs().max() <= 0.5 + 1e-3
    assert len(draws[:, 3:6].unique()) == 96


def test_jitter_of_grey_images_with_few_levels_moves_brightness_both_ways():
    x = torch.full((500, 1, 4, 4), 8, dtype=torch.uint8)
    result = apply(x, levels=17, color_jitter=0.5)
    assert result.flatten(1).eq(result[:, 0, 0, :1]).all()  # flat images stay flat
    assert {4, 8, 12} <= set(result.unique().tolist()) <= set(range(4, 13))


def test_switching_one_change_on_leaves_the_draws_of_the_others():
    x = images(200, 1)
    flipped = apply(x, horizontal_flip=True)
    with_cutout = apply(x, horizontal_flip=True, cutout=2)
    assert with_cutout.where(with_cutout > 0, flipped).equal(flipped)


def test_parts_of_a_batch_are_augmented_as_the_whole():
    x = images(10)
    config = Augmentations(random_crop=2, color_jitter=0.3, cutout=3)
    whole = augment(x, config, 256, step_generator(0, "augment", 9))
    for places in map(torch.tensor, ([0, 1, 2, 3], [4, 5, 6, 7, 8, 9], [0, 1, 5, 9])):
        part = augment(x[places], config, 256, step_generator(0, "augment", 9), batch=10, places=places)
        assert part.equal(whole[places])
    with pytest.raises(ValueError, match="expected places of 4 images, got 3"):
        augment(x[:4], config, 256, step_generator(0, "augment", 9), batch=10, places=torch.arange(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_draws_are_the_same_on_a_gpu():
    x = images(256)
    config = Augmentations(random_crop=4, cutout=3)
    on_gpu = augment(x.cuda(), config, 256, step_generator(0, "augment", 1)).cpu()
    assert on_gpu.equal(augment(x, config, 256, step_generator(0, "augment", 1)))
