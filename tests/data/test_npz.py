"""A .npz of images: what is taken, and what is refused with which advice."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pixeltui.config import Data
from pixeltui.data import load
from pixeltui.errors import UserError

RNG = np.random.default_rng(0)


def pixels(n=20, *shape):
    return RNG.integers(0, 256, (n, *(shape or (4, 5, 3))), dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)
        return path

    return save


def refused(path, *words, **config):
    with pytest.raises(UserError) as caught:
        load(Data(name=str(path), **config))
    message = str(caught.value)
    assert "\n" not in message
    for word in ("set.npz", *words):
        assert word in message, message


def test_images_and_labels_are_cut_into_splits(save):
    images, labels = pixels(), np.arange(20) % 3
    data = load(Data(name=str(save(images=images, labels=labels))))
    assert data.image_shape == (3, 4, 5)
    assert data.classes == ("0", "1", "2")
    assert (len(data.train), len(data.val), len(data.test)) == (16, 2, 2)
    found = {}
    for split in data.splits.values():
        found |= {image.numpy().tobytes(): int(label) for image, label in zip(split.images, split.labels, strict=True)}
    channels_first = images.transpose(0, 3, 1, 2)
    assert found == {image.tobytes(): int(label) for image, label in zip(channels_first, labels, strict=True)}


def test_given_splits_names_and_levels_are_taken(save):
    grey = np.arange(3 * 6, dtype=np.uint8).reshape(3, 2, 3) % 5
    data = load(
        Data(
            name=str(
                save(
                    train_images=grey, train_labels=np.array([0, 1, 1], np.uint8), val_images=grey[:1],
                    val_labels=np.array([1]), test_images=grey[1:], test_labels=np.array([0, 0]),
                    class_names=np.array(["cat", "dog", "none of these"]), levels=9,
                )
            )
        )
    )  # fmt: skip
    assert data.train.images.numpy().tolist() == grey[:, None].tolist()
    assert data.test.labels.tolist() == [0, 0]
    assert data.classes == ("cat", "dog", "none of these")
    assert data.levels == 9
    assert data.notices == ()


def test_unlabelled(save):
    data = load(Data(name=str(save(images=pixels()))))
    assert data.train.labels is None
    assert data.num_classes == 0


def test_levels_are_read_off_the_values_where_nobody_says(save):
    assert load(Data(name=str(save(images=pixels() % 16)))).levels == 16
    assert load(Data(name=str(save(images=np.zeros((5, 2, 2), np.uint8))))).levels == 2
    assert load(Data(name=str(save(images=np.full((5, 2, 2), 128, np.uint8))))).levels == 256
    assert load(Data(name=str(save(images=pixels() % 16)), levels=20)).levels == 20


def test_a_key_that_is_not_used_is_told(save):
    assert "x_test" in load(Data(name=str(save(images=pixels(), x_test=pixels())))).notices[0]


def arrays(**named):
    return named


BAD = {
    "float in 0..1": (
        arrays(images=pixels() / np.float32(255)),
        "expected uint8 [N, H, W, C]",
        "float32 [20, 4, 5, 3]",
        "(images * 255)",
    ),
    "float in -1..1": (arrays(images=pixels() / 127.5 - 1), "float64", "(images + 1) * 127.5"),
    "int64": (arrays(images=pixels().astype(np.int64)), "int64", "images.astype(np.uint8)"),
    "16 bits": (arrays(images=pixels().astype(np.uint16) * 257), "uint16", ">> 8"),
    "channels first": (arrays(images=pixels(20, 3, 8, 8)), "channels first", "transpose(0, 2, 3, 1)"),
    "rgba": (arrays(images=pixels(20, 8, 8, 4)), "C must be 1 or 3", "images[..., :3]"),
    "flat": (arrays(images=pixels(20, 64)), "[20, 64]", "reshape"),
    "too large": (arrays(images=pixels(3, 65, 64, 3)), "64x65", "64x64", "scale or crop"),
    "no images": (arrays(x=pixels()), "no 'images'", "there is: x", "np.savez"),
    "empty": (arrays(images=pixels(0)), "no images in train", "add some"),
    "both": (arrays(images=pixels(), train_images=pixels()), "both 'images' and 'train_images'", "leave one out"),
    "labels too few": (
        arrays(images=pixels(), labels=np.zeros(19, int)),
        "integers [20]",
        "[19]",
        "one label for each",
    ),
    "labels float": (arrays(images=pixels(), labels=np.zeros(20)), "float64", "labels.astype(np.int64)"),
    "labels text": (arrays(images=pixels(), labels=np.array(["a"] * 20)), "np.unique(labels, return_inverse=True)[1]"),
    "labels negative": (arrays(images=pixels(), labels=np.full(20, -1)), "-1 among the labels", "np.unique"),
    "labels one-hot": (arrays(images=pixels(), labels=np.eye(20)), "labels.argmax(1)"),
    "labels column": (arrays(images=pixels(), labels=np.zeros((20, 1), int)), "labels.reshape(-1)"),
    "labels from 1": (
        arrays(images=pixels(), labels=np.arange(20) % 3 + 1),
        "no image has 0",
        "np.unique",
        "class_names",
    ),
    "labels huge": (arrays(images=pixels(), labels=np.full(20, 2**63, np.uint64)), "9223372036854775808", "np.unique"),
    "names too few": (
        arrays(images=pixels(), labels=np.arange(20), class_names=np.array(["a"])),
        "label 19",
        "1 class_names",
    ),
    "names twice": (
        arrays(images=pixels(), labels=np.zeros(20, int), class_names=np.array(["a", "a"])),
        "'a'",
        "twice",
    ),
    "names numbers": (arrays(images=pixels(), labels=np.zeros(20, int), class_names=np.arange(2)), "expected text [K]"),
    "names alone": (arrays(images=pixels(), class_names=np.array(["a"])), "without 'labels'"),
    "levels 1": (arrays(images=pixels(), levels=1), "from 2 to 256", "got 1"),
    "levels too small": (
        arrays(images=pixels(), levels=200),
        "'levels' is 200",
        "values go from 0 to 199",
        "correct it",
    ),
    "val labels missing": (arrays(images=pixels(), labels=np.zeros(20, int), val_images=pixels()), "no labels for val"),
    "val without images": (arrays(images=pixels(), val_labels=np.zeros(20, int)), "'val_labels' without 'val_images'"),
    "val of another size": (arrays(images=pixels(), val_images=pixels(5, 8, 8, 3)), "train is 5x4", "val is 8x8"),
    "two images": (arrays(images=pixels(2)), "too few", "add images"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_with_what_to_do(save, case):
    named, *words = BAD[case]
    refused(save(**named), *words)


def test_configured_levels_below_the_data_are_refused_not_clipped(save):
    images = np.full((5, 2, 2), 16, np.uint8)
    refused(save(images=images), "value 16", "data.levels is 16", "at least 17", levels=16)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("something in the file was executed",))


def test_objects_are_refused_and_nothing_in_them_runs(save, tmp_path):
    objects = np.empty(1, object)
    objects[0] = Bomb()
    refused(save(images=objects), "pickle", "never loaded")
    (tmp_path / "set.npz").write_bytes(pickle.dumps(Bomb()))
    refused(tmp_path / "set.npz", "pickle", "never loaded")


def test_damage_anywhere_is_noticed(save):
    path = save(images=pixels(), labels=np.arange(20) % 2)
    whole = path.read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(damaged)
        refused(path, "np.savez")
    middle = 200  # within the pixels
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refused(path, "damaged", "np.savez")


def test_a_npy_is_not_a_npz(tmp_path):
    with (tmp_path / "set.npz").open("wb") as file:
        np.save(file, pixels())
    refused(tmp_path / "set.npz", "single array", "np.savez")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """Zeros shrink a thousandfold."""
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=np.zeros((4096, 32, 32, 3), np.uint8))
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PHYS_PAGES": 2048, "SC_PAGE_SIZE": 4096}[name])
    monkeypatch.setattr(np.lib.format, "read_array", lambda *args, **options: pytest.fail("it was unpacked"))
    refused(path, "unpacks to", "more than half of this machine's memory")


def test_arrays_that_are_not_used_are_not_unpacked(save, monkeypatch):
    path = save(images=pixels(), bomb=np.zeros(1 << 20), **{f"other{i}": np.zeros(1) for i in range(20)})
    original, seen = np.lib.format.read_array, []
    monkeypatch.setattr(np.lib.format, "read_array", lambda *args, **how: seen.append(1) or original(*args, **how))
    data = load(Data(name=str(path)))
    assert len(seen) == 1
    assert data.notices[0].endswith("other13, other14 and 13 more")


def member(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in {"images": pixels(), name: content}.items():
            with archive.open(f"{key}.npy", "w") as file:
                file.write(content) if key == name else np.lib.format.write_array(file, array)


def test_what_a_member_claims_is_not_believed(tmp_path):
    path = tmp_path / "set.npz"
    for dtype, shape in (("|u1", (10**15,)), ("<U1000000000", (10**6,)), ("|u1", (10**9, 64, 64, 3))):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
        member(path, "images", header.getvalue() + bytes(100))
        refused(path, "damaged")
    member(path, "images", b"\x93NUMPY\x01\x00" + (60000).to_bytes(2, "little") + b" " * 60000)
    refused(path, "damaged")
    member(path, "images", b"no array at all")
    refused(path, "images is no array")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<U0", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in (("images", pixels()), ("labels", np.zeros(20, np.int64))):
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, array)
        archive.writestr("class_names.npy", header.getvalue())
    refused(path, "1000000000000000 classes, the limit is")


def test_names_that_lead_out_of_the_archive_write_nothing(tmp_path, save):
    folder = tmp_path / "inner"
    folder.mkdir()
    path = folder / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("images.npy", "w") as file:
            np.lib.format.write_array(file, pixels())
        archive.writestr("../../escaped.npy", b"x")
        archive.writestr("/tmp/\x1b[31mescaped.npy", b"x")
    data = load(Data(name=str(path)))
    assert data.notices[0].isprintable()
    assert sorted(tmp_path.rglob("*")) == [folder, path]


def test_a_gap_in_a_million_labels_is_found_at_once(save):
    labels = np.arange(1_000_000) * 2
    images = np.zeros((1_000_000, 1, 1), np.uint8)
    refused(save(images=images, labels=labels), "no image has 1;")


def test_an_image_is_no_data_set(tmp_path: Path) -> None:
    path = tmp_path / "one.PNG"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"one\.PNG is an image: expected a folder of images, or a \.npz"):
        load(Data(name=str(path)))
