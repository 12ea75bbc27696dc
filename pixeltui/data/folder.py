"""A folder of images: `CLASS/*.png`, or images alone; under `train/`, `val/` and `test/` if it has splits.

Decoded once: the pixels are kept under `data.root`, and are read from there for as long as the names, sizes and times
of the files stay as they are.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixeltui.data.images import SUFFIXES
from pixeltui.data.npz import read_arrays
from pixeltui.data.parallel import decode_all
from pixeltui.data.sets import Arrays, Progress, Source
from pixeltui.errors import UserError, printable
from pixeltui.store.files import OLD_SECONDS, remove_leftovers, replacing

CACHE_VERSION = 1
MOST_LISTED = 8
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
ROOM = 'expected CLASS/*.png, or images alone, or folders "train", "val" and "test" of these'


@dataclass(frozen=True)
class Listing:
    """The files of a split, class by class; classes are () where it has none."""

    classes: tuple[str, ...]
    files: tuple[os.DirEntry[str], ...]
    labels: NDArray[np.int64] | None


def load(path: Path, root: Path, progress: Progress | None = None, *, scored: bool = False) -> Source:
    """The images of a folder, in the order of their names. Raises UserError that names the file or folder to mend.

    scored: nothing is trained, so that there need be no train/.
    """
    path = path.resolve()
    listings = _listings(path)
    if "train" not in listings and not scored:
        there = ", ".join(listings)
        raise UserError(f'{printable(path)}: no folder "train" beside {there}; put the images to train on into one')
    first, classes = next((name, listing.classes) for name, listing in listings.items())
    for name, listing in listings.items():
        if listing.classes != classes:
            raise _other_classes(path, first, classes, name, listing.classes)
    images, notices = _pixels(path, listings, root, progress)
    splits, start = {}, 0
    for name, listing in listings.items():
        splits[name] = Arrays(images[start : start + len(listing.files)], listing.labels)
        start += len(listing.files)
    return Source(
        name=path.name,
        where=printable(path),
        train=splits.get("train"),
        val=splits.get("val"),
        test=splits.get("test"),
        classes=classes,
        notices=notices,
    )


def _listings(path: Path) -> dict[str, Listing]:
    folders, _ = _entries(path)
    names = {folder.name for folder in folders}
    if "train" not in names or not names <= SPLITS.keys():
        alike = [Path(folder.path) for folder in folders if folder.name.lower() in SPLITS]
        if not any(_entries(split)[0] for split in alike):
            return {"train": _listing(path)}
        if odd := sorted(names - SPLITS.keys()):
            raise UserError(
                f"{printable(path)}: {printable(alike[0].name)}/ holds folders as a split does, but splits are called "
                f'"train", "val" and "test"; rename or move {printable(", ".join(odd[:MOST_LISTED]))}'
            )
    found: dict[str, Listing] = {}
    for name in sorted(names, key=lambda name: list(SPLITS).index(name)):
        if SPLITS[name] in found:
            raise UserError(f"{printable(path)}: more than one folder for the split {SPLITS[name]}; keep one")
        found[SPLITS[name]] = _listing(path / name)
    return found


def _listing(path: Path) -> Listing:
    folders, images = _entries(path)
    if folders and images:
        raise UserError(
            f"{printable(path)}: images beside class folders, such as {printable(images[0].name)} beside "
            f"{printable(folders[0].name)}/; move each into the folder of its class"
        )
    if not folders:
        if not images:
            raise UserError(f"{printable(path)}: no images in it; {ROOM}")
        return Listing((), tuple(images), None)
    files: list[os.DirEntry[str]] = []
    counts = []
    for folder in folders:
        inner, images = _entries(Path(folder.path))
        if inner:
            raise UserError(
                f"{printable(folder.path)}: a folder in a class folder, {printable(inner[0].name)}/; {ROOM}"
            )
        if not images:
            raise UserError(f"{printable(folder.path)}: an empty class; add images to it or remove the folder")
        files += images
        counts.append(len(images))
    labels = np.repeat(np.arange(len(folders), dtype=np.int64), counts)
    classes = tuple(printable(folder.name) for folder in folders)
    if len(set(classes)) < len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise UserError(f"{printable(path)}: two class folders are {twice!r} as far as they can be shown; rename one")
    return Listing(classes, tuple(files), labels)


def _entries(path: Path) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Folders and images by name, without hidden ones and files of other kinds; links are followed."""
    try:
        with os.scandir(path) as scan:
            entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read: {error.strerror}; check its permissions") from error
    folders = [entry for entry in entries if _is_folder(entry)]
    images = [e for e in entries if not e.is_dir() and os.path.splitext(e.name)[1].lower() in SUFFIXES]  # noqa: PTH122
    for image in images:
        if not image.is_file() and Path(image.path).exists():
            raise UserError(f"{printable(image.path)} is no file that holds an image; replace or remove it")
    return folders, images


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError(f"{printable(entry.path)} cannot be read: {error.strerror}; replace or remove it") from error


def _other_classes(path: Path, first: str, classes: tuple[str, ...], split: str, other: tuple[str, ...]) -> UserError:
    if not (classes and other):
        with_classes, without = (first, split) if classes else (split, first)
        return UserError(
            f"{printable(path)}: {with_classes} has class folders, {without} has none; sort both into classes"
        )
    name = sorted(set(classes) ^ set(other))[0]
    has, lacks = (first, split) if name in classes else (split, first)
    return UserError(
        f"{printable(path)}: {has} has a class {printable(name)!r} that {lacks} lacks; "
        "every split needs the same classes"
    )


def _pixels(
    path: Path, listings: dict[str, Listing], root: Path, progress: Progress | None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """uint8 [N, C, H, W] of all files, from the cache if it is of this very listing; and notices."""
    files = [file for listing in listings.values() for file in listing.files]
    key = _key(path, files)
    cache = cache_path(path, root)
    images = _read_cache(cache, key, len(files))
    if images is not None:
        return images, ()
    images = np.ascontiguousarray(decode_all([file.path for file in files], progress).transpose(0, 3, 1, 2))
    try:
        _write_cache(cache, key, images)
    except OSError as error:
        return images, (
            f"the decoded images could not be kept in {printable(cache.parent)} ({error.strerror or error}), so they "
            "will be decoded again next time; set data.root to a folder with room",
        )
    return images, ()


def cache_path(path: Path, root: Path) -> Path:
    """One file for each folder of images: a changed folder replaces it."""
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    label = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in path.name)[:40]
    return root / "folders" / f"{label}-{digest[:16]}.npz"


def _key(path: Path, files: list[os.DirEntry[str]]) -> str:
    rows = list(_rows(path, files))
    return hashlib.sha256(json.dumps([CACHE_VERSION, os.fspath(path), rows]).encode()).hexdigest()


def _rows(path: Path, files: list[os.DirEntry[str]]) -> Iterator[tuple[str, int, int]]:
    prefix = len(os.fspath(path))
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise UserError(f"{printable(file.path)} cannot be read: {error.strerror}; replace or remove it") from error
        yield file.path[prefix:], stat.st_size, stat.st_mtime_ns


def _read_cache(cache: Path, key: str, n: int) -> NDArray[np.uint8] | None:
    if not cache.is_file():
        return None
    try:
        arrays = read_arrays(cache)  # checks the CRC of every member
    except UserError:
        return None
    images = arrays.get("images")
    if str(arrays.get("key")) != key or images is None or images.dtype != np.uint8 or len(images) != n:
        return None
    return images


def _write_cache(cache: Path, key: str, images: NDArray[np.uint8]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(cache.parent, older_than=OLD_SECONDS)
    with replacing(cache) as temporary, temporary.open("wb") as file:
        np.savez(file, key=np.array(key), images=images)
