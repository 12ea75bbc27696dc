"""Classes by name or number, as --label has them."""

import pytest

from pixeltui.errors import UserError
from pixeltui.train.load import class_labels

CLASSES = ("cat", "Cat", "dog", "a,b", "a", "7")


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [
        ("Cat", [1]),
        ("cat,Cat", [0, 1]),
        ("DOG", [2]),
        ("a,b", [3]),
        ("A,B", [3]),
        ("a, dog", [4, 2]),
        ("7", [5]),
        ("3,0005", [3, 5]),
    ],
)
def test_exact_names_come_first(wanted: str, labels: list[int]) -> None:
    assert class_labels(wanted, CLASSES) == labels


@pytest.mark.parametrize("wanted", ["CAT", "a,b,dog", "6", "9" * 5000, "²", "", "b"])
def test_what_is_no_class_or_more_than_one_is_refused(wanted: str) -> None:
    with pytest.raises(UserError, match="no class") as refused:
        class_labels(wanted, CLASSES)
    assert len(str(refused.value)) < 200


def test_classes_that_differ_in_case_alone_are_offered() -> None:
    with pytest.raises(UserError, match="did you mean 'cat'"):
        class_labels("CAT", CLASSES)
