"""From probabilities of levels to levels. Shapes: B images, L levels."""

import torch
from torch import Tensor

LARGEST_NOISE = 1 - 2**-20
"""below what rounding leaves of a probability of 1, so that no noise draws a level that has none"""


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """probs [B, L] without all but the fewest levels that hold `top_p` (Holtzman et al. 2020, eq. 2), renormalised."""
    ordered, order = probs.sort(dim=1, descending=True, stable=True)
    before = running_sums(ordered) - ordered
    # gathered, not scattered, which in its deterministic form waits for the CPU: no graph could be recorded
    kept = torch.where(before < top_p, ordered, 0.0).gather(1, order.argsort(dim=1))
    return kept / kept.sum(dim=1, keepdim=True)


def inverse_cdf(probs: Tensor, noise: Tensor) -> Tensor:
    """Levels int64 [B]: the first at which the cumulative distribution of probs [B, L] is over noise [B] in [0, 1).

    probs need not sum to 1. A level without probability is never drawn; of probs that are not finite it is the last.
    """
    cumulative = running_sums(probs)
    total = cumulative[:, -1:]
    # noise * sum may round up to the sum, which no level is over
    threshold = torch.minimum(noise[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp_(max=probs.shape[1] - 1)


def running_sums(x: Tensor) -> Tensor:
    """x [B, L] summed from the first to each: never less than the one before, and the same where x is 0."""
    if x.is_cuda and torch.are_deterministic_algorithms_enabled():
        return sums_by_product(x)  # cumsum is not among the algorithms that are the same in every run, and raises
    return x.cumsum(dim=1)


def sums_by_product(x: Tensor) -> Tensor:
    """running_sums as one product, whose every column adds the same terms in the same order, or 0 in their place."""
    return x @ torch.ones(x.shape[1], x.shape[1], dtype=x.dtype, device=x.device).triu()
