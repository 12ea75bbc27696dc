"""BatchNorm over the images of all processes on CPUs, where torch's SyncBatchNorm does not go."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class SharedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose statistics, in training mode, are those of every process's images together; x [B, C, H, W].

    The processes may hold different numbers of images. Statistics are fp32, gradients flow through them to all images.
    """

    @classmethod
    def convert(cls, model: nn.Module) -> None:
        """Makes every BatchNorm2d in the model one of these, with the parameters and buffers that it has."""
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if type(child) is nn.BatchNorm2d:
                    shared = cls(child.num_features, child.eps, child.momentum)
                    shared._parameters, shared._buffers = child._parameters, child._buffers
                    shared.train(child.training)
                    setattr(module, name, shared)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.float()
        count = torch.tensor(x.numel() / x.shape[1])
        dist.all_reduce(count)
        mean = _total(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = _total(centred.square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Of the running statistics torch keeps the variance unbiased."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def _total(part: Tensor) -> Tensor:
    total: Tensor = _Total.apply(part)  # type: ignore[no-untyped-call]
    return total


class _Total(torch.autograd.Function):
    """The sum over processes; its gradient is the sum over processes too."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Total.forward(ctx, grad)
