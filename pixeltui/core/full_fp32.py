"""fp32 to its last bit: what likelihoods and samples are computed in, and never a training step.

By torch's default a GPU's convolutions keep 10 of the 23 bits of an fp32 factor (TF32), which moves log-probabilities
by about 1e-3 and would let the cached sampler part from the forward pass.
"""

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch.backends import cudnn


@contextlib.contextmanager
def full_fp32(device: torch.device) -> Iterator[None]:
    """A context in which autocast is off and, on CUDA, TF32 too."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        _off.enter()
        try:
            yield
        finally:
            _off.leave()


@contextlib.contextmanager
def drawing(device: torch.device) -> Iterator[None]:
    """A context for sampling: full_fp32, no gradients, and no inference mode, whose tensors could not be written to
    outside of it: a stream may be asked for in one mode and read in another."""
    with torch.inference_mode(False), torch.no_grad(), full_fp32(device):
        yield


class _Off:
    """torch's switches are the process's: the first of several threads turns them off, the last puts them back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ("", False)

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
                torch.set_float32_matmul_precision("highest")
                cudnn.allow_tf32 = False
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                matmul, cudnn.allow_tf32 = self._before
                torch.set_float32_matmul_precision(matmul)


_off = _Off()
