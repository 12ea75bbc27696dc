"""The compiled steps (steps.c): where they are, whether they fit, and their structures.

Not a Python extension: a plain shared library, built without Python's headers and called through ctypes, which gives
the interpreter lock back while it runs. It has no state of its own.
"""

import ctypes
import importlib.util
import os
from functools import cache

FORMAT = 6
"""of the structures here and in steps.h"""
MODULE = "pixeltui.core.native._steps"
VECTORS = (16, 8, 4)
"""floats in a vector, best first: AVX-512, AVX2, what every machine has"""
KINDS = (
    *("linear", "rms", "layer", "spread", "affine", "tanh_gate", "silu_gate", "silu", "relu", "attend"),
    *("mixture_begin", "mixture_draw", "mixture_logs", "mixture_seen"),
    *("softmax_draw", "log_softmax", "logs_draw", "table_add", "meet"),
)
"""of steps, in the order of steps.h"""
TURNED_OFF = "turned off by PIXELTUI_COMPILED=0"
MOST_MIXTURES = 256
MOST_PIXELS = 4096
"""of an image with attention"""
MIXTURES_PAD = 16
MOST_UP = 8
"""rows above that a wave's pixels look at"""

_int64, _address = ctypes.c_int64, ctypes.c_void_p


class CPlace(ctypes.Structure):
    _fields_ = [("at", _address), *((name, _int64) for name in ("column", "image", "up"))]


class CStep(ctypes.Structure):
    _fields_ = [
        ("kind", _int64),
        *((name, CPlace) for name in ("input", "output", "start")),
        *((name, _address) for name in ("weight", "bias")),
        *((name, _int64) for name in ("inputs", "outputs", "channel")),
        ("first", _address),
        ("number", ctypes.c_double),
    ]


class CMixture(ctypes.Structure):
    _fields_ = [
        ("mixtures", _int64),
        ("in_order", _int64),
        ("sharpest", ctypes.c_float),
        ("widest", ctypes.c_float),
    ]


class CProgram(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.POINTER(CStep)) for name in ("row", "trunk", "head")),
        *((name, _int64) for name in ("row_steps", "trunk_steps", "head_steps")),
        *((name, _int64) for name in ("width", "images", "copies", "channels", "levels", "tracks", "lag")),
        *((name, _address) for name in ("noise", "known", "drawn")),
        ("current", CPlace),
        ("scaled", _address),
        *((name, ctypes.c_double) for name in ("guidance", "temperature", "top_p")),
        ("mixture", CMixture),
    ]


class Library:
    """The loaded code and the vectors that it uses here."""

    def __init__(self, path: str) -> None:
        """Raises OSError, AttributeError or ValueError where the file is not what this version needs."""
        code = ctypes.CDLL(path)
        for name in ("pixeltui_format", "pixeltui_supports", "pixeltui_row", "pixeltui_wave"):
            getattr(code, name).restype = _int64
        code.pixeltui_supports.argtypes = [_int64]
        code.pixeltui_row.argtypes = [ctypes.POINTER(CProgram), _address, *[_int64] * 3]
        code.pixeltui_wave.argtypes = [ctypes.POINTER(CProgram), _address, *[_int64] * 7]
        if code.pixeltui_format() != FORMAT:
            raise ValueError(f"built for format {code.pixeltui_format()}, not {FORMAT}")
        self._code, self.path = code, path
        self.supported = [lanes for lanes in VECTORS if code.pixeltui_supports(lanes)]
        self.lanes = self.supported[0]

    def row(self, program: CProgram, wanted: int, lanes: int, threads: int, groups: int) -> int:
        """Draws a row; wanted: address of a bool for each column; groups: of images, see steps.c. Returns the
        microseconds that this thread lost to others in a row that is shared."""
        return _lost(self._code.pixeltui_row(program, wanted, lanes, threads, groups))

    def wave(
        self,
        program: CProgram,
        wanted: int,
        rows: tuple[int, int],
        steps: tuple[int, int],
        lanes: int,
        threads: int,
        groups: int,
    ) -> int:
        """Draws what a wave over rows, from one up to another, has from a step up to another; wanted: address of a bool
        for each pixel of the image. Returns what `row` does."""
        return _lost(self._code.pixeltui_wave(program, wanted, *rows, *steps, lanes, threads, groups))


def _lost(microseconds: int) -> int:
    if microseconds < 0:
        raise MemoryError("no memory for the places of pixels")
    return microseconds


@cache
def load() -> Library | str:
    """The library, or why there is none. PIXELTUI_COMPILED=0 in the environment turns it off."""
    if os.environ.get("PIXELTUI_COMPILED") == "0":
        return TURNED_OFF
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        return "not built"
    try:
        return Library(spec.origin)
    except (OSError, AttributeError, ValueError) as error:
        return f"{spec.origin}: {error}"
