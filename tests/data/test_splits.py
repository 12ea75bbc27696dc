"""Splits: deterministic, disjoint, covering, the same on every machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixeltui.data.randomness import mix, permutation
from pixeltui.data.sets import Arrays, Source
from pixeltui.data.splits import complete, cut
from pixeltui.errors import UserError


def source(n, **splits):
    images = np.arange(n, dtype=np.uint8)[:, None, None, None]
    return Source(name="x", where="x.npz", train=Arrays(images, np.zeros(n, np.int64)), classes=("a",), **splits)


@settings(deadline=None)
@given(n=st.integers(3, 2000), seed=st.integers(0, 2**40), val=st.booleans(), test=st.booleans())
def test_parts_are_disjoint_cover_everything_and_depend_on_nothing_but_the_seed(n, seed, val, test):
    parts = cut(n, seed, val=val, test=test)
    assert set(parts) == {"train"} | ({"val"} if val else set()) | ({"test"} if test else set())
    assert sorted(np.concatenate(list(parts.values()))) == list(range(n))
    assert all(len(part) >= 1 for part in parts.values())
    again = cut(n, seed, val=val, test=test)
    assert all((parts[name] == again[name]).all() for name in parts)


def test_sizes_are_a_tenth_each_and_cifar10s_are_45k_5k():
    assert {name: len(part) for name, part in cut(1797, 0, val=True, test=True).items()} == {
        "train": 1437,
        "val": 180,
        "test": 180,
    }
    assert {name: len(part) for name, part in cut(50_000, 0, val=True, test=False).items()} == {
        "train": 45_000,
        "val": 5_000,
    }


def test_another_seed_cuts_otherwise():
    assert (cut(100, 0, val=True, test=True)["val"] != cut(100, 1, val=True, test=True)["val"]).any()


def test_the_documented_formulas_give_these_numbers_everywhere():
    assert mix(0, "split", 0) == 8429291567602283016
    assert permutation(10, 0, "split").tolist() == [8, 4, 9, 2, 1, 3, 6, 5, 7, 0]


def test_permutations_are_uniform():
    first = np.array([permutation(4, seed, "order")[0] for seed in range(4000)])
    counts = np.bincount(first, minlength=4)
    assert abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_given_splits_stay_as_they_are():
    given_test = Arrays(np.full((2, 1, 1, 1), 7, np.uint8), np.zeros(2, np.int64))
    splits = complete(source(20, test=given_test), 0)
    assert splits["test"] is given_test
    assert len(splits["train"].images) == 18
    assert len(splits["val"].images) == 2


def test_labels_go_with_their_images():
    images = np.arange(50, dtype=np.uint8)[:, None, None, None]
    labels = np.arange(50, dtype=np.int64)
    splits = complete(
        Source(name="x", where="x", train=Arrays(images, labels), classes=tuple(map(str, range(50)))), split_seed=3
    )
    for part in splits.values():
        assert (part.images[:, 0, 0, 0] == part.labels).all()


@pytest.mark.parametrize(("n", "words"), [(2, "2 images"), (1, "1 image ")])
def test_too_few_images_to_cut(n, words):
    with pytest.raises(UserError, match=rf"x\.npz: {words}.*val and test.*add images"):
        complete(source(n), 0)
