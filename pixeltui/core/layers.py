"""Layers that never look ahead in raster order (row by row, left to right).

Shapes: [B, C, H, W] images of features. "Strictly causal": the output at a pixel hangs on earlier pixels only;
"causal": on those and on the pixel itself.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui import registry
from pixeltui.core.dropout import Dropout
from pixeltui.core.fused import rms_norm
from pixeltui.core.parts import dtype_of, fp32


def make_norm(name: str, channels: int) -> nn.Module:
    """The norm that the config calls `name`."""
    norm: nn.Module = registry.part(registry.NORMS, name, "norm")(channels)
    return norm


def make_gate(name: str) -> Callable[[Tensor], Tensor]:
    """The gate that the config calls `name`: [B, n D, H, W] to [B, D, H, W]; see `gate_inputs`."""
    gate: Callable[[Tensor], Tensor] = registry.part(registry.GATES, name, "gate")
    return gate


def gate_inputs(gate: Callable[[Tensor], Tensor]) -> int:
    """How many features a gate takes for each that it gives: 2 where it gates, 1 where it only activates."""
    return 4 // gate(torch.zeros(1, 4, 1, 1)).shape[1]


class MaskedConv2d(nn.Module):
    """Convolution with a raster-order mask (van den Oord et al. 2016a, section 3.4), [B, C, H, W] to [B, C', H, W].

    Type "A" sees the pixels before the centre, "B" the centre too; the channels of a pixel are treated alike. The rows
    below the centre, which the mask would set to zero, are not there: `weight` is [C', C, kernel_size // 2 + 1,
    kernel_size]. The rest of the mask multiplies the weight in `forward`; the weight itself is never written to.

    The image keeps its size: `stride` and `padding`, here because nn.Conv2d has them, can be 1 and kernel_size // 2, or
    "same"; pairs of equal numbers do too. Raises ValueError for others, for another mask type, no channels, an even
    kernel, and a 1x1 kernel of type "A": it sees nothing.
    """

    mask: Tensor

    def __init__(
        self,
        mask_type: str,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kernel_size, stride = _one(kernel_size), _one(stride)
        padding = _one(padding) if isinstance(padding, tuple) else padding
        if min(in_channels, out_channels) < 1:
            raise ValueError(f"expected 1 channel or more, got {in_channels} and {out_channels}")
        if stride != 1 or padding not in (None, "same", kernel_size // 2):
            raise ValueError(f"expected stride 1 and padding {kernel_size // 2}, got {stride} and {padding}")
        if mask_type not in ("A", "B"):
            raise ValueError(f"expected mask type 'A' or 'B', got {mask_type!r}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"expected an odd kernel size, got {kernel_size}")
        if mask_type == "A" and kernel_size == 1:
            raise ValueError("a kernel of size 1 with a mask of type 'A' sees nothing: expected 3 or more")
        self.mask_type = mask_type
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        half = kernel_size // 2
        mask = torch.ones(half + 1, kernel_size)
        mask[half, half + (mask_type == "B") :] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, half + 1, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform with bound 1/sqrt(fan-in), as nn.Conv2d, counting the taps that the mask leaves; the others are 0."""
        if self.weight.is_meta:
            return
        bound = 1 / math.sqrt(self.in_channels * int(self.mask.sum()))
        with torch.no_grad():
            self.weight.uniform_(-bound, bound).mul_(self.mask)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H, W]."""
        half = self.kernel_size // 2
        if half == 0:
            return F.conv2d(x, self.weight, self.bias)
        return F.conv2d(F.pad(x, (half, half, half, 0)), self.weight * self.mask, self.bias)

    def extra_repr(self) -> str:
        return f"{self.mask_type!r}, {self.in_channels}, {self.out_channels}, {self.kernel_size}"


def _one(size: int | tuple[int, int]) -> int:
    """Of a pair of equal numbers."""
    if isinstance(size, int):
        return size
    if len({*size}) != 1:
        raise ValueError(f"expected as many rows as columns, got {size}")
    return size[0]


class GainedConv2d(nn.Conv2d):
    """A convolution that takes factors of its inputs into its kernel."""

    def forward(self, x: Tensor, gain: Tensor | None = None, *, biased: bool = True) -> Tensor:
        """gain: factors [C] of the inputs; not biased: without the bias."""
        bias = self.bias if biased else None
        y: Tensor = self._conv_forward(self.padded(x), gained(self.weight, gain), bias)
        return y

    def padded(self, x: Tensor) -> Tensor:
        return x


class DownShiftedConv2d(GainedConv2d):
    """Unmasked [rows, columns] kernel that ends in the current row, columns centred, odd: sees any column.

    Causal over rows only (Salimans et al. 2017, section 2.3): for features of the rows above.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int]) -> None:
        if kernel_size[1] % 2 == 0:
            raise ValueError(f"expected an odd number of columns, got {kernel_size[1]}")
        super().__init__(in_channels, out_channels, kernel_size, padding=(0, kernel_size[1] // 2))

    def padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, self.kernel_size[0] - 1, 0))


class DownRightShiftedConv2d(GainedConv2d):
    """Unmasked [rows, columns] kernel whose last tap is the current pixel: rows above and current, columns up to it."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int], *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)

    def padded(self, x: Tensor) -> Tensor:
        rows, columns = self.kernel_size
        return F.pad(x, (columns - 1, 0, rows - 1, 0))


class PointwiseConv2d(GainedConv2d):
    """A 1x1 convolution: a matrix, at every pixel the same."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)


def gained(weight: Tensor, gain: Tensor | None) -> Tensor:
    """A kernel [C', C, rows, columns] with the factors [C] of its inputs taken in."""
    return weight if gain is None else weight * gain[:, None, None]


def shift_down(x: Tensor) -> Tensor:
    """Row i holds row i - 1; the first row is zero."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


def shift_right(x: Tensor) -> Tensor:
    """Column j holds column j - 1; the first column is zero."""
    return F.pad(x, (1, 0))[:, :, :, :-1]


class LinearSkip(nn.Module):
    """Strictly causal linear functions of the nearby pixels, fp32 whatever autocast says: bf16 blurs their levels.
    (TF32 where torch's switches allow it, as they do in training beside half formats.)

    With them the head predicts a pixel from its neighbours from the first step on, as lossless codecs do, and the
    blocks learn what is left. Sees `rows` rows above, `columns` of them centred, odd, and `left` pixels to the left.
    """

    def __init__(self, channels: int, features: int, rows: int, columns: int, left: int) -> None:
        super().__init__()
        self.above = DownShiftedConv2d(channels, features, (rows, columns))
        self.left = DownRightShiftedConv2d(channels, features, (1, left), bias=False)
        init_conv_(self.above)
        init_conv_(self.left)

    def forward(self, above: Tensor, left: Tensor, features: Tensor) -> Tensor:
        """Behind `features` those of the image, from the image shifted down and the image shifted right; fp32."""
        with fp32(above.device):
            dtype = dtype_of(self.above)
            linear = self.above(above.to(dtype)) + self.left(left.to(dtype))
            return torch.cat([features.to(dtype), linear], dim=1)


class RMSNorm(nn.Module):
    """Divides a pixel's features by their root mean square (Zhang and Sennrich 2019, eq. 4); sees no other pixel."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class LayerNorm(nn.Module):
    """Layer norm over the features of a pixel (Ba et al. 2016, eq. 4), without a bias; sees no other pixel.

    One fused kernel where the channels lie together in memory, as convolutions leave them.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self._normed(x, self.weight.to(x.dtype))

    def bare(self, x: Tensor) -> Tensor:
        """Without the weight."""
        return self._normed(x, None)

    def _normed(self, x: Tensor, weight: Tensor | None) -> Tensor:
        last = x.movedim(1, -1)
        with torch.autocast(x.device.type, enabled=False):  # it would widen a half format, at thrice the traffic
            return F.layer_norm(last, last.shape[-1:], weight, None, self.eps).movedim(-1, 1)


def silu_gate(x: Tensor) -> Tensor:
    """a * silu(b) of the two halves a, b of the channels (SwiGLU: Shazeer 2020, eq. 5)."""
    a, b = x.chunk(2, dim=1)
    return a * F.silu(b)


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x) (Elfwing et al. 2018, eq. 5): no gate, and half the products before it."""
    return F.silu(x)


class ClassBias(nn.Module):
    """A bias [B, C, 1, 1] for each label in [0, num_classes]; the last stands for "no label". Zero at the start."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes + 1, channels)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, labels: Tensor) -> Tensor:
        bias: Tensor = self.embedding(labels)
        return bias[:, :, None, None]


class ResidualBlock(nn.Module):
    """x + 1x1(gate(norm(masked convolution of type B))) (van den Oord et al. 2016b, eq. 2). Causal; [B, C, H, W].

    norm and gate: names of the config. With `num_classes` the gate has a bias for each label; labels are then int64
    [B] in [0, num_classes].
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        *,
        norm: str = "layer",
        gate: str = "tanh",
        dropout: float = 0.0,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.gate_name, self.gate = gate, make_gate(gate)
        inner = gate_inputs(self.gate) * channels
        self.conv = MaskedConv2d("B", channels, inner, kernel_size)
        self.norm = make_norm(norm, inner)
        self.class_bias = ClassBias(num_classes, inner) if num_classes else None
        self.dropout = Dropout(dropout, channels)
        self.out = MaskedConv2d("B", channels, channels, 1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """x [B, C, H, W] and, where there is a bias for them, labels int64 [B], to [B, C, H, W]."""
        y: Tensor = self.norm(self.conv(x))
        if self.class_bias is not None and labels is not None:
            y = y + self.class_bias(labels).to(y.dtype)
        out: Tensor = self.out(self.dropout(self.gate(y)))
        return x + out


def init_conv_(conv: nn.Conv2d | MaskedConv2d, gain: float = 1.0) -> None:
    """Normal weights that keep the variance times gain², zero bias; masked taps stay out."""
    live: Any = getattr(conv, "mask", None)
    taps = conv.weight[0, 0].numel() if live is None else int(live.sum())
    with torch.no_grad():
        conv.weight.normal_(0, gain / math.sqrt(conv.weight.shape[1] * taps))
        if live is not None:
            conv.weight.mul_(live)
        if conv.bias is not None:
            conv.bias.zero_()
