"""load: the built-in set, names, checksums, devices; and what importing the package costs."""

import subprocess
import sys
from importlib import resources

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from pixeltui.config import Data
from pixeltui.data import Arrays, Expected, load
from pixeltui.data.sets import checksum
from pixeltui.errors import UserError
from pixeltui.greys import greys


def test_digits():
    data = load(Data(name="digits"))
    assert data.name == "digits"
    assert data.image_shape == (1, 8, 8)
    assert data.levels == 17
    assert data.classes == tuple("0123456789")
    assert [len(split) for split in data.splits.values()] == [1437, 180, 180]
    everything = torch.cat([split.images for split in data.splits.values()])
    assert everything.dtype == torch.uint8
    assert everything.max() == 16
    assert torch.cat([split.labels for split in data.splits.values()]).bincount().tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    assert data.checksum == "08b54f72a7ff5b18a1b62942a326c23424906c2d14ef4d1e0e0ab1b085f64a5a"


def test_digits_carry_their_licence():
    text = (resources.files("pixeltui.data") / "digits.LICENSE.txt").read_text()
    assert "Alpaydin" in text
    assert "CC BY 4.0" in text


def test_the_split_seed_changes_splits_and_checksum():
    data = load(Data(name="digits", split_seed=1))
    assert data.checksum != load(Data(name="digits")).checksum
    assert len(data.train) == 1437


def test_levels_from_the_config():
    assert load(Data(name="digits", levels=32)).levels == 32
    with pytest.raises(UserError, match=r"digits: value 16 in train, but data\.levels is 16.*at least 17"):
        load(Data(name="digits", levels=16))


def test_greys_of_the_levels_that_are_wanted(tmp_path):
    for i in range(5):
        (tmp_path / "bits" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(4, dtype=bool) ^ (i == 1)).save(tmp_path / "bits" / "a" / f"{i}.png")
    bits = Data(name=str(tmp_path / "bits"), root=str(tmp_path / "root"))
    assert load(bits).levels == 256
    data = load(msgspec.structs.replace(bits, levels=2))
    assert data.levels == 2
    assert data.train.images[0].tolist() == [np.eye(4).tolist()]
    assert "greys are taken for those of 2 levels" in data.notices[0]
    sixteenths = np.arange(17).repeat(5).reshape(5, 17, 1)
    np.savez(tmp_path / "grey.npz", images=(sixteenths * 255.0 / 16).astype(np.uint8))
    data = load(Data(name=str(tmp_path / "grey.npz"), levels=17))
    everything = torch.cat([split.images for split in data.splits.values()])
    assert everything.unique().tolist() == list(range(17))
    with pytest.raises(UserError, match=r"value 255 in train, but data\.levels is 9: .*set data\.levels to 0"):
        load(Data(name=str(tmp_path / "grey.npz"), levels=9))


@pytest.mark.parametrize("levels", [86, 128, 200])
def test_images_of_all_greys_are_not_those_of_fewer_levels(levels: int, tmp_path):
    every = np.arange(256, dtype=np.uint8).repeat(2).reshape(8, 8, 8)
    for name, images in (("all", every), ("some", np.frombuffer(greys(levels), np.uint8)[every % levels])):
        np.savez(tmp_path / f"{name}.npz", images=images)
    for wanted in ({"expected": Expected(levels=levels, classes=())}, {}):
        config = Data(name=str(tmp_path / "all.npz"), levels=0 if wanted else levels)
        with pytest.raises(UserError, match=f"value 255 in train, but .* {levels}: values go from 0"):
            load(config, **wanted)
        data = load(msgspec.structs.replace(config, name=str(tmp_path / "some.npz")), **wanted)
        assert data.levels == levels


def test_levels_that_a_model_expects_are_not_told_as_those_of_the_config(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.arange(32, dtype=np.uint8).reshape(8, 2, 2))
    with pytest.raises(UserError, match="value 31 in train, but the levels of the model are 17: ") as refused:
        load(Data(name=str(tmp_path / "set.npz")), expected=Expected(levels=17, classes=()))
    assert "data.levels" not in str(refused.value)
    dim = np.array([0, 16, 32, 48] * 8, np.uint8).reshape(8, 2, 2)
    np.savez(tmp_path / "set.npz", images=dim)
    data = load(Data(name=str(tmp_path / "set.npz")), expected=Expected(levels=17, classes=()))
    assert data.train.images[0].tolist() == [[[0, 1], [2, 3]]]


def test_images_of_another_size_than_a_model_s_are_told_before_their_levels(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.full((8, 2, 3, 3), 255, np.uint8))
    expected = Expected(levels=17, classes=(), image_shape=(1, 8, 8))
    with pytest.raises(UserError, match=r"expects images of 1x8x8 \(channels, height, width\), got 3x2x3; scale"):
        load(Data(name=str(tmp_path / "set.npz")), expected=expected)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UserError, match="no data set and no path 'cifra10'; did you mean 'cifar10'"):
        load(Data(name="cifra10"))


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(UserError, match=r"x\.csv is no \.npz; save the arrays"):
        load(Data(name=str(tmp_path / "x.csv")))


def test_the_checksum_sees_pixels_labels_shape_and_the_cut():
    images, labels = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2), np.array([0, 1])
    parts = [
        {"train": Arrays(images, labels)},
        {"val": Arrays(images, labels)},
        {"train": Arrays(images)},
        {"train": Arrays(images, labels[::-1])},
        {"train": Arrays(images[::-1], labels)},
        {"train": Arrays(images.reshape(2, 1, 1, 4), labels)},
        {"train": Arrays(images.reshape(2, 1, 1, 4)[:1], labels[:1]), "val": Arrays(images[1:], labels[1:])},
    ]
    assert len({checksum(part) for part in parts}) == len(parts)
    assert checksum({"train": Arrays(images.copy(order="F"), labels.astype(np.int32))}) == checksum(parts[0])


def test_to_moves_every_split():
    data = load(Data(name="digits")).to("meta")
    assert all(split.images.is_meta and split.labels.is_meta for split in data.splits.values())
    assert data.num_classes == 10


def test_spread_takes_images_from_the_whole_split():
    train = load(Data(name="digits")).train
    few = train.spread(10)
    assert few.images.equal(train.images[[n * 1437 // 10 for n in range(10)]])
    assert few.labels.equal(train.labels[[n * 1437 // 10 for n in range(10)]])
    assert len(train.spread(5000)) == 1437


def test_decoding_processes_start_without_torch():
    code = "import sys, pixeltui.data.parallel; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
