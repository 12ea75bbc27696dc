"""A training step, from the forward pass to the new weights, as one CUDA graph: thousands of kernels, one launch.

Without it a step of up to about 64 images waits for the CPU that launches them.
"""

import gc
from collections.abc import Callable

import torch
from torch import Tensor, nn

Gradients = Callable[[Tensor, Tensor | None], Tensor]
"""From images and labels to the loss, fp32 []; leaves the gradients in the parameters"""
Change = Callable[[Tensor], Tensor]
"""By these gradients and that loss to new weights; returns the norm of the gradients, fp32 []"""
WARM_UP = 3
"""batches that are computed as they are before one is recorded: cuDNN tries its algorithms in the first"""
MOST_MEMORY = 0.4
"""of the GPU's, which what is recorded may keep for itself: evaluation and samples need some too"""


class RecordedStep:
    """Computes as `gradients` and `change` do, from the fourth batch of a shape on by the graph of that one.

    What they read beside their arguments must lie where it lay when they were recorded: weights, moments, learning
    rate, buffers, draws. They are given anew at each call: whose they are keeps this object and is to go when nobody
    else needs it.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.graph: torch.cuda.CUDAGraph | None = None
        self._shape: torch.Size | None = None
        self._seen = 0

    def __call__(
        self, gradients: Gradients, change: Change, images: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Loss and norm, the weights being new; None where nothing is done, and the step is to be computed as it is."""
        if images.shape != self._shape:
            self.forget()
            self._shape = images.shape
            torch.cuda.reset_peak_memory_stats(images.device)  # an earlier run's of this process is none of this one's
        if self.graph is None:
            if self._seen < WARM_UP or not _fits(images.device):
                self._seen += 1
                return None
            self._record(gradients, change, images, labels)
            assert self.graph is not None
        self._images.copy_(images)
        if labels is not None and self._labels is not None:
            self._labels.copy_(labels)
        self.graph.replay()
        loss, norm = self._found
        return loss.clone(), norm.clone()

    def forget(self) -> None:
        """Gives the graph's memory back."""
        self.graph = None
        self._seen = 0
        self._found = (torch.empty(()), torch.empty(()))

    def _record(self, gradients: Gradients, change: Change, images: Tensor, labels: Tensor | None) -> None:
        self._images, self._labels = images.clone(), None if labels is None else labels.clone()
        for parameter in self.parameters:
            parameter.grad = None  # those that are made now are written anew, not added to, at each replay
        gc.collect()
        torch.cuda.empty_cache()  # what the batches before held is what the graph takes
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]  # torch's own may be another GPU's
        recording = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
        with torch.cuda.device(images.device), recording:
            loss = gradients(self._images, self._labels)
            self._found = loss, change(loss)
        self.graph = graph


def _fits(device: torch.device) -> bool:
    total = torch.cuda.get_device_properties(device).total_memory
    return torch.cuda.max_memory_allocated(device) < MOST_MEMORY * total
