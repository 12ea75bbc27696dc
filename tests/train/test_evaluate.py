"""The figures of a split from those of its images."""

import pytest
import torch

from pixeltui.train.evaluate import likelihood, mean_and_se


def test_a_standard_error_is_that_of_a_mean_of_independent_draws() -> None:
    """The unbiased variance over their number; one image tells nothing of it."""
    assert mean_and_se(torch.tensor([1.0, 3.0, 5.0, 7.0])) == (4.0, pytest.approx((20 / 3 / 4) ** 0.5))
    assert mean_and_se(torch.tensor([2.0])) == (2.0, None)
    found = likelihood(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([1, 1, 0]))
    assert found.nats_per_dim_se == pytest.approx((1 / 3) ** 0.5)
    bits = 1 / torch.log(torch.tensor(2.0)).item()
    assert found.per_class == pytest.approx({0: 2 * bits, 1: 2 * bits})
    assert found.per_class_se == {0: None, 1: pytest.approx(bits)}
