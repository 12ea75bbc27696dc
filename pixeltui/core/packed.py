"""Layers of a trained model as plain matrices, for evaluation one pixel or one row at a time.

Shapes: M pixels, D features, a matrix [in, out]. Weights are copies: a model that trains on does not change them. They
are made without labels, so that every stream of a model can use the same (core.once): what is given to one is a sum.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeltui.core.attention import CausalSelfAttention, position_features
from pixeltui.core.layers import ClassBias, LayerNorm, MaskedConv2d, RMSNorm, make_gate
from pixeltui.core.parts import Unsupported
from pixeltui.core.readable import readable
from pixeltui.core.replayed import put

Norm = Callable[[Tensor, Tensor], object]
"""From features [M, D] to normed features, written into the second argument [M, D]."""


Made = TypeVar("Made")
Block = TypeVar("Block", bound=nn.Module)
PACKED_GATES = ("tanh", "silu", "none")
PAD = 16
"""columns behind gated features, of which the first is 1"""


def read(part: nn.Module, make: Callable[[], Made]) -> Made | None:
    """What `make` makes of the weights of `part`; None where it computes with more than these, or in another way than
    is known here."""
    try:
        return make() if readable(part) else None
    except Unsupported:
        return None


def blocks_of(blocks: Iterable[nn.Module], kind: type[Block]) -> list[Block]:
    """Themselves, of this kind and with one gate, which Gate knows. Raises Unsupported."""
    found = [block for block in blocks if isinstance(block, kind)]
    gates: list[Any] = [(block.gate_name, block.gate) for block in found]
    known = len(found) == len([*blocks]) and len({*gates}) == 1 and gates[0][0] in PACKED_GATES
    if not known or gates[0][1] is not make_gate(gates[0][0]):
        raise Unsupported("blocks of several kinds, or a gate of their own")
    return found


def attention_of(layers: nn.ModuleDict, dtype: torch.dtype) -> "dict[int, AttentionWeights]":
    """By the number of the block before it, from 0."""
    return {
        int(after) - 1: AttentionWeights(layer, dtype)
        for after, layer in layers.items()
        if not isinstance(layer, nn.Identity)
    }


def taps(conv: nn.Module, dtype: torch.dtype) -> Tensor:
    """A convolution's kernel as [rows, columns, in, out] matrices; the masked taps are zero."""
    if not isinstance(conv, nn.Conv2d | MaskedConv2d) or getattr(conv, "groups", 1) != 1:
        raise Unsupported(str(conv))
    weight = conv.weight.detach()
    if isinstance(conv, MaskedConv2d):
        weight = weight * conv.mask
    kernel = weight.permute(2, 3, 1, 0)
    return torch.empty(kernel.shape, dtype=dtype, device=kernel.device).copy_(kernel)


def pointwise(conv: nn.Module, dtype: torch.dtype) -> Tensor:
    """[in, out] of a 1x1 convolution."""
    kernel = taps(conv, dtype)
    if kernel.shape[:2] != (1, 1):
        raise Unsupported(f"a kernel of {list(kernel.shape[:2])}")
    return kernel[0, 0]


def bias_of(conv: nn.Conv2d | MaskedConv2d, dtype: torch.dtype) -> Tensor:
    """[out], a copy; zero where the convolution has none."""
    if conv.bias is None:
        return torch.zeros(conv.weight.shape[0], dtype=dtype, device=conv.weight.device)
    return conv.bias.detach().to(dtype, copy=True)


def class_table(class_bias: ClassBias | None, dtype: torch.dtype) -> Tensor | None:
    """[labels, out], a copy: what a label adds to a bias."""
    return None if class_bias is None else class_bias.embedding.weight.detach().to(dtype, copy=True)


def labelled(bias: Tensor, table: Tensor | None, labels: Tensor | None) -> Tensor:
    """[out], or [B, out] of labels [B] where there is a table of them."""
    if table is None:
        return bias
    assert labels is not None
    return bias + table[labels]


def with_bias(matrix: Tensor, bias: Tensor) -> Tensor:
    """[in + 1, out]: the bias is the weight of a feature that is 1."""
    return torch.cat([matrix, bias[None]]).contiguous()


def batch_norm_affine(norm: nn.BatchNorm2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Scale and shift [D] of a BatchNorm in evaluation mode."""
    if norm.running_mean is None or norm.running_var is None:
        raise Unsupported("the statistics of a batch")
    scale = torch.rsqrt(norm.running_var.detach() + norm.eps)
    scale = scale * norm.weight.detach() if norm.affine else scale
    shift = -norm.running_mean.detach() * scale
    shift = shift + norm.bias.detach() if norm.affine else shift
    return scale.to(dtype), shift.to(dtype)


class RmsOfPixel:
    """RMSNorm without its weight, times a factor: x / sqrt(|x|² + floor²)."""

    def __init__(self, floor: Tensor) -> None:
        self.floor = floor

    def __call__(self, x: Tensor, out: Tensor) -> object:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.div(x, torch.hypot(length, self.floor), out=out)


class LayerOfPixel:
    """LayerNorm without its weight: (x - mean) / sqrt(variance + eps)."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def __call__(self, x: Tensor, out: Tensor) -> object:
        return out.copy_(F.layer_norm(x, x.shape[-1:], eps=self.eps))


class ScaleAndShift:
    """BatchNorm in evaluation mode."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        self.scale, self.shift = scale, shift

    def __call__(self, x: Tensor, out: Tensor) -> object:
        return torch.addcmul(self.shift, x, self.scale, out=out)


class SameFeatures:
    """No norm."""

    def __call__(self, x: Tensor, out: Tensor) -> object:
        return out.copy_(x)


class Scaled:
    """A norm and the factors that no matrix takes in."""

    def __init__(self, norm: Norm, factors: Tensor) -> None:
        self.norm, self.factors = norm, factors

    def __call__(self, x: Tensor, out: Tensor) -> object:
        self.norm(x, out)
        return out.mul_(self.factors)


def pack_norm(norm: nn.Module, dtype: torch.dtype) -> tuple[Norm, Tensor | None]:
    """The norm, and factors [D] for its result that the next matrix takes in, None for ones."""
    if isinstance(norm, RMSNorm):
        size = norm.weight.numel()
        # |x / sqrt(D)|² + eps = (|x|² + D eps) / D
        floor = torch.tensor((size * norm.eps) ** 0.5, dtype=dtype, device=norm.weight.device)
        return RmsOfPixel(floor), norm.weight.detach().to(dtype) * size**0.5
    if isinstance(norm, LayerNorm):
        return LayerOfPixel(norm.eps), norm.weight.detach().to(dtype, copy=True)
    if isinstance(norm, nn.BatchNorm2d):
        return ScaleAndShift(*batch_norm_affine(norm, dtype)), None
    if isinstance(norm, nn.Identity):
        return SameFeatures(), None
    raise Unsupported(type(norm).__name__)


def scaled_rows(matrix: Tensor, factors: Tensor | None) -> Tensor:
    """[..., in, out], itself, with the inputs' factors [in] taken in."""
    return matrix if factors is None else matrix.mul_(factors[:, None])


class Gate:
    """The gate called `name` of `both` [M, n D], then a matrix, added to a residual.

    tanh and nothing made of exponentials in its place: where features are small, as in the corner of the image, a norm
    makes much of what cancellation would leave.
    """

    def __init__(self, name: str, both: Tensor, channels: int, work: Tensor | None = None) -> None:
        """channels: D. work: [M, D + PAD], zero, which gates may share."""
        assert name in PACKED_GATES
        self.name = name
        self.work = both.new_zeros(both.shape[0], channels + PAD) if work is None else work
        self.work[:, channels] = 1
        self.both, self.a, self.b = both, both[:, :channels], both[:, channels : 2 * channels]
        self.gated, self.with_one = self.work[:, :channels], self.work[:, : channels + 1]

    @staticmethod
    def pack(out: nn.Conv2d | MaskedConv2d, dtype: torch.dtype) -> Tensor:
        """The 1x1 convolution that ends a block as [D + 1, D] for `add`; on CUDA [D + PAD, D], the rest zero: cuBLAS
        is slow where a matrix has an odd number of rows."""
        matrix = with_bias(pointwise(out, dtype), bias_of(out, dtype))
        return F.pad(matrix, (0, 0, 0, PAD - 1)) if matrix.is_cuda else matrix

    def add(self, matrix: Tensor | None, residual: Tensor) -> None:
        """gated [M, D] = gate(both), and residual [M, D] += matrix(gated) where there is one; overwrites `both`."""
        if self.name == "tanh":
            self.a.tanh_()
            torch._C._nn.glu(self.both, 1, out=self.gated)  # type: ignore[call-arg]  # F.glu, into a buffer
        elif self.name == "none":
            torch._C._nn.silu(self.both, out=self.gated)  # type: ignore[call-arg]  # F.silu, into a buffer
        else:
            torch.mul(self.a, F.silu(self.b, inplace=True), out=self.gated)
        if matrix is not None:
            residual.addmm_(self.work[:, : len(matrix)], matrix)


class AttentionWeights:
    """A CausalSelfAttention's norm and matrices."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        if not isinstance(layer, CausalSelfAttention):
            raise Unsupported(type(layer).__name__)
        channels = layer.out.weight.shape[0]
        self.heads, self.channels = layer.heads, channels
        self.norm, factors = pack_norm(layer.norm, dtype)
        matrix = pointwise(layer.qkv, dtype)
        self.matrix, self.of_places = scaled_rows(matrix[:channels], factors), matrix[channels:]
        self.bias = bias_of(layer.qkv, dtype)
        self.out = with_bias(pointwise(layer.out, dtype), bias_of(layer.out, dtype))


class PackedAttention:
    """CausalSelfAttention with a cache of the keys and values of all earlier pixels, [B, heads, H W, D / heads]."""

    def __init__(self, weights: AttentionWeights, batch: int, height: int, width: int) -> None:
        channels, matrix, dtype = weights.channels, weights.matrix, weights.matrix.dtype
        self.batch, self.heads, self.width, self.channels = batch, weights.heads, width, channels
        self.norm, self.matrix, self.out = weights.norm, matrix, weights.out
        places = position_features(height, width, like=matrix).flatten(1).t()
        self.places = torch.addmm(weights.bias, places, weights.of_places)
        """[H W, 3 D]: what a pixel's place adds to its query, key and value"""
        self.normed = torch.empty(batch, channels, dtype=dtype, device=matrix.device)
        shape = (2, batch, self.heads, height * width, channels // self.heads)
        self.cache = torch.zeros(shape, dtype=dtype, device=matrix.device)
        self.on_device = matrix.is_cuda
        """graphs are replayed for every row: the place is read from the device's memory"""
        self.pixels = torch.arange(height * width, device=matrix.device)
        self.row_places = torch.empty_like(self.places[:width])
        """those of the current row"""
        self.first = 0
        self.first_on_device = torch.zeros(1, dtype=torch.int64, device=matrix.device)

    def set_row(self, row: int) -> None:
        self.first = row * self.width
        self.first_on_device.fill_(self.first)
        self.row_places.copy_(self.places[self.first : self.first + self.width])

    def pixel(self, column: int, h: Tensor) -> None:
        """h [B, D] += attention of the pixel in `column`."""
        self.norm(h, self.normed)
        if self.on_device:
            place = self.first_on_device + column
            qkv = torch.addmm(self.places[place], self.normed, self.matrix)
            query, stored = self._split(qkv[None])
            put(self.cache.movedim(3, 0), place, stored.movedim(3, 0))
            y = F.scaled_dot_product_attention(query, self.cache[0], self.cache[1], self.pixels[None] <= place[:, None])
        else:
            at = self.first + column
            query, stored = self._split(torch.addmm(self.places[at], self.normed, self.matrix)[None])
            self.cache[:, :, :, at : at + 1] = stored
            y = F.scaled_dot_product_attention(query, *self.cache[:, :, :, : at + 1])
        self._add(y, h)

    def rows(self, row: int, h: Tensor) -> None:
        """h [B, R, W, D] += attention of known rows, of which the first is number `row`."""
        flat = h.flatten(0, 2)
        normed = torch.empty_like(flat)
        self.norm(flat, normed)
        own = slice(row * self.width, (row + h.shape[1]) * self.width)
        qkv = (normed @ self.matrix).view(self.batch, -1, self.matrix.shape[1]) + self.places[own]
        query, stored = self._split(qkv.transpose(0, 1))
        self.cache[:, :, :, own] = stored
        key, value = self.cache[:, :, :, : own.stop]
        before = self.pixels[None, : own.stop] <= self.pixels[own, None]
        y = F.scaled_dot_product_attention(query, key, value, before)
        self._add(y.transpose(1, 2), flat)

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor]:
        """[pixels, B, 3 D] to a query [B, heads, pixels, D / heads], and key and value [2, ...] alike."""
        by_head = qkv.view(*qkv.shape[:2], 3, self.heads, -1).permute(2, 1, 3, 0, 4)
        return by_head[0], by_head[1:]

    def _add(self, y: Tensor, h: Tensor) -> None:
        """h [M, D] += what the last matrix makes of y [.., heads, D / heads]."""
        h.addmm_(y.reshape(h.shape), self.out[:-1]).add_(self.out[-1])
