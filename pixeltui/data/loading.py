"""From the `[data]` table to a checked DataSet: find the source, hold it against the limits, complete its splits."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pixeltui import registry
from pixeltui.config import Data
from pixeltui.data.images import MAX_SIDE, SPARSE, SUFFIXES, as_levels
from pixeltui.data.sets import Arrays, DataSet, Expected, Progress, Source, Split, checksum
from pixeltui.data.splits import complete
from pixeltui.errors import UsageError, UserError, did_you_mean, printable

WHITE = 254
"""or lighter: the highest level as programs that scale levels write it"""


def load(config: Data, *, progress: Progress | None = None, expected: Expected | None = None) -> DataSet:
    """The data set that the config names, on the CPU; downloaded, decoded and cached where it has to be.

    progress: called with (done, total) while files are decoded or bytes downloaded; a total of 0 is not known.
    expected: of data that are only scored, whose levels and, where they name none, classes it gives. Raises UserError,
    one line with the remedy, for whatever is wrong with the data.
    """
    source = _source(config, progress, expected)
    _check_shapes(source)
    if expected and expected.image_shape:
        _check_size(source, expected.image_shape)
    _check_labels(source)
    source, levels = _with_levels(source, config.levels, expected)
    splits = complete(source, config.split_seed, scored=expected is not None)
    none = _none_of(next(iter(splits.values())))
    return DataSet(
        name=source.name,
        train=_split(splits.get("train", none)),
        val=_split(splits.get("val", none)),
        test=_split(splits.get("test", none)),
        levels=levels,
        classes=source.classes,
        checksum=checksum(splits),
        notices=(*source.notices, *(_cut_notice(source, splits) if expected and not expected.whole else ())),
    )


def _cut_notice(source: Source, splits: dict[str, Arrays]) -> Iterator[str]:
    """Of data that are only scored, of which a part then is."""
    own = _given(source)
    if len(splits) > len(own) and splits["train"] is not source.train:
        sizes = ", ".join(f"{name} {len(arrays.images)}" for name, arrays in splits.items())
        yield f"{source.where}: without splits of its own it is cut as for training: {sizes}; --split all takes all"


def _source(config: Data, progress: Progress | None, expected: Expected | None) -> Source:
    if config.name in registry.DATASETS:
        source: Source = registry.resolve(registry.DATASETS[config.name])(config, progress)
        return source
    if not config.name:
        raise UsageError(f"no data are named: expected {', '.join(registry.DATASETS)}, a folder of images or a .npz")
    try:
        path = Path(config.name).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError):  # too long, links in a circle, a user that there is not
        is_folder = is_file = False
    if is_folder:
        from pixeltui.data import folder

        return folder.load(path, Path(config.root).expanduser(), progress, scored=expected is not None)
    if is_file:
        from pixeltui.data import npz

        if path.suffix.lower() in SUFFIXES:
            raise UserError(f"{printable(path)} is an image: expected a folder of images, or a .npz")

        return npz.load(path, expected)
    raise UserError(f"no data set and no path {printable(config.name)!r}{did_you_mean(config.name, registry.DATASETS)}")


def _given(source: Source) -> dict[str, Arrays]:
    splits = {"train": source.train, "val": source.val, "test": source.test}
    return {name: arrays for name, arrays in splits.items() if arrays is not None}


def _check_shapes(source: Source) -> None:
    given = _given(source)
    first, expected = next((name, arrays.images.shape[1:]) for name, arrays in given.items())
    for name, (images, _) in given.items():
        if not len(images):
            raise UserError(f"{source.where}: no images in {name}; add some, or leave {name} out")
        channels, height, width = images.shape[1:]
        if images.shape[1:] != expected:
            raise UserError(
                f"{source.where}: {first} is {_shape(expected)}, {name} is {_shape(images.shape[1:])}; "
                "all splits must have one size and number of channels"
            )
        if channels not in (1, 3):
            raise UserError(f"{source.where}: {channels} channels; images must be grey (1) or colour (3)")
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UserError(
                f"{source.where}: images are {width}x{height}, the limit is {MAX_SIDE}x{MAX_SIDE}; scale or crop them"
            )


def _check_size(source: Source, expected: tuple[int, ...]) -> None:
    came = next(iter(_given(source).values())).images.shape[1:]
    if came != expected:
        wanted, got = ("x".join(map(str, shape)) for shape in (expected, came))
        raise UserError(
            f"{source.where}: the model expects images of {wanted} (channels, height, width), got {got}; "
            "scale or convert them"
        )


def _shape(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width}x{height} with {channels} channel{'s' * (channels != 1)}"


def _check_labels(source: Source) -> None:
    """A source's own mistakes: those of its user have their message already."""
    for images, labels in _given(source).values():
        assert (labels is None) == (not source.classes)
        if labels is not None:
            assert len(labels) == len(images)
            assert 0 <= int(labels.min()) <= int(labels.max()) < len(source.classes)


def _with_levels(source: Source, wanted: int, expected: Expected | None) -> tuple[Source, int]:
    """The model's, else the config's, else the source's own, else the highest value + 1 where that is at most 128, else
    256. Greys of the levels that the first two ask for become these."""
    top, split = max((int(arrays.images.max()), name) for name, arrays in _given(source).items())
    wanted = expected.levels if expected else wanted
    levels = wanted or source.levels or (max(2, top + 1) if top < 128 else 256)
    if top < levels:
        return source, levels
    if wanted and (expected or top >= WHITE) and (scaled := _scaled(source, levels)):
        return scaled, levels
    by, remedy = "its 'levels' is", f"correct it to at least {top + 1}"
    if expected:
        by, remedy = "the levels of the model are", f"give those, or greys that are multiples of 255/{levels - 1}"
    elif wanted:
        by, remedy = "data.levels is", f"set data.levels to 0 or at least {top + 1}"
    raise UserError(
        f"{source.where}: value {top} in {split}, but {by} {levels}: values go from 0 to {levels - 1}; {remedy}"
    )


def _scaled(source: Source, levels: int) -> Source | None:
    """With levels for their greys; None where others are among them."""
    splits: dict[str, Any] = {}
    for name, (pixels, labels) in _given(source).items():
        images = as_levels(pixels, levels, within=int(levels <= SPARSE))  # of more, every value is near to one
        if images is None:
            return None
        splits[name] = Arrays(images, labels)
    notice = f"{source.where}: its greys are taken for those of {levels} levels"
    return replace(source, **splits, notices=(*source.notices, notice))


def _none_of(arrays: Arrays) -> Arrays:
    return Arrays(arrays.images[:0], None if arrays.labels is None else arrays.labels[:0])


def _split(arrays: Arrays) -> Split:
    labels = None if arrays.labels is None else torch.from_numpy(arrays.labels)
    return Split(torch.from_numpy(arrays.images), labels)
