"""The theme's colours on their way to the terminal: textual's themes, line filters for fewer than 24-bit colours."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme as TextualTheme

from pixeltui.ui.colors import Depth, Rgb, Theme, mix, nearest_index, visible_index


def textual_theme(theme: Theme) -> TextualTheme:
    """To be registered with the app."""
    return TextualTheme(
        name=theme.name,
        dark=theme.dark,
        primary=theme.accent,
        secondary=theme.series[4],
        accent=theme.accent,
        foreground=theme.text,
        background=theme.background,
        surface=theme.surface,
        panel=theme.panel,
        success=theme.good,
        warning=theme.warn,
        error=theme.bad,
        text_alpha=1.0,
        variables={
            "text-muted": theme.muted,
            "border": theme.accent,
            "border-blurred": theme.faint,
            "footer-key-foreground": theme.accent,
            "footer-description-foreground": theme.muted,
            "footer-background": theme.surface,
            "block-cursor-background": theme.accent,
            "block-cursor-foreground": theme.background,
            "input-selection-background": mix(theme.accent, theme.background, 0.4),
            "scrollbar": theme.faint,
            "scrollbar-background": theme.surface,
        },
    )


@lru_cache(maxsize=8192)
def _indexed(style: Style, depth: Literal["256", "16"]) -> Style:
    ink, under = _rgb(style.color), _rgb(style.bgcolor)
    above = None if ink is None else nearest_index(ink, depth)
    below = None if under is None else nearest_index(under, depth)
    if depth == "16" and ink is not None and below is not None and ink != under:
        above = visible_index(ink, below)
    return style + Style.from_color(_entry(above), _entry(below))


def _entry(index: int | None) -> RichColor | None:
    return None if index is None else RichColor.from_ansi(index)


def _rgb(color: RichColor | None) -> Rgb | None:
    return None if color is None or color.triplet is None else (*color.triplet,)


@lru_cache(maxsize=8192)
def _colourless(style: Style) -> Style:
    return style.without_color


class PaletteFilter(LineFilter):
    """24-bit colours to the nearest palette entry in Lab; colours that are palette entries already stay as they are."""

    def __init__(self, depth: Literal["256", "16"]) -> None:
        super().__init__()
        self.depth = depth

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        depth = self.depth
        return [
            Segment(text, None if style is None else _indexed(style, depth), control)
            for text, style, control in segments
        ]


class ColourlessFilter(LineFilter):
    """Attributes only: bold, dim, reverse and underline stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, None if style is None else _colourless(style), control) for text, style, control in segments
        ]


_FILTERS: dict[Depth, tuple[LineFilter, ...]] = {
    "truecolor": (),
    "256": (PaletteFilter("256"),),
    "16": (PaletteFilter("16"),),
    "none": (ColourlessFilter(),),
}


def depth_filters(depth: Depth) -> Sequence[LineFilter]:
    """What an app's `get_line_filters` adds behind its own, and a widget that needs no others returns."""
    return _FILTERS[depth]
