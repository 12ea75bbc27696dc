"""What the tests of operations of our own for torch share."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Nowhere(torch.autograd.Function):
    """A sum that has no gradient."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(_: Any, *__: Any) -> None:
        return None


def graphs_of(function: Callable[..., Tensor], calls: Iterable[tuple[Any, ...]]) -> int:
    """How many a compiler makes for these calls, with sizes that may change; what they compute is the same."""
    torch.compiler.reset()
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(function, backend=backend, dynamic=True, fullgraph=True)
    for given in calls:
        torch.testing.assert_close(compiled(*given), function(*given))
    return len(graphs)
