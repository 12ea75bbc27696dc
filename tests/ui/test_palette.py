"""Themes and colours on their way to a terminal with fewer of them, and what the console may not import."""

import subprocess
import sys

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.theme import Theme as TextualTheme

from pixeltui.ui import colors
from pixeltui.ui.widgets.palette import depth_filters, textual_theme

BLACK = Color(0, 0, 0)


def through(style: Style, depth: colors.Depth) -> Style:
    segments = [Segment("x", style), Segment("y", None)]
    for one in depth_filters(depth):
        segments = one.apply(segments, BLACK)
    assert [segment.text for segment in segments] == ["x", "y"]
    assert segments[0].style is not None
    return segments[0].style


def test_colours_become_the_nearest_entries_and_attributes_stay() -> None:
    style = through(Style(color="#ff0000", bgcolor="#5f5f5f", bold=True), "256")
    assert (style.color.number, style.bgcolor.number, style.bold) == (196, 59, True)
    assert through(Style(color="#ff0000"), "16").color.number == 9
    assert through(Style(color="#ff0000"), "truecolor").color.triplet == (255, 0, 0)
    plain = through(Style(color="#ff0000", bgcolor="#5f5f5f", bold=True, dim=True), "none")
    assert (plain.color, plain.bgcolor, plain.bold, plain.dim) == (None, None, True, True)


@pytest.mark.parametrize("theme", [colors.DARK, colors.LIGHT], ids=lambda theme: theme.name)
def test_no_line_is_lost_on_its_background_in_16_colours(theme: colors.Theme) -> None:
    for under in (theme.background, theme.surface, theme.panel):
        for color in (theme.text, theme.muted, theme.faint, theme.accent, theme.good, theme.warn, theme.bad):
            style = through(Style(color=color, bgcolor=under), "16")
            seen = [colors.to_hex(colors.palette_rgb(c.number)) for c in (style.color, style.bgcolor)]
            assert colors.contrast(*seen) >= colors.VISIBLE, (color, under)


@pytest.mark.parametrize("theme", [colors.DARK, colors.LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("on", range(16))
def test_text_can_be_read_on_each_of_16_colours(on: int, theme: colors.Theme) -> None:
    under = colors.to_hex(colors.palette_rgb(on))
    for color in (theme.text, theme.muted, theme.accent, theme.good, theme.warn, theme.bad, *theme.series):
        index = colors.visible_index(colors.parse_hex(color), on)
        assert colors.contrast(colors.to_hex(colors.palette_rgb(index)), under) >= 3.0, color


@pytest.mark.parametrize("theme", [colors.DARK, colors.LIGHT], ids=lambda theme: theme.name)
def test_each_series_has_a_colour_of_its_own_among_16(theme: colors.Theme) -> None:
    labels = through(Style(color=theme.muted, bgcolor=theme.surface), "16").color.number
    found = [through(Style(color=color, bgcolor=theme.surface), "16").color.number for color in theme.series]
    assert len({*found, labels}) == len(theme.series) + 1
    assert theme.faint_16("series0") not in (f"color({found[0]})", f"color({labels})")
    assert theme.faint_16("accent") is None


def test_palette_entries_pass_untouched() -> None:
    style = Style(color="color(17)", bgcolor="color(200)")
    assert through(style, "256") == style


@pytest.mark.parametrize("theme", [colors.DARK, colors.LIGHT], ids=lambda theme: theme.name)
def test_textual_takes_the_themes(theme: colors.Theme) -> None:
    made = textual_theme(theme)
    assert isinstance(made, TextualTheme)
    generated = made.to_color_system().generate()
    assert generated["background"].lower() == theme.background
    assert generated["text-muted"] == theme.muted


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("pixeltui.ui.colors", {"textual", "rich", "torch", "numpy"}),
        ("pixeltui.ui.widgets.chart", {"torch", "numpy", "PIL", "msgspec"}),
        ("pixeltui.ui.widgets.gallery", {"torch", "numpy", "PIL", "msgspec"}),
        ("pixeltui.ui.widgets.state_strip", {"torch", "numpy", "PIL", "msgspec"}),
    ],
)
def test_imports(module: str, banned: set[str]) -> None:
    code = f"import sys, {module}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & banned == set()
