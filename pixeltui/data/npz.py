"""A .npz file of images, labels and splits; nothing in it is ever unpickled."""

import os
import sys
import zipfile
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixeltui.data.sets import Arrays, Expected, Source
from pixeltui.errors import UserError, printable

Array = NDArray[Any]
WANTED = {
    *("images", "labels", "train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    *("class_names", "levels"),
}
MOST_LISTED = 8
MOST_CLASSES = 1 << 16
EXPECTED = "expected uint8 [N, H, W, C] or [N, H, W]"


def load(path: Path, expected: Expected | None = None) -> Source:
    """The images of a .npz: `images` or `train_images`, uint8 [N, H, W, C] or [N, H, W], and `labels`, integers [N].

    Optional: `val_images`, `test_images` and their labels, `class_names` (text [K]) and `levels` (one integer).
    expected: of data that are only scored, which need nothing to train on, and have its classes' names where the file
    gives none. Raises UserError that says what was expected, what came and how to convert it.
    """
    where = printable(path)
    arrays, unused = _read(path, WANTED)
    train = _one_of(where, arrays, "images", "train_images")
    held_out = [split for split in ("val", "test") if f"{split}_images" in arrays]
    if train is None and not (expected and held_out):
        found = _listed([*arrays, *unused]) or "nothing"
        raise UserError(f"{where}: no 'images' (there is: {found}); save with np.savez(path, images=..., labels=...)")
    splits = {"train": (train, _one_of(where, arrays, "labels", "train_labels"))} if train else {}
    for split in ("val", "test"):
        if f"{split}_images" in arrays:
            splits[split] = (f"{split}_images", f"{split}_labels" if f"{split}_labels" in arrays else None)
        elif f"{split}_labels" in arrays:
            raise UserError(f"{where}: '{split}_labels' without '{split}_images'; add them or leave both out")
    known = expected.classes if expected else ()
    labelled = {split for split, (_, labels) in splits.items() if labels}
    if labelled and len(labelled) < len(splits):
        without = ", ".join(sorted(splits.keys() - labelled))
        raise UserError(f"{where}: no labels for {without}, though the other splits have some; give all or none")
    parsed = {
        split: Arrays(_images(where, images, arrays[images]), _labels(where, labels, arrays, images))
        for split, (images, labels) in splits.items()
    }
    return Source(
        name=path.name,
        where=where,
        train=parsed.get("train"),
        val=parsed.get("val"),
        test=parsed.get("test"),
        classes=_classes(
            where, arrays.get("class_names"), [a.labels for a in parsed.values() if a.labels is not None], known
        ),
        levels=_levels(where, arrays.get("levels")),
        notices=(f"{where}: not used: {_listed(unused)}",) if unused else (),
    )


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of a .npz. Raises UserError where it is none, is damaged or holds pickled objects."""
    return _read(path, None)[0]


def _read(path: Path, wanted: Collection[str] | None) -> tuple[dict[str, Array], list[str]]:
    """The arrays of these names, all for None, and the names of the others, which are not unpacked."""
    where = printable(path)
    remedy = "save the arrays anew with np.savez_compressed(path, images=..., labels=...)"
    try:
        with path.open("rb") as file:  # numpy leaves files open that it cannot read
            head = file.read(6)
            if not head.startswith(b"PK"):
                kind = "a single array (.npy)" if head == b"\x93NUMPY" else "no .npz"
                kind = "a pickle, which could run code and is never loaded" if head[:1] == b"\x80" else kind
                raise UserError(f"{where} is {kind}; {remedy}")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            names = [name for name in dict.fromkeys(loaded.files) if wanted is None or name in wanted]
            _check_room(where, loaded.zip, names)
            arrays = {name: loaded[name] for name in names}
            if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
                raise UserError(f"{where}: {printable(odd[0])} is no array; {remedy}")
            return arrays, sorted(set(loaded.files) - set(names))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror or error}; {remedy}") from error
    except Exception as error:  # a flipped bit can surface in zipfile, zlib, struct, numpy's header parser, ...
        if str(error).startswith("Object arrays"):
            raise UserError(
                f"{where} holds Python objects (a pickle), which could run code and are never loaded; {remedy}"
            ) from error
        raise UserError(f"{where} is damaged ({printable(error)}); {remedy}") from error


def _check_room(where: str, archive: zipfile.ZipFile, names: Collection[str]) -> None:
    """A few megabytes of a zip can be terabytes of zeros: what it unpacks to is known before it is unpacked, and no
    more than that is."""
    needed = sum(info.file_size for info in archive.infolist() if info.filename.removesuffix(".npy") in names)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory // 2:
        raise UserError(
            f"{where} unpacks to {needed / 2**30:,.1f} GiB, more than half of this machine's memory, "
            f"{memory / 2**30:,.1f} GiB; use fewer images"
        )


def _listed(names: Sequence[str]) -> str:
    """The first few, for a message."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return printable(", ".join(name[:40] for name in names[:MOST_LISTED])) + more


def _one_of(where: str, arrays: dict[str, Array], first: str, second: str) -> str | None:
    if first in arrays and second in arrays:
        raise UserError(f"{where}: both {first!r} and {second!r}; leave one out")
    return next((key for key in (first, second) if key in arrays), None)


def _images(where: str, key: str, array: Array) -> NDArray[np.uint8]:
    """uint8 [N, C, H, W], or UserError."""
    shape, what = list(array.shape), f"{where}: {key}: {EXPECTED}, got {array.dtype} {list(array.shape)}"
    if array.dtype != np.uint8:
        raise UserError(f"{what}; convert it with {_conversion(array, key)}")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise UserError(f"{what}; reshape it")
    if array.shape[3] not in (1, 3):
        if array.shape[1] in (1, 3):
            raise UserError(f"{what}, which looks like channels first; convert it with {key}.transpose(0, 2, 3, 1)")
        keep = f"; keep the first three channels with {key}[..., :3]" if shape[3] == 4 else ""
        raise UserError(f"{what}: C must be 1 or 3{keep}")
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def _conversion(array: Array, key: str) -> str:
    if array.dtype.kind == "f":
        low, high = (float(np.nanmin(array)), float(np.nanmax(array))) if array.size else (0.0, 1.0)
        if low >= 0 and high <= 1:
            return f"({key} * 255).round().astype(np.uint8), the values being {low:g} to {high:g}"
        if low >= -1 and high <= 1:
            return f"(({key} + 1) * 127.5).round().astype(np.uint8), the values being {low:g} to {high:g}"
        return f"{key}.round().clip(0, 255).astype(np.uint8), the values being {low:g} to {high:g}"
    if array.dtype.kind in "iu" and array.size and (array.min() < 0 or array.max() > 255):
        return f"({key} >> 8).astype(np.uint8) if it has 16 bits, the values being {array.min()} to {array.max()}"
    return f"{key}.astype(np.uint8)"


def _labels(where: str, key: str | None, arrays: dict[str, Array], images_key: str) -> NDArray[np.int64] | None:
    if key is None:
        return None
    array, n = arrays[key], len(arrays[images_key])
    what = f"{where}: {key}: expected integers [{n}], got {array.dtype} {list(array.shape)}"
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "iufb":
        raise UserError(f"{what}; convert one-hot rows with {key}.argmax(1)")
    if array.ndim != 1:
        raise UserError(f"{what}; convert it with {key}.reshape(-1)")
    if array.dtype.kind not in "iu":
        hint = f"np.unique({key}, return_inverse=True)[1]" if array.dtype.kind in "US" else f"{key}.astype(np.int64)"
        raise UserError(f"{what}; convert it with {hint}")
    if len(array) != n:
        raise UserError(f"{what}: there must be one label for each image")
    if n and array.min() < 0:
        raise UserError(f"{where}: {key}: {array.min()} among the labels, from 0 on; {RENUMBER.format(key)}")
    if n and int(array.max()) > 2**31:
        raise UserError(f"{where}: {key}: {array.max()} among the labels; {RENUMBER.format(key)}")
    return array.astype(np.int64)


RENUMBER = "renumber them with np.unique({}, return_inverse=True)[1]"


def _classes(
    where: str, names: Array | None, labels: list[NDArray[np.int64]], known: tuple[str, ...]
) -> tuple[str, ...]:
    if not labels:
        if names is not None:
            raise UserError(f"{where}: 'class_names' without 'labels'; add them, or leave the names out")
        return ()
    present = np.unique(np.concatenate(labels))
    top = int(present[-1]) if len(present) else -1
    if names is None and known:
        if top >= len(known):
            raise UserError(
                f"{where}: label {top}, but the model knows {len(known)} classes (labels are counted from 0)"
            )
        return known
    if names is None:
        if top + 1 != len(present):
            missing = int(np.argmax(present != np.arange(len(present))))
            raise UserError(
                f"{where}: labels go up to {top}, but no image has {missing}; {RENUMBER.format('labels')}, or give "
                f"the names of all {top + 1} classes as 'class_names'"
            )
        return tuple(str(label) for label in range(top + 1))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(
            f"{where}: class_names: expected text [K], got {names.dtype} {list(names.shape)}; "
            "save it as np.array(['cat', 'dog'])"
        )
    if len(names) > MOST_CLASSES:
        raise UserError(f"{where}: class_names: {len(names)} classes, the limit is {MOST_CLASSES}")
    codes = np.ascontiguousarray(names).reshape(-1).view(f"{names.dtype.byteorder}u4") if names.itemsize else names[:0]
    if codes.size and codes.max() > sys.maxunicode:
        raise UserError(f"{where}: class_names: it holds what is no text; save it as np.array(['cat', 'dog'])")
    classes = tuple(map(printable, names))
    if len(set(classes)) != len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise UserError(f"{where}: class_names: {twice!r} is there twice; give each class its own name")
    if top >= len(classes):
        raise UserError(f"{where}: label {top}, but only {len(classes)} class_names (labels are counted from 0)")
    return classes


def _levels(where: str, levels: Array | None) -> int:
    if levels is None:
        return 0
    if levels.size != 1 or levels.dtype.kind not in "iu" or not 2 <= int(levels.reshape(-1)[0]) <= 256:
        got = str(levels.reshape(-1)[0]) if levels.size == 1 and levels.dtype.kind in "iuf" else list(levels.shape)
        raise UserError(f"{where}: levels: expected one integer from 2 to 256, got {got} ({levels.dtype})")
    return int(levels.reshape(-1)[0])
