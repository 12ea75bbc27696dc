"""A row's work as a list of steps for steps.c, in terms of the tensors that the torch path uses.

Tensors: a [N, D] or, a column at a time, [W, N, D] view with features that lie together; N images, W columns. The
program keeps what its steps point to.
"""

import ctypes

import torch
from torch import Tensor

from pixeltui.core.native.library import KINDS, MOST_PIXELS, CPlace, CStep
from pixeltui.core.packed import LayerOfPixel, Norm, RmsOfPixel, SameFeatures, ScaleAndShift, Scaled
from pixeltui.core.parts import Unsupported
from pixeltui.core.rows import Panels


class Steps:
    """Steps in the order in which they are to run."""

    def __init__(self, lanes: int, packed: Panels | None = None) -> None:
        """packed: of matrices that outlive these steps; is added to."""
        self.lanes, self.packed = lanes, packed
        self.steps: list[CStep] = []
        self.kept: list[Tensor] = []

    def linear(self, output: Tensor, x: Tensor, matrix: Tensor, start: Tensor | None = None, *, up: int = 0) -> None:
        """output = start + x matrix [in, out]. up: x is in the track so many above the pixel's."""
        weight = self._panels(matrix)
        self.add("linear", x, output, start=start, weight=weight, inputs=matrix.shape[0], outputs=matrix.shape[1])
        self.steps[-1].input.up = up

    def spread(self, output: Tensor, x: Tensor, taps: Tensor, start: Tensor, *, up: int = 0) -> None:
        """output = start + what taps [T, D] make, feature by feature, of the T columns of x [W, N, D] from each on.

        x reaches T - 1 columns further than its shape tells. up: as in `linear`.
        """
        self.add("spread", x, output, start=start, weight=taps, inputs=len(taps))
        self.steps[-1].input.up = up

    def gate(self, name: str, both: Tensor, gated: Tensor) -> None:
        steps = {"tanh": "tanh_gate", "silu": "silu_gate", "none": "silu"}
        if name not in steps:
            raise Unsupported(f"gate {name}")
        self.add(steps[name], both, gated)

    def attend(self, output: Tensor, qkv: Tensor, cache: Tensor, first: Tensor) -> None:
        """cache [2, N, heads, H W, D / heads]; first int64 [1]: the pixel at which the row begins."""
        _, _, heads, pixels, size = cache.shape
        if pixels > MOST_PIXELS:
            raise Unsupported(f"attention over {pixels} pixels")
        self.add("attend", qkv, output, weight=cache, inputs=pixels, outputs=heads * size, channel=heads)
        self.steps[-1].first = first.data_ptr()
        self.kept.append(first)

    def meet(self, *, by_outputs: bool = False) -> None:
        """What follows reads what other threads make in the steps before: of other pixels or, by_outputs, where threads
        share the outputs of a wave's steps, of other outputs."""
        self.steps.append(CStep(kind=KINDS.index("meet"), channel=by_outputs))

    def norm(self, norm: Norm, x: Tensor, output: Tensor) -> None:
        if isinstance(norm, RmsOfPixel):
            self.add("rms", x, output, number=float(norm.floor))
        elif isinstance(norm, LayerOfPixel):
            self.add("layer", x, output, number=norm.eps)
        elif isinstance(norm, ScaleAndShift):
            self.add("affine", x, output, weight=norm.scale, bias=norm.shift)
        elif isinstance(norm, SameFeatures):
            if x.data_ptr() != output.data_ptr():
                self.add("affine", x, output)
        elif isinstance(norm, Scaled):
            self.norm(norm.norm, x, output)
            self.add("affine", output, output, weight=norm.factors)
        else:
            raise Unsupported(type(norm).__name__)

    def add(
        self,
        kind: str,
        x: Tensor,
        output: Tensor | None = None,
        *,
        start: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        inputs: int = 0,
        outputs: int | None = None,
        channel: int = 0,
        number: float = 0.0,
    ) -> None:
        """outputs: width of `output` where it is not said."""
        step = CStep(kind=KINDS.index(kind), inputs=inputs, channel=channel, number=number)
        step.outputs = outputs if outputs is not None else 0 if output is None else output.shape[-1]
        step.input = self._place(x)
        if output is not None:
            step.output = self._place(output)
        if start is not None:
            step.start = self._place(start)
        step.weight, step.bias = self._address(weight), self._address(bias)
        self.steps.append(step)

    def array(self) -> "ctypes.Array[CStep]":
        return (CStep * len(self.steps))(*self.steps)

    def _panels(self, matrix: Tensor) -> Tensor:
        if self.packed is None:
            return panels(matrix, self.lanes)
        where = matrix.data_ptr(), *matrix.shape, *matrix.stride(), self.lanes
        if where not in self.packed:
            self.packed[where] = matrix, panels(matrix, self.lanes)
        return self.packed[where][1]

    def _place(self, x: Tensor) -> CPlace:
        place = place_of(x)
        self.kept.append(x)
        return place

    def _address(self, x: Tensor | None) -> int | None:
        if x is None:
            return None
        if x.dtype != torch.float32 or not x.is_contiguous():
            raise Unsupported(f"weights {x.dtype}, strides {x.stride()}")
        self.kept.append(x)
        return x.data_ptr()


def place_of(x: Tensor) -> CPlace:
    """Of a view [N, D] or [W, N, D]."""
    if x.dtype != torch.float32 or x.is_cuda or (x.shape[-1] > 1 and x.stride(-1) != 1):
        raise Unsupported(f"{x.dtype} on {x.device}, strides {x.stride()}")
    return CPlace(x.data_ptr(), x.stride(0) if x.ndim == 3 else 0, x.stride(-2), 0)


def panels(matrix: Tensor, lanes: int) -> Tensor:
    """A matrix [in, out] as steps.c reads it: 2 lanes outputs at a time, the last ones by lanes, [in, outputs] each."""
    inputs, outputs = matrix.shape
    whole, padded = outputs // (2 * lanes) * 2 * lanes, (outputs + lanes - 1) // lanes * lanes
    result = matrix.new_zeros(inputs * padded)
    first, rest = result[: inputs * whole], result[inputs * whole :]
    first.view(-1, inputs, 2 * lanes).copy_(matrix[:, :whole].view(inputs, -1, 2 * lanes).transpose(0, 1))
    rest.view(inputs, padded - whole)[:, : outputs - whole] = matrix[:, whole:]
    return result
