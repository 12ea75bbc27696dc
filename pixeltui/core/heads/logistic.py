"""The mass that a logistic has on a level."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPEST = -2.15
"""log of the smallest scale over the width of a level: -7 in [-1, 1] for 256 levels, as in Salimans et al."""
WIDEST = 5.0
"""largest log-scale: everything in [-1, 1] is then as good as flat"""


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """log of the logistic's mass between the edges of the level at x (Salimans et al. 2017, eq. 2); shapes broadcast.

    x is in [-1, 1]; the first and last level take the tails. log(σ(a) - σ(b)) is logσ(a) + logσ(-b) + log(1 - e^(b-a)),
    a - b being the width of a level over the scale, so that nothing cancels however far x lies from the mean.
    """
    half_bin = 1 / (levels - 1)
    inverse_scale = torch.exp(-log_scale)
    a = (x + half_bin - mean) * inverse_scale
    b = (x - half_bin - mean) * inverse_scale
    below, above = F.logsigmoid(a), F.logsigmoid(-b)
    inside = below + above + torch.log(-torch.expm1(-2 * half_bin * inverse_scale))
    first, last = x < half_bin - 1, x > 1 - half_bin
    return torch.where(first, below, torch.where(last, above, inside))
