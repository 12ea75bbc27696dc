"""Steps that are the same each time, as one CUDA graph."""

from collections.abc import Callable

import torch
from torch import Tensor


def put(x: Tensor, at: Tensor, values: Tensor) -> None:
    """x[at] = values, at int64 [N] that are known to be places of x: where algorithms are to be deterministic, plain
    index_put asks the device whether they are, which no graph can record."""
    torch._index_put_impl_(x, [at], values, unsafe=True)


class Replayed:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side: torch.cuda.Stream | None = None
        """what is recorded is recorded on it, and warmed up; of this device, where torch's own may be of another"""

    def run(self, steps: Callable[[], None]) -> None:
        """The first time they run as they are, for what must not be recorded; the second time they are recorded."""
        if self.side is None:
            self.side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            current = torch.cuda.current_stream(self.device)
            self.side.wait_stream(current)
            try:
                with torch.cuda.stream(self.side):
                    steps()
            finally:  # or what is freed after an exception would still be written to
                current.wait_stream(self.side)
            return
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            recording = torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local")
            with torch.cuda.device(self.device), recording:
                steps()
            self.graph = graph
        self.graph.replay()
