"""Images as a file about as long as their bits/dim say: range coding (Martin 1979) with a model's distributions.

The file holds what the images take given their classes, which the reader has to know too: the likelihood that `eval`
reports is given them. Writer and reader must have the same distributions bit for bit, as a difference in the last place
moves the borders of the levels, and then all that follows is read wrong; rounding probabilities would make such
differences rarer, not impossible. So both run the same steps (core.sequence) on the same batches, on the CPU in one
thread. On another processor or by another library floats may differ: a file is to be read where it was written, and its
checksum tells.

    b"PXT1" | number of images, batch size: varints | CRC-32 of the images, little-endian | the coder's 32-bit words
"""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixeltui.core.full_fp32 import full_fp32
from pixeltui.core.sequence import distributions
from pixeltui.errors import UserError

if TYPE_CHECKING:
    from pixeltui.core import ConditionalPixelCNN

Progress = Callable[[int, int], None]

MAGIC: Final = b"PXT1"
BATCH: Final = 64
"""images coded at once"""
MOST: Final = 1024
"""of them, at most: a file cannot ask for any memory"""


class Compressed(NamedTuple):
    """A whole file, how much of it is header, and how short it could be."""

    data: bytes
    header_bytes: int
    ideal_bits: float
    """-log2 of the images' probability, by the distributions that they were coded with"""


class NotDecoded(ValueError):
    """This is not what `compress` wrote with this model, these labels, on a machine like this."""


def compress(
    model: "ConditionalPixelCNN",
    images: Tensor,
    labels: Tensor | None = None,
    *,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> Compressed:
    """images uint8 [N, C, H, W]; labels int64 [N], None for p(image). progress: called with (rows done, rows in all).

    Raises UserError where the coder's library is missing, ValueError for images that are not the model's and a batch
    size that is not from 1 to MOST.
    """
    _check(model, images)
    if not 1 <= batch_size <= MOST:
        raise ValueError(f"expected a batch size from 1 to {MOST}, got {batch_size}")
    queue, family = coder()
    encoder, log_prob = queue.RangeEncoder(), 0.0
    parts = (images[first : first + batch_size].cpu() for first in range(0, len(images), batch_size))
    known = (levels.long() for part in parts for levels in part.permute(2, 3, 1, 0).flatten(0, 2).unbind())

    def write(log_probs: Tensor) -> Tensor:
        nonlocal log_prob
        levels: Tensor = next(known)
        log_prob += float(log_probs.gather(1, levels[:, None]).double().sum())
        encoder.encode(levels.int().numpy(), family, _probabilities(log_probs))
        return levels

    _walk(model, len(images), labels, batch_size, write, progress)
    header = MAGIC + _varint(len(images)) + _varint(batch_size) + _checksum(images)
    words = encoder.get_compressed().astype("<u4").tobytes()
    return Compressed(header + words, len(header), -log_prob / math.log(2))


def decompress(
    model: "ConditionalPixelCNN", data: bytes, labels: Tensor | None = None, *, progress: Progress | None = None
) -> Tensor:
    """The images of `compress`, uint8 [N, C, H, W] on the CPU. Raises NotDecoded, and UserError as `compress` does."""
    count, batch_size, checksum, words = _parse(data)
    if batch_size > MOST or count * _fewest_bits(model) > 32 * len(words):
        raise NotDecoded(f"{count:,} images, {batch_size:,} at once, are not in {len(data):,} bytes")
    if labels is not None and len(labels) != count:
        raise NotDecoded(f"{count} images in the file, {len(labels)} labels")
    queue, family = coder()
    decoder = queue.RangeDecoder(words)

    def read(log_probs: Tensor) -> Tensor:
        try:
            return torch.from_numpy(decoder.decode(family, _probabilities(log_probs))).long()
        except AssertionError:  # what the coder raises where no level fits
            raise NotDecoded("the file is damaged, or was written with another model") from None

    images = _walk(model, count, labels, batch_size, read, progress)
    if _checksum(images) != checksum:
        raise NotDecoded(
            "these are not the images that were written: the file is damaged, or was written with other weights or "
            "labels, or where floating-point numbers round otherwise"
        )
    return images


def _walk(
    model: "ConditionalPixelCNN",
    count: int,
    labels: Tensor | None,
    batch_size: int,
    code: Callable[[Tensor], Tensor],
    progress: Progress | None,
) -> Tensor:
    """Images uint8 [N, C, H, W] on the CPU, of the levels that `code` gives for each sub-pixel of a batch, in order.

    code: from log-probabilities [B, L] to levels int64 [B], both on the CPU.
    """
    channels, height, width = model.image_shape
    sub_pixels = math.prod(model.image_shape)
    device = next(model.parameters()).device
    parts = []
    for first in range(0, count, batch_size):
        batch = min(batch_size, count - first)
        pixels = torch.empty(sub_pixels, batch, dtype=torch.uint8)
        with full_fp32(device), _one_thread():
            steps = distributions(model, batch, None if labels is None else labels[first : first + batch].to(device))
            log_probs = next(steps)
            for step in range(sub_pixels):
                levels = code(log_probs.cpu())
                pixels[step] = levels
                if step + 1 < sub_pixels:
                    log_probs = steps.send(levels.to(device))
                if progress is not None and (step + 1) % (width * channels) == 0:
                    progress(first * height + (step + 1) // (width * channels) * batch, count * height)
        parts.append(pixels.view(height, width, channels, batch).permute(3, 2, 0, 1))
    return torch.cat(parts).contiguous()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """How many share a matrix product decides in which order its sums are taken."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(model: "ConditionalPixelCNN", images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.shape[1:] != model.image_shape or not len(images):
        expected = f"uint8 [N, {', '.join(map(str, model.image_shape))}]"
        raise ValueError(f"expected images {expected}, got {images.dtype} {list(images.shape)}")
    if int(images.max()) >= model.levels:
        raise ValueError(f"expected levels from 0 to {model.levels - 1}, got {int(images.max())}")


def coder() -> tuple[Any, Any]:
    """constriction's module of range coders, and its family of categorical distributions. Raises UserError."""
    try:
        import constriction
    except ImportError:
        raise UserError("compressing needs the library constriction: pip install 'pixeltui[codec]'") from None
    return constriction.stream.queue, constriction.stream.model.Categorical(perfect=False)


def _fewest_bits(model: "ConditionalPixelCNN") -> float:
    """That an image takes: of 2^24, see _probabilities, a level leaves 1 to each of the others."""
    return -math.prod(model.image_shape) * math.log2(1 - (model.levels - 1) / 2**24)


def _probabilities(log_probs: Tensor) -> NDArray[np.float32]:
    """[B, L]; the coder makes of them whole numbers that sum to 2^24, none of them 0."""
    probabilities: NDArray[np.float32] = log_probs.exp().numpy()
    return probabilities


def _checksum(images: Tensor) -> bytes:
    return zlib.crc32(images.cpu().contiguous().numpy().tobytes()).to_bytes(4, "little")


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow (LEB128)."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _parse(data: bytes) -> tuple[int, int, bytes, NDArray[np.uint32]]:
    """(images, batch size, checksum, words). Raises NotDecoded."""
    numbers, at = [], len(MAGIC)
    for _ in range(2):
        value = 0
        for shift in range(0, 35, 7):
            byte = data[at] if at < len(data) else 0x80
            at, value = at + 1, value | (byte & 0x7F) << shift
            if byte < 0x80:
                break
        numbers.append(value)
    count, batch_size = numbers
    checksum, words = data[at : at + 4], data[at + 4 :]
    if data[: len(MAGIC)] != MAGIC or len(checksum) < 4 or len(words) % 4 or not (count and batch_size):
        raise NotDecoded("not a file of compressed images, or its end is missing")
    return count, batch_size, checksum, np.frombuffer(words, "<u4").astype(np.uint32)
