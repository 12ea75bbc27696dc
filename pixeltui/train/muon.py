"""Muon for the kernels that give features, AdamW for everything else, as one optimizer with one state.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": the momentum of a matrix, made nearly
orthogonal by five Newton-Schulz steps, is the update. torch.optim.Muon takes matrices only, came with torch 2.9 and
knows no `found_inf`, by which a step is undone on the device.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95


class MuonAdamW(torch.optim.AdamW):
    """AdamW, fused, with parameters [out, in, rows, columns] of `kernels` updated by Muon as matrices [out, the rest].

    The kernels' learning rate is `ratio` times the group's `lr`, so that one schedule moves both; a step takes that
    times `weight_decay` of them (Liu et al. 2025, section 2.2). Updates are of a size sqrt(out / the rest) (Yang et al.
    2023, condition 1), and computed in `dtype`, not so the momenta.
    """

    def __init__(
        self,
        kernels: Iterable[Tensor],
        groups: list[dict[str, Any]],
        *,
        ratio: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
        **adamw: Any,
    ) -> None:
        super().__init__([*groups, {"params": list(kernels), "weight_decay": weight_decay}], fused=True, **adamw)
        self.ratio = ratio
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient; of none where `found_inf` is 1."""
        assert closure is None
        group = self.param_groups[-1]
        lr = group["lr"] * self.ratio
        kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
        gradients = [kernel.grad for kernel in kernels]
        for kernel in kernels:
            kernel.grad = None  # AdamW passes over these
        super().step()
        found_inf = getattr(self, "found_inf", None)
        by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for kernel, gradient in zip(kernels, gradients, strict=True):
            kernel.grad = gradient
            by_shape[tuple(kernel.shape)].append((kernel, gradient))
        for pairs in by_shape.values():
            self._update([k for k, _ in pairs], [g for _, g in pairs], lr, group["weight_decay"], found_inf)

    def _update(
        self, kernels: list[Tensor], gradients: list[Tensor], lr: float, weight_decay: float, found_inf: Tensor | None
    ) -> None:
        """Kernels of one shape, as a batch of matrices."""
        for kernel in kernels:
            if not self.state[kernel]:
                # AdamW, when it loads a state, expects a step in every part of it
                self.state[kernel] = {"step": torch.zeros(()), "momentum": torch.zeros_like(kernel)}
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        gradient, before = torch.stack(gradients).float(), torch.stack(momenta)
        after = before.lerp(gradient, 1 - MOMENTUM)
        update = orthogonal(gradient.lerp(after, MOMENTUM).flatten(2), self.dtype).view_as(gradient)
        rows, columns = kernels[0].shape[0], kernels[0][0].numel()
        update = update * (lr * (rows / columns) ** 0.5)
        kept: float | Tensor = 1 - lr * weight_decay
        if found_inf is not None:
            bad = found_inf > 0
            kept = torch.where(bad, 1.0, kept)
            update, after = torch.where(bad, 0.0, update), torch.where(bad, before, after)
        torch._foreach_mul_(kernels, kept)
        torch._foreach_sub_(kernels, list(update.to(kernels[0].dtype).unbind(0)))
        torch._foreach_copy_(momenta, list(after.unbind(0)))


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Matrices [N, rows, columns] with singular values moved to between about 0.7 and 1.2 (Jordan et al. 2024).

    The products are in `dtype`: bf16 takes half the time, and its errors stay below what five steps leave anyway.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).to(dtype)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
