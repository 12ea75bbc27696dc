"""Folders of real image files: layouts, mistakes, and the cache of decoded pixels."""

import os
import resource
import signal
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixeltui.config import Data
from pixeltui.data import Expected, load
from pixeltui.data.folder import cache_path
from pixeltui.data.parallel import decode_all
from pixeltui.errors import UserError

RNG = np.random.default_rng(0)


def png(path, pixels=None, size=(6, 5), mode="RGB"):
    """A file of random or given pixels, which are returned as uint8 [H, W] or [H, W, C]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
        pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pets"
    for name in ("cat", "dog"):
        for i in range(4):
            png(path / name / f"{i}.png")
    return path


def read(path, progress=None, **config):
    return load(Data(name=str(path), root=str(path.parent / "root"), **config), progress=progress)


def refused(path, *words):
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def images(data):
    """Every image of every split as bytes, with its class."""
    return {
        image.numpy().tobytes(): None if split.labels is None else data.classes[split.labels[i]]
        for split in data.splits.values()
        for i, image in enumerate(split.images)
    }


def test_class_folders(folder):
    first = np.asarray(Image.open(folder / "dog" / "1.png"))
    (folder / ".hidden").mkdir()
    (folder / "cat" / ".DS_Store").write_bytes(b"x")
    (folder / "cat" / "README.txt").write_text("about cats")
    data = read(folder)
    assert data.classes == ("cat", "dog")
    assert data.image_shape == (3, 5, 6)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 1, 1)
    found = images(data)
    assert len(found) == 8
    assert found[first.transpose(2, 0, 1).tobytes()] == "dog"


def test_splits_on_top(tmp_path):
    path = tmp_path / "set"
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for name in "ab":
            for i in range(count):
                png(path / split / name / f"{i}.png")
    data = read(path)
    assert [len(split) for split in data.splits.values()] == [10, 4, 6]
    expected = np.asarray(Image.open(path / "val" / "b" / "0.png")).transpose(2, 0, 1)
    assert (data.val.images[2].numpy() == expected).all()
    assert data.val.labels.tolist() == [0, 0, 1, 1]


def test_a_split_that_is_missing_is_cut(tmp_path):
    for i in range(10):
        png(tmp_path / "set" / "train" / "a" / f"{i}.png")
    png(tmp_path / "set" / "validation" / "a" / "0.png")
    assert [len(split) for split in read(tmp_path / "set").splits.values()] == [9, 1, 1]


def test_classes_may_be_called_train_and_test(tmp_path):
    for name in ("train", "test", "car"):
        png(tmp_path / "vehicles" / name / "0.png")
    assert read(tmp_path / "vehicles").classes == ("car", "test", "train")


def test_a_flat_folder_is_unlabelled(tmp_path):
    for i in range(5):
        png(tmp_path / "flat" / f"{i}.png", mode="L")
    data = read(tmp_path / "flat")
    assert data.classes == ()
    assert data.train.labels is None
    assert data.image_shape == (1, 5, 6)


def test_grey_among_colour_becomes_colour(folder):
    grey = png(folder / "cat" / "grey.png", mode="L")
    assert np.stack([grey] * 3).tobytes() in images(read(folder))


def test_mixed_sizes_name_two_files_and_the_remedy(folder):
    png(folder / "dog" / "9.png", size=(7, 5))
    refused(folder, "cat/0.png is 6x5", "dog/9.png is 7x5", "mogrify -resize '6x5!'")


def test_an_empty_class(folder):
    (folder / "emu").mkdir()
    (folder / "emu" / "notes.txt").write_text("no image")
    refused(folder, "pets/emu", "an empty class", "add images to it or remove the folder")


def test_an_empty_folder(tmp_path):
    (tmp_path / "nothing").mkdir()
    refused(tmp_path / "nothing", "nothing: no images", "expected CLASS/*.png")


def test_images_beside_classes(folder):
    png(folder / "stray.png")
    refused(folder, "stray.png beside cat/", "move each into the folder of its class")


def test_folders_in_classes(folder):
    png(folder / "cat" / "kittens" / "0.png")
    refused(folder, "pets/cat", "kittens/", "expected CLASS/*.png")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("test",), ('no folder "train" beside test',)),
        (("val", "test"), ('no folder "train" beside val, test',)),
        (("Train", "Test"), ("Test/ holds folders", 'called "train", "val" and "test"', "rename or move Test, Train")),
        (("training", "test"), ("test/ holds folders", "rename or move training")),
        (("train", "test", "more"), ("rename or move more",)),
    ],
)
def test_splits_without_train_or_with_other_names(names, words, tmp_path):
    for name in names:
        png(tmp_path / "set" / name / "a" / "0.png")
    refused(tmp_path / "set", *words)


def test_without_train_a_folder_can_be_scored(tmp_path):
    for name in ("a/0", "a/1", "b/0"):
        png(tmp_path / "set" / "test" / f"{name}.png")
    png(tmp_path / "one" / "0.png")
    expected = Expected(levels=256, classes=("a", "b"))
    for name, sizes in (("set", [0, 0, 3]), ("one", [1, 1, 1])):
        data = load(Data(name=str(tmp_path / name), root=str(tmp_path / "root")), expected=expected)
        assert [len(split) for split in data.splits.values()] == sizes
        assert data.image_shape == (3, 5, 6)


def test_what_is_no_file_is_named_and_never_waited_for(folder):
    for make in (os.mkfifo, lambda path: path.symlink_to(path)):
        odd = folder / "cat" / "odd.png"
        make(odd)
        refused(folder, "cat/odd.png", "replace or remove it")
        odd.unlink()


def test_folders_that_cannot_be_looked_into_are_named():
    with pytest.raises(UserError, match=r"^/proc"):
        read(Path("/proc"))


def test_splits_with_other_classes(tmp_path):
    for name in ("train/a", "train/b", "test/a"):
        png(tmp_path / "set" / name / "0.png")
    refused(tmp_path / "set", "train has a class 'b' that test lacks")
    png(tmp_path / "flat" / "train" / "a" / "0.png")
    png(tmp_path / "flat" / "val" / "0.png")
    refused(tmp_path / "flat", "train has class folders, val has none")


def test_two_folders_for_one_split(tmp_path):
    for name in ("train", "val", "valid"):
        png(tmp_path / "set" / name / "0.png")
    refused(tmp_path / "set", "more than one folder for the split val")


def test_files_that_cannot_be_read_are_named(folder):
    victim = folder / "dog" / "2.png"
    whole = victim.read_bytes()
    for content in (b"", b"GIF? not at all", whole[: len(whole) // 2], whole[:40] + b"\0\0" + whole[42:]):
        victim.write_bytes(content)
        refused(folder, "dog/2.png", "remove")
    victim.unlink()
    victim.symlink_to(folder / "gone.png")
    refused(folder, "dog/2.png", "No such file", "remove")


def bomb(path, side):
    """A PNG file that says that it is side x side pixels large, in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10_000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [65, 10_000, 60_000])
def test_large_images_and_bombs_are_refused_before_they_are_decoded(folder, side):
    bomb(folder / "cat" / "0.png", side)
    refused(folder, "cat/0.png", "the limit is 64x64", "scale the images down", "mogrify -resize")


def test_terminal_escapes_in_names_do_not_reach_messages(folder):
    (folder / "\x1b[31mred").mkdir()
    refused(folder, "?[31mred: an empty class")


def test_classes_that_look_alike_are_refused(folder):
    for name in ("caf\udce9", "caf\udce8"):
        png(folder / name / "0.png")
    refused(folder, "two class folders are 'caf?'", "rename one")


def test_the_second_time_pixels_come_from_the_cache(folder):
    calls = []
    first = read(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (8, 8)
    for file in folder.glob("*/*.png"):  # the same names, sizes and times, but no images any more
        stat = file.stat()
        file.write_bytes(b"x" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    calls.clear()
    again = read(folder, progress=lambda done, total: calls.append((done, total)))
    assert again.checksum == first.checksum
    assert calls == []


def test_a_changed_folder_is_decoded_again_and_keeps_one_cache(folder):
    read(folder)
    changed = png(folder / "cat" / "3.png")
    os.utime(folder / "cat" / "3.png", ns=(1, 1))
    assert changed.transpose(2, 0, 1).tobytes() in images(read(folder))
    (folder / "cat" / "2.png").unlink()
    assert len(images(read(folder))) == 7
    assert len(list((folder.parent / "root" / "folders").iterdir())) == 1


def test_what_a_crash_left_of_a_cache_is_gone_with_the_next_one(folder):
    caches = folder.parent / "root" / "folders"
    caches.mkdir(parents=True)
    for name, hours in ((".tmp-crashed", 2), (".tmp-being-written", 0)):
        (caches / name).write_bytes(b"half of it")
        os.utime(caches / name, (time.time() - 3600 * hours,) * 2)
    read(folder)
    assert {path.name for path in caches.iterdir()} == {".tmp-being-written", cache_path(folder, caches.parent).name}


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:700] + b"\xff" + b[701:]])
def test_a_damaged_cache_is_rebuilt(folder, damage):
    first = read(folder)
    cache = cache_path(folder, folder.parent / "root")
    whole = cache.read_bytes()
    cache.write_bytes(damage(whole))
    assert read(folder).checksum == first.checksum
    assert cache.read_bytes() == whole


def test_a_full_disk_leaves_nothing_half_written(folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        data = read(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "could not be kept" in data.notices[0]
    assert list((folder.parent / "root" / "folders").iterdir()) == []
    assert read(folder).notices == ()


def test_without_a_place_for_the_cache_it_works_and_tells(folder):
    (folder.parent / "root").write_text("in the way")
    data = read(folder)
    assert len(data.train) == 6
    assert "set data.root" in data.notices[0]


def test_many_processes_decode_as_one_does(tmp_path):
    for i in range(600):
        png(tmp_path / f"{i:03d}.png", mode="L" if i < 300 else "RGB", size=(3, 2))
    paths = sorted(map(str, tmp_path.glob("*.png")))
    calls = []
    parallel = decode_all(paths, lambda *call: calls.append(call), workers=2)
    assert (parallel == decode_all(paths)).all()
    assert calls == [(256, 600), (512, 600), (600, 600)]
    png(tmp_path / "400.png", size=(4, 2))
    with pytest.raises(UserError, match=r"is 4x2"):
        decode_all(paths, workers=2)


def test_a_file_that_is_decoded_before_its_size_is_known_is_none_of_ours(folder):
    """An icon of 32x32 may hold a picture of any size."""
    Image.new("RGB", (32, 32)).save(folder / "cat" / "0.png", "ICO")
    refused(folder, "0.png is not an image that can be read")
