"""to + out(silu(into(x))) of two 1x1 convolutions on a GPU, in as few passes over the features inside as may be.

There are four times as many of them as a block has: to write and to read them for biases, activation and its gradient
takes longer than the products do. Shapes: M pixels, D features, E inside; x and to [M, D] in a half format; into [E, D]
and out [D, E] in the same, as convolutions have them; their biases [E] and [D] fp32.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pixeltui.core.gpu import use
from pixeltui.core.gpu.use import MOST_NUMBERS, ProductTile, kernels

FORMATS = (torch.bfloat16, torch.float16)
TILE = ProductTile(128, 128, 64, 8, 3)
OTHER_TILE = ProductTile(64, 128, 32, 4, 4)
"""where the features are no multiple of that one's terms"""
GRADIENT_ROWS, GRADIENT_COLUMNS, EACH, GRADIENT_WARPS = 16, 128, 8, 4
"""rows and columns that a program computes at a time, so many times; all as measured on an H200"""
Found = TypeVar("Found")


def usable(x: Tensor) -> bool:
    """Whether these are for x, which on the CPU, for one, is slower by them."""
    return use.usable(x.device) and x.dtype in FORMATS


def computed(
    x: Tensor, to: Tensor, into: Tensor, into_bias: Tensor, out: Tensor, out_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """[M, D], and into(x) and silu of that, [M, E], all in the format of x; the last two are for the gradient."""
    x, to, into, into_bias, out, out_bias = (t.contiguous() for t in (x, to, into, into_bias, out, out_bias))

    def by_kernels() -> tuple[Tensor, Tensor, Tensor]:
        inside = x.new_empty(len(x), len(into))
        active, y = torch.empty_like(inside), torch.empty_like(to)
        _product(x, into, into_bias, inside, active, silu=True)
        _product(active, out, out_bias, y, to, silu=False)
        return y, inside, active

    found = _by_kernels(x, into, by_kernels)
    if found is not None:
        return found
    with torch.autocast(x.device.type, enabled=False):
        inside = F.linear(x, into, into_bias.to(x.dtype))
        active = F.silu(inside)
        return to + F.linear(active, out, out_bias.to(x.dtype)), inside, active


def gradients(
    grad: Tensor, x: Tensor, inside: Tensor, active: Tensor, into: Tensor, out: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, into, its bias, out and its bias; of the biases in fp32."""
    grad, x = grad.to(x.dtype).contiguous(), x.contiguous()
    with torch.autocast(x.device.type, enabled=False):
        of_active = grad @ out
        found = _by_kernels(x, into, lambda: (of_active, _silu_gradient(of_active, inside)))
        if found is None:
            of_inside = torch.ops.aten.silu_backward(of_active, inside)
            found = of_inside, of_inside.sum(0, dtype=torch.float32)
        of_inside, of_into_bias = found
        # as a product with ones, several times as fast as a sum
        of_out_bias = (grad.new_ones(1, len(grad)) @ grad)[0].float()
        return of_inside @ into, of_inside.t() @ x, of_into_bias, grad.t() @ active, of_out_bias


def _by_kernels(x: Tensor, into: Tensor, work: Callable[[], Found]) -> Found | None:
    """None where they are not for x, or cannot be compiled."""
    if not usable(x) or not 0 < len(x) * len(into) < MOST_NUMBERS:
        return None
    return use.tried(("feed_forward", x.device, x.dtype, *into.shape), x.device, work)


def _product(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, other: Tensor, *, silu: bool) -> None:
    """kernels.products.product by a convolution's weight [N, K]."""
    columns, terms = weight.shape
    tile = OTHER_TILE if terms % TILE.terms else TILE
    tile = tile.fitting(use.shared_memory(x.device), x.element_size())
    kernels().product[tile.programs(len(x), columns),](
        *(x, weight, bias, out, other, len(x)),
        **{"N": columns, "K": terms, "STRIDE_K": 1, "STRIDE_N": terms, "SILU": silu},
        **tile.options(),
    )


def _silu_gradient(grad: Tensor, inside: Tensor) -> Tensor:
    """grad [M, E] becomes that of `inside`; its sums [E]."""
    pixels, features = inside.shape
    parts = torch.empty(-(-pixels // (GRADIENT_ROWS * EACH)), features, dtype=torch.float32, device=grad.device)
    kernels().silu_gradient[len(parts), -(-features // GRADIENT_COLUMNS)](
        *(grad, inside, parts, pixels),
        **{"N": features, "EACH": EACH, "BM": GRADIENT_ROWS, "BN": GRADIENT_COLUMNS},
        num_warps=GRADIENT_WARPS,
    )
    return parts.sum(0)
