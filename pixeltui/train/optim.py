"""Optimizer, learning rate and EMA decay as functions of the step: nothing here needs saving but the tensors."""

import math

import torch
from torch import Tensor, nn

from pixeltui.config import Train
from pixeltui.core import ConditionalPixelCNN
from pixeltui.train.muon import MuonAdamW


def lr_at(step: int, *, peak: float, total_steps: int, warmup_steps: float, schedule: str) -> float:
    """Learning rate of the update that takes the weights from `step` to `step + 1`.

    Linear from 0 over the warm-up, then a cosine to 0 at `total_steps` (Loshchilov & Hutter 2017, eq. 5, no restarts).
    """
    if step < warmup_steps:
        return peak * min((step + 1) / warmup_steps, 1.0)
    if schedule == "constant":
        return peak
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def ema_decay_at(step: int, decay: float) -> float:
    """EMA decay of the update after `step`: `decay`, and less in the beginning, where the average is still short.

    The rule of `num_updates` of TensorFlow's tf.train.ExponentialMovingAverage.
    """
    return min(decay, (1 + step) / (10 + step))


class Ema:
    """Exponential moving average of a model's weights and floating-point buffers, held in a second model.

    Like torch.optim.swa_utils.AveragedModel with a multi_avg_fn, at a third of its time: one fused lerp a step.
    """

    def __init__(self, model: nn.Module, average: nn.Module) -> None:
        self.average = average.requires_grad_(False).eval()
        self._target = _floats(average)
        self._source = _floats(model)

    @torch.no_grad()
    def update(self, step: int, decay: float) -> None:
        torch._foreach_lerp_(self._target, self._source, 1 - ema_decay_at(step, decay))


def _floats(model: nn.Module) -> list[Tensor]:
    tensors = [*model.parameters(), *model.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]


def make_optimizer(model: nn.Module, train: Train, dtype: torch.dtype = torch.float32) -> torch.optim.Optimizer:
    """Adam, AdamW or Muon, fused. AdamW decays matrices and kernels, not biases and gains. Muon takes the kernels that
    give features, of the trunk and inside the head, AdamW the rest. dtype: that of the network's products, which Muon's
    are in where it is bf16.
    """
    if train.optimizer == "adam":
        return torch.optim.Adam(
            model.parameters(), lr=train.lr, betas=train.betas, weight_decay=train.weight_decay, fused=True
        )
    kernels = _kernels_of_features(model) if train.optimizer == "muon" else []
    own = {id(p) for p in kernels}
    decayed = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in own]
    kept = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if own:
        products = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32  # fp16 underflows
        return MuonAdamW(
            kernels,
            groups,
            ratio=train.muon_lr / train.lr,
            weight_decay=train.weight_decay,
            dtype=products,
            lr=train.lr,
            betas=train.betas,
        )
    return torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, fused=True)


def _kernels_of_features(model: nn.Module) -> list[Tensor]:
    if not isinstance(model, ConditionalPixelCNN):
        return []
    return [*(p for p in model.trunk.parameters() if p.ndim == 4), *model.head.hidden_kernels()]


def moments_of(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, tuple[str, ...]]]:
    """Each parameter, in the order of the optimizer's state, and what that keeps in the parameter's shape."""
    kernels = len(optimizer.param_groups) - 1 if isinstance(optimizer, MuonAdamW) else -1
    return [
        (parameter, ("momentum",) if number == kernels else ("exp_avg", "exp_avg_sq"))
        for number, group in enumerate(optimizer.param_groups)
        for parameter in group["params"]
    ]
