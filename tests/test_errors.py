"""The help that goes with a wrong name."""

import pytest

from pixeltui.errors import did_you_mean

RUNS = [f"RUN-{number:02d}" for number in range(1, 14)]


@pytest.mark.parametrize(
    ("name", "valid", "told"),
    [
        ("BASELINES", [*RUNS, "BASELINE"], "; did you mean 'BASELINE'?"),
        ("baseline", [*RUNS, "BASELINE"], "; did you mean 'BASELINE'?"),
        ("Run_1", RUNS, "; did you mean 'RUN-13' or 'RUN-12' or 'RUN-11'?"),
        ("zebra", ["cat", "dog"], "; there are cat, dog"),
        ("zebra", [f"class {number}" for number in range(100)], "; of 100 the nearest are class "),
        ("", RUNS, "; of 13 the nearest are RUN-"),
        ("x", [], ""),
    ],
)
def test_the_nearest_valid_names_are_told(name: str, valid: list[str], told: str) -> None:
    found = did_you_mean(name, valid)
    assert found.startswith(told)
    assert found == told or found.count(", ") == 2
