"""Image files to uint8 arrays. No torch here: processes that decode import only this, Pillow and numpy."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixeltui.errors import UserError, printable
from pixeltui.greys import greys, nearest_levels

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 64
SPARSE = 64
"""of more levels so many values are greys that any image's can all be some, or near to some"""
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".avif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx"),
)
# Not every format that Pillow knows: some start other programs (EPS), are documents (PDF), or are decoded before their
# size is known (ICO).
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "PPM", "TGA", "PCX")
GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N", "I")  # what Pillow calls 16-bit grey; convert("L") would clip it to white


def decode(paths: Sequence[str]) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C] of files of one size: C is 1 where all are grey, else 3.

    An alpha channel is laid over white, a palette looked up, 16 bits become the upper 8; of an animation the first
    image counts; EXIF orientation is applied. Raises UserError naming the file that cannot be read or is too large, or
    two files whose sizes differ.
    """
    arrays = [_decode_one(path) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            raise mixed_sizes(paths[0], arrays[0], path, array)
    channels = max(array.shape[2] for array in arrays)
    return np.stack([array if array.shape[2] == channels else array.repeat(channels, axis=2) for array in arrays])


def as_levels(pixels: NDArray[np.uint8], levels: int, *, within: int = 1) -> NDArray[np.uint8] | None:
    """Greys 0 to 255 as levels; None where one of them is farther from the grey of every level.

    within: greys that programs which scale levels differ by, as some of them round and others cut.
    """
    nearest = np.frombuffer(nearest_levels(levels), np.uint8)
    off = np.abs(np.frombuffer(greys(levels), np.uint8)[nearest].astype(int) - np.arange(256))
    return None if (off > within)[pixels].any() else nearest[pixels]


def mixed_sizes(path: str, image: NDArray[np.uint8], other_path: str, other: NDArray[np.uint8]) -> UserError:
    """The message about two images [H, W, C] of different sizes."""
    size, other_size = (f"{array.shape[1]}x{array.shape[0]}" for array in (image, other))
    return UserError(
        f"images of different sizes: {printable(path)} is {size}, {printable(other_path)} is {other_size}; scale or "
        f"crop all to one size, for instance with ImageMagick: mogrify -resize '{size}!' FILES"
    )


def _decode_one(path: str) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    where = printable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a size that Pillow warns of is refused below, before it is decoded
            with Image.open(path, formats=FORMATS) as image:
                if max(image.size) > MAX_SIDE:
                    raise _too_large(path, f"{image.width}x{image.height}")
                image.load()
                if max(image.size) > MAX_SIDE:  # some formats learn their size only now
                    raise _too_large(path, f"{image.width}x{image.height}")
                return _to_array(path, image)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path, "hundreds of millions of") from None
    except UnidentifiedImageError:
        raise UserError(f"{where} is not an image that can be read; remove it or replace it by a PNG file") from None
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, ...
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{where} cannot be read as an image ({printable(reason)}); replace or remove it") from error


def _too_large(path: str, size: str) -> UserError:
    return UserError(
        f"{printable(path)} is {size} pixels large, the limit is {MAX_SIDE}x{MAX_SIDE}; scale the images down, "
        "for instance with ImageMagick: mogrify -resize '32x32!' FILES"
    )


def _to_array(path: str, image: "Image") -> NDArray[np.uint8]:
    """uint8 [H, W, 1 or 3]"""
    from PIL import Image, ImageOps

    if "exif" in image.info:
        image = ImageOps.exif_transpose(image)
    if image.mode in GREY_16:
        values: NDArray[Any] = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UserError(f"{printable(path)} has grey values beyond 16 bits; save it with 8 bits a channel")
        return (values >> 8).astype(np.uint8)[..., None]
    if image.mode == "F":
        raise UserError(f"{printable(path)} holds floating point numbers; save it with 8 bits a channel")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        grey = image.mode in ("LA", "La")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("L" if grey else "RGB")
    image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
