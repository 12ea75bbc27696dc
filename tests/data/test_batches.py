"""Which images a step takes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixeltui.data.batches import batch_indices, step_generator, steps_per_epoch


@settings(deadline=None)
@given(n=st.integers(1, 300), batch_size=st.integers(1, 64), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_an_epoch_takes_each_image_at_most_once_and_leaves_less_than_a_batch(n, batch_size, seed, epoch):
    steps = steps_per_epoch(n, batch_size)
    batches = [batch_indices(n, batch_size, seed, epoch * steps + i) for i in range(steps)]
    taken = torch.cat(batches).tolist()
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(range(n))
    assert all(len(batch) == min(n, batch_size) for batch in batches)
    assert n - len(taken) < batch_size
    assert taken == batch_indices(n, n, seed, epoch)[: len(taken)].tolist(), "whatever their size"


def test_a_step_is_the_same_whatever_was_asked_before():
    direct = batch_indices(100, 7, 5, 40)
    for step in (0, 99, 13, 41):
        batch_indices(100, 7, 5, step).zero_()  # a caller's own tensor: writing into it changes nothing
    batch_indices(100, 100, 5, 40 // 14).zero_()
    assert batch_indices(100, 7, 5, 40).equal(direct)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(batch_indices(50, 50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_few_images_are_all_in_every_batch():
    assert sorted(batch_indices(3, 8, 0, 17).tolist()) == [0, 1, 2]
    assert steps_per_epoch(3, 8) == 1


@pytest.mark.parametrize(("n", "batch_size"), [(0, 1), (5, 0)])
def test_no_images_and_no_batch_are_refused(n, batch_size):
    with pytest.raises(ValueError, match="at least one image"):
        steps_per_epoch(n, batch_size)


def test_generators_differ_by_seed_stream_and_step_and_by_nothing_else():
    def numbers(*key):
        return tuple(torch.rand(4, generator=step_generator(*key)).tolist())

    assert numbers(1, "augment", 2) == numbers(1, "augment", 2)
    keys = [(1, "augment", 2), (1, "dropout", 2), (2, "augment", 1), (12, "augment", 2), (1, "augment", 22)]
    assert len({numbers(*key) for key in keys}) == len(keys)
