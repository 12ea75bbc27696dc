"""Real images to complete: files, or images of the run's data, as the levels that a model was trained on."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixeltui.data import DataSet
from pixeltui.data import load as load_data
from pixeltui.data.images import FORMATS, MAX_SIDE, SPARSE, as_levels, decode
from pixeltui.errors import UserError, did_you_mean, printable
from pixeltui.train.load import LoadedModel

SPLITS = ("train", "val", "test")
WHITE = 128
"""grey of a mask from which on a pixel is kept"""


class GivenImages:
    """Finds images by what a user calls them. The run's data is loaded once, when it is first asked for."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._data: DataSet | None = None

    def find(self, name: str) -> tuple[Tensor, int | None]:
        """uint8 levels [C, H, W] and its class, where that is known, of a file or of "test:17". Raises UserError."""
        place = _place(name)
        return (self._read(Path(name).expanduser()), None) if place is None else self.of_split(*place)

    def of_split(self, split: str, index: int) -> tuple[Tensor, int | None]:
        """The image of a number in a split of the run's data. Raises UserError."""
        images = self.data.splits[split].images
        if index >= len(images):
            raise UserError(f"{split}:{index}: the {split} split has images 0 to {len(images) - 1}")
        labels = self.data.splits[split].labels
        return images[index], None if labels is None else int(labels[index])

    def size_of(self, name: str) -> int:
        """How many images there are beside one that `find` found: those of its split, 1 of a file."""
        place = _place(name)
        return 1 if place is None else len(self.data.splits[place[0]])

    @property
    def data(self) -> DataSet:
        """Raises UserError where it is not what the model was trained on."""
        if self._data is None:
            data = load_data(self._loaded.config.data)
            self._loaded.check(data)
            self._data = data
        return self._data

    def _read(self, path: Path) -> Tensor:
        channels, height, width = self._loaded.model.image_shape
        if not path.is_file():
            raise UserError(f"no image {printable(path)}: expected a file, or SPLIT:NUMBER of the run's data as test:0")
        size = _too_large(path)
        pixels = np.zeros((0, 0, 1), np.uint8) if size else decode([str(path)])[0]
        if pixels.shape[:2] != (height, width):
            raise UserError(
                f"{printable(path)} is {size or f'{pixels.shape[1]}x{pixels.shape[0]}'}, the model draws "
                f"{width}x{height}: scale it, for instance with ImageMagick: mogrify -resize '{width}x{height}!' FILE"
            )
        if channels == 1 and pixels.shape[2] == 3:
            if not (pixels == pixels[..., :1]).all():
                raise UserError(f"{printable(path)} is in colour, the model draws grey: save it as a grey image")
            pixels = pixels[..., :1]
        levels = _to_levels(pixels, self._loaded.data["levels"], path)
        return torch.from_numpy(np.ascontiguousarray(levels.transpose(2, 0, 1))).expand(channels, -1, -1).contiguous()


def _place(name: str) -> tuple[str, int] | None:
    """Split and number of "test:17"; None for a file. Raises UserError for a split that there is not."""
    split, colon, index = name.partition(":")
    if not colon or not index.isdecimal() or Path(name).exists():
        return None
    if split not in SPLITS:
        raise UserError(f"no split {printable(split)!r}{did_you_mean(split, SPLITS)}")
    return split, int(index)


def _too_large(path: Path) -> str:
    """The size of an image that no model draws; "" for others, and for what is no image."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            return f"{image.width}x{image.height}" if max(image.size) > MAX_SIDE else ""
    except Exception:  # whatever is wrong with it, `decode` says it better
        return ""


def _to_levels(pixels: NDArray[np.uint8], levels: int, path: Path) -> NDArray[np.uint8]:
    """Values below `levels` are levels already, as in the data sets, but where all are greys of levels and none is the
    highest level, as in a dim image; others have to be such greys."""
    dim = as_levels(pixels, levels, within=0) if levels <= SPARSE and pixels.max() != levels - 1 else None
    if dim is not None or pixels.max() < levels:
        return pixels if dim is None else dim
    found = as_levels(pixels, levels)
    if found is None:
        raise UserError(
            f"{printable(path)} has values between the {levels} levels of the model: give values 0 to {levels - 1}, or "
            f"multiples of 255/{levels - 1}"
        )
    return found


def read_mask(path: Path, height: int, width: int) -> Tensor:
    """bool [H, W], True where the mask is white and the pixel is kept. Raises UserError, also of one that is neither
    all black nor white anywhere, as of 0 and 1."""
    if not path.is_file():
        raise UserError(f"no mask {printable(path)}: expected an image, white where pixels are kept")
    pixels = decode([str(path)])[0]
    if pixels.shape[:2] != (height, width):
        raise UserError(
            f"mask {printable(path)} is {pixels.shape[1]}x{pixels.shape[0]}, the images are {width}x{height}: "
            "it needs a pixel for each of theirs"
        )
    white = pixels.mean(axis=2) >= WHITE
    if pixels.any() and not white.any():
        raise UserError(
            f"mask {printable(path)} has no white pixel, its brightest value is {pixels.max()}: expected 255 where "
            "pixels are kept and 0 elsewhere"
        )
    return torch.from_numpy(white)
