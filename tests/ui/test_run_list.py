"""The order of runs, and the columns that there is room for."""

import pytest

from pixeltui.store.summary import RunSummary
from pixeltui.ui.run_list import COLUMNS, arranged, fitting


def run(name: str, **figures: object) -> RunSummary:
    return RunSummary(name=name, path=name, state="finished", **figures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("letter", "key", "low", "high"),
    [
        ("v", "best_val_bits_per_dim", 1.0, 2.0),
        ("b", "test_bits_per_dim", 1.0, 2.0),
        ("e", "epoch", 1.0, 2.0),
        ("t", "step", 1, 2),
        ("m", "parameters", 1, 2),
        ("i", "images_per_second", 2.0, 1.0),
        ("a", "updated", "2026-11-26T00:00:00Z", "2026-11-25T00:00:00Z"),
        ("d", "data", "cifar10", "zoo"),
        ("p", "preset", "large", "quick"),
        ("g", "tags", ("a",), ("~b",)),
    ],
)
def test_what_has_no_value_is_last_either_way(letter: str, key: str, low: object, high: object) -> None:
    runs = [run("none"), run("high", **{key: high}), run("low", **{key: low})]
    assert [one.name for one in arranged(runs, "", letter, False)] == ["low", "high", "none"]
    assert [one.name for one in arranged(runs, "", letter, True)] == ["high", "low", "none"]


def test_what_is_slow_or_has_diverged_has_figures() -> None:
    shown = {column.name: column for column in COLUMNS}
    for speed, text in ((5012.3, "5012"), (6.66, "6.7"), (0.4, "0.4"), (0.043, "0.04"), (None, "")):
        assert shown["img/s"].show(run("a", images_per_second=speed)) == text
    for bits, text in ((1.7485, "1.748"), (99.9999, "100"), (1234.5, "1234"), (123456789.0, "1e+08")):
        assert shown["val"].show(run("a", best_val_bits_per_dim=bits)) == text


def test_long_names_have_the_room_that_is_free() -> None:
    columns, name = fitting(245, 80)
    assert (len(columns), name) == (len(COLUMNS), 80)
    columns, name = fitting(195, 100)
    assert (len(columns), name) == (len(COLUMNS), 195 - 5 - sum(column.width + 2 for column in COLUMNS[1:]))


def test_long_names_are_cut_before_the_best_validation_goes() -> None:
    columns, name = fitting(55, 80)
    assert {"state", "val"} <= {column.name for column in columns}
    assert name == 55 - 5 - sum(column.width + 2 for column in columns[1:])
    columns, name = fitting(20, 80)
    assert ([column.name for column in columns], name) == (["name"], 15)
