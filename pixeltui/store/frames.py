"""The samples in progress as one small file of the run, for consoles in other processes; gone once they are drawn.

It is no record: replaced as a whole, so that a reader finds all of it or none, but never waited for on the disk.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from pixeltui.errors import printable
from pixeltui.events import Frame
from pixeltui.store.files import TEMPORARY_PREFIX, read_regular

LARGEST: Final = 1 << 20
"""bytes of a file; of more images the first are written"""
PIXELS_AT_MOST: Final = LARGEST - (1 << 16)
SECONDS: Final = 0.5
"""between two writes"""
LARGEST_SIDE: Final = 256
LONGEST_LABEL: Final = 60
MOST_LABELS: Final = 500
_decoder = msgspec.msgpack.Decoder(Frame)
_encoder = msgspec.msgpack.Encoder()


class FrameWriter:
    """Of the one process that trains. Nothing here raises or takes long: a frame that cannot be written is left out."""

    def __init__(
        self, path: Path, now: Callable[[], float] = time.monotonic, in_place: Callable[[], bool] = lambda: True
    ) -> None:
        """in_place: whether the path is still in the run that trains; nothing is touched where it is not."""
        self._path = path
        self._in_place = in_place
        self._temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}"
        self._now = now
        self._next_at = 0.0
        self.remove()

    def write(self, frame: Frame) -> None:
        """Every frame that is due; the last of a drawing always is."""
        if self._now() < self._next_at and frame.rows_done < frame.shape[2]:
            return
        self._next_at = self._now() + SECONDS
        if not self._in_place():
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with contextlib.suppress(OSError, ValueError):
            handle = os.open(self._temporary, flags, 0o644)
            with os.fdopen(handle, "wb") as file:
                file.write(_encoder.encode(_cut(frame)))
            self._temporary.replace(self._path)

    def remove(self) -> None:
        for path in (self._path, self._temporary) if self._in_place() else ():
            with contextlib.suppress(OSError):
                path.unlink()

    close = remove


def _cut(frame: Frame) -> Frame:
    """The first images, as many as the file has room for."""
    count, channels, height, width = frame.shape
    size = channels * height * width
    kept = min(count, PIXELS_AT_MOST // size)
    labels = tuple(printable(label)[:LONGEST_LABEL] for label in frame.labels[: min(kept, MOST_LABELS)])
    shape = (kept, channels, height, width)
    return msgspec.structs.replace(frame, shape=shape, pixels=frame.pixels[: kept * size], labels=labels)


class FrameReader:
    """Follows a file that another process replaces, or anyone may have put there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = None
        self._frame: Frame | None = None

    def newest(self) -> Frame | None:
        """The same object as long as the file is the same; None where there is none, or no frame in it."""
        try:
            found = self._path.lstat()
        except OSError:
            self._seen = self._frame = None
            return None
        seen = found.st_mtime_ns, found.st_ino, found.st_size
        if seen != self._seen:
            self._seen, self._frame = seen, _read(self._path)
        return self._frame


def _read(path: Path) -> Frame | None:
    try:
        frame = _decoder.decode(b"" if path.is_symlink() else read_regular(path, most=LARGEST))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return frame if _is_sound(frame) else None


def _is_sound(frame: Frame) -> bool:
    count, channels, height, width = frame.shape
    return (
        count >= 1
        and channels in (1, 3)
        and 1 <= height <= LARGEST_SIDE
        and 1 <= width <= LARGEST_SIDE
        and len(frame.pixels) == count * channels * height * width
        and 2 <= frame.levels <= 256
        and 0 <= frame.rows_done <= height
        and 0 <= frame.step <= 1 << 53
        and len(frame.labels) <= count
        and all(len(label) <= LONGEST_LABEL for label in frame.labels)
    )
