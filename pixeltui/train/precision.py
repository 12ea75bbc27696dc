"""Device and number formats: what `auto` means on this machine."""

import contextlib
import ctypes
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import nn

from pixeltui.errors import UserError
from pixeltui.launch import local_rank, several

SMALL = 1 << 18
"""features of a batch in a layer"""

STEPS_WORTH_COMPILING = 20_000
"""of a run: to compile takes half a minute, and saves the default 2 ms a step of 64 images on an H200"""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of a name such as auto, cpu, cuda or cuda:1; UserError where this machine has no such device.

    Of several processes on a machine each gets a GPU of its own from auto and cuda.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and several():
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"no device {name!r}: expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found = {0: "no CUDA device", 1: "one CUDA device"}.get(count, f"{count} CUDA devices")
        raise UserError(f"no device {name!r} here: this machine has {found}; `pixeltui doctor` tells more")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported: expected auto, cpu, cuda or cuda:N")
    return device


def pick_threads(images: int, image_shape: tuple[int, int, int], channels: int) -> None:
    """One CPU thread where a layer gives few features of so many images, and threads cost more than they give.

    image_shape: (C, H, W). channels: features of a pixel.
    """
    _, height, width = image_shape
    if images * height * width * channels < SMALL:
        one_thread()


def one_thread() -> None:
    """Of the CPU, for small products: on a busy machine two threads that wait for one another at each are ten times
    slower than one. Where OMP_NUM_THREADS is set it holds."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def compile_for(
    model: nn.Module, choice: bool | Literal["auto"], device: torch.device, *, steps: int, deterministic: bool
) -> bool:
    """Has the model compiled at its first batch, where the choice, which may be auto, is to; whether it does.

    auto goes by what a resumed run has in common with the one that began, the steps of the whole. Not where runs are to
    be the same to the bit, since torch then picks kernels by the clock, nor in several processes, where nothing is
    measured. What auto cannot compile is computed as it is, after torch's warning.
    """
    auto = choice == "auto"
    if auto:
        choice = device.type == "cuda" and steps >= STEPS_WORTH_COMPILING and not deterministic and not several()
        choice = choice and find_spec("triton") is not None
    if choice:
        torch._dynamo.config.suppress_errors = auto
        model.compile()
    return bool(choice)


def device_name(device: torch.device) -> str:
    """For people: "cuda:0 NVIDIA H200", "cpu, 2 threads"."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0} {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' * (threads != 1)}"


def device_uuid(device: torch.device) -> str | None:
    """What the driver calls a GPU, whatever CUDA_VISIBLE_DEVICES says; None for other devices."""
    if device.type != "cuda":
        return None
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", "")) or None


@dataclass(frozen=True)
class Precision:
    """The format that the network's products run in; parameters, loss and optimizer stay fp32 (on CUDA see set_up)."""

    name: str
    device: torch.device

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.name])


def pick_precision(name: str, device: torch.device) -> Precision:
    """auto: bf16 where the device computes it in hardware, else fp16 on CUDA, else fp32."""
    if name != "auto":
        return Precision(name, device)
    if device.type == "cuda":
        return Precision("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16", device)
    return Precision("bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32", device)


def set_up(precision: str = "auto", *, deterministic: bool) -> None:
    """Process-wide switches of torch. On CUDA, `deterministic` trades speed for the same bits in every run.

    precision: as the config names it. What stays in fp32 beside bf16 or fp16 products is computed in TF32, with 10 of
    the 23 bits of a factor; where fp32 is asked for, nothing is.
    """
    # whatever this run wants: torch reads it once, before its first product, and a later run may be deterministic
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _keep_freed_memory()
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    tf32 = precision != "fp32" and not deterministic
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def _keep_freed_memory() -> None:
    """Tells glibc not to give each freed tensor back to the system, which would have to clear its pages again.

    Worth 6 % of a step on a CPU. Other C libraries have no mallopt, or pass this over.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
