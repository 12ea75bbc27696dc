"""The arrays of a MATLAB 5 file, as far as SVHN needs them: plain numbers, no cells, structures or text.

MATLAB, "MAT-File Format", level 5. Spares the dependency on scipy, which torchvision's SVHN asks for.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 128
COMPRESSED, MATRIX = 15, 14  # miCOMPRESSED, miMATRIX
DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # miINT8, ...
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # mx*_CLASS


def read(data: bytes) -> dict[str, NDArray[Any]]:
    """Name to array. Raises ValueError where the bytes are no such file, or hold anything but arrays of numbers."""
    if len(data) < HEADER_BYTES or data[124:128] not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise ValueError("not a MATLAB 5 file")
    order = "<" if data[126:128] == b"IM" else ">"
    try:
        return dict(_arrays(memoryview(data)[HEADER_BYTES:], order))
    except (struct.error, zlib.error, KeyError, StopIteration, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged MATLAB file, or one of another kind: {error}") from error


def _arrays(data: memoryview, order: str) -> Iterator[tuple[str, NDArray[Any]]]:
    for kind, body in list(_elements(data, order)):
        if kind == COMPRESSED:
            yield from _arrays(memoryview(zlib.decompress(body)), order)
        elif kind == MATRIX:
            flags, dimensions, name, values = list(_elements(body, order))[:4]
            numbers = np.frombuffer(values[1], order + DTYPES[values[0]])
            shape = np.frombuffer(dimensions[1], order + "i4")
            target = CLASSES[struct.unpack_from(order + "I", flags[1])[0] & 0xFF]
            yield bytes(name[1]).decode("ascii"), numbers.astype(target).reshape(shape, order="F")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, bytes) of the data elements in a row, each on an 8-byte boundary but for compressed ones."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from(order + "II", data, start)
        if kind >> 16:  # the small format: size and type in 4 bytes, up to 4 bytes of data
            kind, size, body, end = kind & 0xFFFF, kind >> 16, start + 4, start + 8
        else:
            body = start + 8
            end = body + size if kind == COMPRESSED else body + -(-size // 8) * 8
        if body + size > len(data):
            raise ValueError("the MATLAB file ends too early")
        yield kind, data[body : body + size]
        start = end
