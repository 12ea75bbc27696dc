"""Colour depth from the environment, palettes, and themes that everybody can read."""

import itertools

import pytest

from pixeltui.ui import colors


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color", "COLORTERM": "24bit"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, "256"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "WT_SESSION": "of another terminal"}, "256"),
        ({"TERM": "screen-256color", "STY": "1.pts", "COLORTERM": "truecolor"}, "256"),
        ({"TERM": "xterm-ghostty"}, "truecolor"),
        ({"TERM": "xterm-kitty"}, "truecolor"),
        ({"TERM": "xterm-direct"}, "truecolor"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "truecolor"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "256"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, "truecolor"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "3400"}, "256"),
        ({"TERM": "xterm"}, "16"),
        ({"TERM": "linux"}, "16"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "vt100"}, "none"),
        ({}, "none"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "256"),
        ({"TERM": "xterm", "TEXTUAL_COLOR_SYSTEM": "256"}, "256"),
    ],
)
def test_depth_of_a_terminal(environ: dict[str, str], depth: str) -> None:
    assert colors.detect_depth(environ) == depth


@pytest.mark.parametrize(
    ("choice", "textual", "depth"),
    [("truecolor", "truecolor", "truecolor"), ("256", "256", "256"), ("16", "standard", "16"), ("auto", "256", "256")],
)
def test_a_choice_reaches_textual_and_lasts(choice: str, textual: str, depth: str) -> None:
    environ = {"TERM": "xterm-256color"}
    assert colors.use_depth(choice, environ) == depth
    assert environ["TEXTUAL_COLOR_SYSTEM"] == textual
    assert colors.detect_depth(environ) == depth


def test_a_choice_beats_no_color_and_none_sets_it() -> None:
    environ = {"TERM": "xterm", "NO_COLOR": "1"}
    assert colors.use_depth("truecolor", environ) == "truecolor"
    assert "NO_COLOR" not in environ
    assert colors.use_depth("none", environ) == "none"
    assert environ["NO_COLOR"] == "1"
    assert colors.detect_depth(environ) == "none"
    with pytest.raises(ValueError, match="auto, truecolor"):
        colors.use_depth("lots", environ)


def test_lab_of_known_colours() -> None:
    assert colors.lab((255, 255, 255)) == pytest.approx((100, 0, 0), abs=0.02)
    assert colors.lab((255, 0, 0)) == pytest.approx((53.24, 80.09, 67.20), abs=0.05)


def test_palette_entries_map_to_themselves() -> None:
    for index in range(16, 256):
        rgb = colors.palette_rgb(index)
        assert colors.palette_rgb(colors.nearest_index(rgb)) == rgb
    assert colors.nearest_index((0, 0, 0)) == 16
    assert colors.nearest_index((255, 0, 0), "16") == 9


@pytest.mark.parametrize("theme", [colors.DARK, colors.LIGHT], ids=lambda theme: theme.name)
def test_contrast(theme: colors.Theme) -> None:
    for background in (theme.background, theme.surface, theme.panel):
        assert colors.contrast(theme.text, background) >= 7
        assert colors.contrast(theme.muted, background) >= 4.5
    for color in (*theme.series, theme.accent, theme.good, theme.warn, theme.bad):
        assert colors.contrast(color, theme.surface) >= 4.5


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}


def seen(color: str, vision: str) -> tuple[float, float, float]:
    linear = [colors._linear(v) for v in colors.parse_hex(color)]
    values = []
    for row in VISIONS[vision]:
        value = min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True))))
        values.append(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))
    return colors.lab((round(values[0]), round(values[1]), round(values[2])))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", [colors.DARK, colors.LIGHT], ids=lambda theme: theme.name)
def test_series_are_told_apart_by_everybody(theme: colors.Theme, vision: str) -> None:
    points = [seen(color, vision) for color in theme.series[:4]]
    for a, b in itertools.combinations(points, 2):
        assert sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5 >= 12


def test_tokens() -> None:
    assert colors.DARK.resolve("series1") == colors.DARK.series[1]
    assert colors.DARK.resolve("series6") == colors.DARK.series[0]
    assert colors.DARK.resolve("#ABCDEF") == "#abcdef"
    assert colors.mix("#ffffff", "#000000", 0.5) == "#808080"
    for wrong in ("name", "nothing", "#12"):
        with pytest.raises(ValueError, match="colour"):
            colors.DARK.resolve(wrong)
