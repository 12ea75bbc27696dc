"""Whether Triton kernels are used and where, and what those that launch them share."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import torch

Found = TypeVar("Found")
ON = os.environ.get("PIXELTUI_TRITON") != "0"
"""whether kernels are used on CUDA"""
THERE = importlib.util.find_spec("triton") is not None
"""it comes with torch's CUDA builds alone"""
MOST_NUMBERS = 2**31
"""of a tensor, whose places are int32"""


class ProductTile(NamedTuple):
    """How a product is cut: rows and columns of the result that a program computes, terms at a time, warps, and how
    many terms are asked for ahead."""

    rows: int
    columns: int
    terms: int
    warps: int
    stages: int

    def programs(self, rows: int, columns: int) -> int:
        return -(-rows // self.rows) * -(-columns // self.columns)

    def fitting(self, memory: int, each: int) -> "ProductTile":
        """With fewer stages where memory, bytes, does not hold the factors of all; each: bytes of a number."""
        of_stage = each * self.terms * (self.rows + self.columns)
        return self._replace(stages=min(self.stages, max(memory // of_stage, 1)))

    def options(self) -> dict[str, int]:
        """What a kernel is compiled with."""
        sizes = {"BM": self.rows, "BN": self.columns, "BK": self.terms}
        return {**sizes, "num_warps": self.warps, "num_stages": self.stages}


given_up: dict[Hashable, str] = {}
"""why kernels could not be compiled here, by what they were to be; they are not tried again"""


def why_not() -> str:
    """The first reason for which kernels were given up, one line; "" where none were."""
    return next(iter(given_up.values()), "").split("\n", 1)[0]


def compiles_for(device: torch.device) -> bool:
    return device.type == "cuda" and torch.version.cuda is not None


def usable(device: torch.device) -> bool:
    return ON and THERE and compiles_for(device)


def shared_memory(device: torch.device) -> int:
    """Bytes that a program can have."""
    if device.type != "cuda":
        return MOST_NUMBERS
    properties = torch.cuda.get_device_properties(device)
    return int(getattr(properties, "shared_memory_per_block_optin", properties.shared_memory_per_block))


def kernels() -> Any:
    """The package of kernels."""
    from pixeltui.core.gpu import kernels as package

    return package


def power(least: int) -> int:
    """The power of 2 from `least` on."""
    return 1 << (least - 1).bit_length()


def launching_on(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton launches on the current device, whichever the tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def tried(kind: Hashable, device: torch.device, work: Callable[[], Found]) -> Found | None:
    """What `work`, which launches kernels, gives; None where these could not be compiled, now or before.

    Raises what torch could not go on after either: OutOfMemoryError, and AcceleratorError, of a device that failed.
    """
    if kind in given_up:
        return None
    try:
        with launching_on(device):
            return work()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # triton's own, a missing compiler's, the driver's
        if "out of memory" in str(error):
            raise torch.OutOfMemoryError(str(error)) from error
        if isinstance(error, torch.AcceleratorError):
            raise
        given_up[kind] = f"{type(error).__name__}: {error}"
        return None
