"""Names of runs on the comparison screen."""

import pytest

from pixeltui.ui.screens.compare import shortened


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a-1", "a-2"], ["1", "2"]),
        (["wide", "narrow-and-deep"], ["wide", "narrow-and-deep"]),
        (["photos", "quick-digits-20261126-061853-f296"], ["photos", "quick-digits…061853-f296"]),
        (
            ["photos", "tiny", "quick-digits-20261126-061853-f296", "quick-digits-20261126-061254-6140"],
            ["photos", "tiny", "quick-…-f296", "quick-…-6140"],
        ),
    ],
)
def test_long_names_that_begin_alike_are_told_apart(names: list[str], short: list[str]) -> None:
    assert shortened(names) == short
