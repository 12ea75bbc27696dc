"""Muon with a change: what likelihood.py's key `muon` names."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pixeltui.train import muon
from pixeltui.train.muon import MuonAdamW, orthogonal

POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
"""Amsel et al. 2025, for singular values from 1e-3 up"""
SAFETY = 1.01
"""by which rounding may take a singular value beyond 1"""
ROWS_DECAY = 0.95
ROW = 6
"""numbers of a 3x3 kernel above and with its centre"""


PARTS = {
    "first": ("trunk.first.", "trunk.vertical_first.", "trunk.horizontal_first."),
    "skip": ("trunk.near.",),
    "blocks": ("trunk.blocks.",),
    "attention": ("trunk.attention.",),
    "hidden": ("head.hidden.",),
    "out": ("head.out.",),
    "near": ("head.near.",),
}
"""kernels by name"""


def change(optimizer: MuonAdamW, model: nn.Module, name: str) -> None:
    """fp32: products in it; kept: kernels are not decayed; dense: kernels for each feature are AdamW's; with:PARTS,
    without:PARTS: kernels that are Muon's beside the others, or AdamW's; others: see CHANGED."""
    changed, _, parts = name.partition(":")
    if parts:
        beginnings = tuple(beginning for part in parts.split(",") for beginning in PARTS[part])
        kernels = [p for name, p in model.named_parameters() if p.ndim == 4 and name.startswith(beginnings)]
        move(optimizer, kernels, to=-1 if changed == "with" else 0)
    elif name == "fp32":
        optimizer.dtype = torch.float32
    elif name == "kept":
        optimizer.param_groups[-1]["weight_decay"] = 0.0
    elif name == "dense":
        move(optimizer, [kernel for kernel in optimizer.param_groups[-1]["params"] if kernel.shape[1] == 1], to=0)
    elif name:
        optimizer.__class__ = CHANGED[name]


def move(optimizer: MuonAdamW, parameters: list[nn.Parameter], to: int) -> None:
    """To the group of that number: 0 AdamW's that is decayed, -1 Muon's."""
    moved = {id(parameter) for parameter in parameters}
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in moved]
    optimizer.param_groups[to]["params"].extend(parameters)


class Changed(MuonAdamW):
    """Muon with another function for its five steps."""

    base: Callable[..., Tensor] = staticmethod(orthogonal)

    def _steps(self, kernels: list[Tensor]) -> Callable[..., Tensor]:
        """The function for these kernels of one shape."""
        return self.base

    def _update(self, kernels: list[Tensor], *options: Any) -> None:
        muon.orthogonal = self._steps(kernels)
        try:
            super()._update(kernels, *options)
        finally:
            muon.orthogonal = orthogonal


def polar_express(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The five steps that, together, bring singular values closest to 1 (Amsel et al. 2025, Polar Express)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) * SAFETY + 1e-7)).to(dtype)
    for a, b, c in POLAR_EXPRESS:
        a, b, c = a / SAFETY, b / SAFETY**3, c / SAFETY**5
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Polar(Changed):
    base = staticmethod(polar_express)


class NorMuon(Changed):
    """The rows of an update in proportion to one over their root mean square over time (Li et al. 2025, NorMuon)."""

    def _steps(self, kernels: list[Tensor]) -> Callable[..., Tensor]:
        def normed(matrices: Tensor, dtype: torch.dtype) -> Tensor:
            update = self.base(matrices, dtype)
            squares = update.square().mean(dim=2, keepdim=True)
            states = [self.state[kernel] for kernel in kernels]
            rows = torch.stack([state.get("rows", square) for state, square in zip(states, squares, strict=True)])
            rows = rows.lerp(squares, 1 - ROWS_DECAY)
            for state, own in zip(states, rows, strict=True):
                state["rows"] = own
            scaled = update / (rows.sqrt() + 1e-8)
            lengths = [torch.linalg.matrix_norm(x, keepdim=True) for x in (update, scaled)]
            return scaled * (lengths[0] / (lengths[1] + 1e-8))

        return normed


class PolarNorMuon(NorMuon):
    base = staticmethod(polar_express)


def rows_or_orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A 3x3 kernel for each feature is a matrix of one row, orthogonal where divided by its length."""
    if matrices.shape[2] != ROW:
        return orthogonal(matrices, dtype)
    unit = matrices / (torch.linalg.vector_norm(matrices, dim=2, keepdim=True) + 1e-12)
    return unit * (ROW / matrices.shape[1]) ** 0.5


class Rows(Changed):
    base = staticmethod(rows_or_orthogonal)


class BigRows(Changed):
    """Rows of twice the length."""

    @staticmethod
    def base(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return rows_or_orthogonal(matrices, dtype) * (2 if matrices.shape[2] == ROW else 1)


class NorMuonRows(NorMuon):
    base = staticmethod(rows_or_orthogonal)


CHANGED = {
    "normuon_rows": NorMuonRows,
    "rows": Rows,
    "big_rows": BigRows,
    "polar": Polar,
    "normuon": NorMuon,
    "polar_normuon": PolarNorMuon,
}
