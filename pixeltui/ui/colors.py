"""Colour depth of the terminal, the palette of 256 colours, and the colours of the two themes.

Free of textual and rich: `--color` has to set the depth before textual is imported, which fixes it for the process.
"""

import os
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal

Depth = Literal["truecolor", "256", "16", "none"]
Choice = Literal["auto", "truecolor", "256", "16", "none"]
Rgb = tuple[int, int, int]

CHOICES: Final = ("auto", "truecolor", "256", "16", "none")

_TRUECOLOR_TERMS: Final = ("ghostty", "kitty", "alacritty", "wezterm", "foot", "contour", "rio", "-direct", "truecolor")
_TRUECOLOR_PROGRAMS: Final = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio", "WarpTerminal", "Tabby"}
_COLOURLESS_TERMS: Final = ("dumb", "unknown", "vt", "network")
_RICH_NAMES: Final[dict[str, Depth]] = {"truecolor": "truecolor", "256": "256", "standard": "16", "windows": "16"}
_TEXTUAL_NAMES: Final[dict[Depth, str]] = {"truecolor": "truecolor", "256": "256", "16": "standard", "none": "standard"}


def detect_depth(environ: Mapping[str, str]) -> Depth:
    """What the terminal can show, from its environment: NO_COLOR (no-color.org) first, then what the user or the
    terminal says of itself, then its name. Plain ssh forwards TERM alone, so 256 colours is the usual answer there."""
    if environ.get("NO_COLOR"):
        return "none"
    if (asked := environ.get("TEXTUAL_COLOR_SYSTEM", "").lower()) in _RICH_NAMES:
        return _RICH_NAMES[asked]
    term = environ.get("TERM", "").lower()
    if not term or term.startswith(_COLOURLESS_TERMS):
        return "none"
    if "STY" in environ and "TMUX" not in environ:  # GNU screen passes COLORTERM on, and 24-bit colours not
        return "256"
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "truecolor"
    if any(name in term for name in _TRUECOLOR_TERMS):
        return "truecolor"
    if "TMUX" not in environ and (
        environ.get("TERM_PROGRAM") in _TRUECOLOR_PROGRAMS
        or "WT_SESSION" in environ
        or "KONSOLE_VERSION" in environ
        or _number(environ.get("VTE_VERSION", "")) >= 3600
    ):
        return "truecolor"
    return "256" if "256" in term else "16"


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def use_depth(choice: str, environ: MutableMapping[str, str] | None = None) -> Depth:
    """Set the depth of this process; to be called before textual is imported. Raises ValueError."""
    environ = os.environ if environ is None else environ
    if choice not in CHOICES:
        raise ValueError(f"colour depth must be one of {', '.join(CHOICES)}, not {choice!r}")
    if choice not in ("auto", "none"):
        environ.pop("NO_COLOR", None)
        environ["TEXTUAL_COLOR_SYSTEM"] = _TEXTUAL_NAMES[choice]  # type: ignore[index]
    depth = "none" if choice == "none" else detect_depth(environ)
    environ["TEXTUAL_COLOR_SYSTEM"] = _TEXTUAL_NAMES[depth]
    if depth == "none":
        environ["NO_COLOR"] = "1"
    return depth


def current_depth() -> Depth:
    """The depth that this process draws with."""
    return detect_depth(os.environ)


def parse_hex(color: str) -> Rgb:
    """(r, g, b) of "#rrggbb". Raises ValueError."""
    if len(color) != 7 or color[0] != "#":
        raise ValueError(f"a colour is written #rrggbb, not {color!r}")
    value = int(color[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255


def to_hex(rgb: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def mix(color: str, background: str, share: float) -> str:
    """`share` of the colour over the rest of the background, in sRGB."""
    pairs = zip(parse_hex(color), parse_hex(background), strict=True)
    red, green, blue = (round(b + (a - b) * share) for a, b in pairs)
    return to_hex((red, green, blue))


CUBE_LEVELS: Final = (0, 95, 135, 175, 215, 255)
ANSI_16: Final[tuple[Rgb, ...]] = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255)),
    (255, 255, 255),
)
"""xterm's; a user's palette may differ."""


def palette_rgb(index: int) -> Rgb:
    """Colour of an entry of the 256-colour palette; entries from 16 on are the same in every terminal."""
    if index < 16:
        return ANSI_16[index]
    if index < 232:
        index -= 16
        return CUBE_LEVELS[index // 36], CUBE_LEVELS[index // 6 % 6], CUBE_LEVELS[index % 6]
    grey = 8 + 10 * (index - 232)
    return grey, grey, grey


def _linear(value: float) -> float:
    value /= 255.0
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _cube_root(t: float) -> float:
    return float(t ** (1 / 3)) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116


def lab(rgb: Rgb) -> tuple[float, float, float]:
    """CIE L*a*b* (D65, 2 degrees) of an sRGB colour; L in [0, 100]."""
    red, green, blue = (_linear(v) for v in rgb)
    x = _cube_root((0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047)
    y = _cube_root(0.2126729 * red + 0.7151522 * green + 0.0721750 * blue)
    z = _cube_root((0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def luminance(rgb: Rgb) -> float:
    """Relative luminance of WCAG 2, in [0, 1]."""
    red, green, blue = (_linear(v) for v in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Contrast ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((luminance(parse_hex(a)), luminance(parse_hex(b))))
    return (high + 0.05) / (low + 0.05)


@cache
def _lab_entries(depth: Literal["256", "16"]) -> tuple[tuple[int, float, float, float], ...]:
    indices = range(16, 256) if depth == "256" else range(16)
    return tuple((index, *lab(palette_rgb(index))) for index in indices)


def _nearest(rgb: Rgb, entries: Iterable[tuple[int, float, float, float]]) -> int:
    lightness, a, b = lab(rgb)
    return min(entries, key=lambda entry: (entry[1] - lightness) ** 2 + (entry[2] - a) ** 2 + (entry[3] - b) ** 2)[0]


@lru_cache(maxsize=4096)
def nearest_index(rgb: Rgb, depth: Literal["256", "16"] = "256") -> int:
    """Palette entry nearest in Lab: one of the 240 fixed entries, or of the 16 that have names."""
    return _nearest(rgb, _lab_entries(depth))


VISIBLE: Final = 3.0
"""contrast from which text can be read"""


@lru_cache(maxsize=256)
def visible_index(rgb: Rgb, on: int) -> int:
    """Of the 16 that have names, the theme's own for a series, or else the nearest that can be read on one of them."""
    under = to_hex(palette_rgb(on))
    told = [entry for entry in _lab_entries("16") if contrast(to_hex(palette_rgb(entry[0])), under) >= VISIBLE]
    own = _series_16().get(rgb)
    return own if own in {index for index, *_ in told} else _nearest(rgb, told)


@cache
def _series_16() -> dict[Rgb, int]:
    return {
        parse_hex(color): index
        for theme in (DARK, LIGHT)
        for color, (index, _) in zip(theme.series, theme.series_16, strict=True)
    }


@dataclass(frozen=True)
class Theme:
    """Colours by what they stand for, as "#rrggbb". `series` are told apart with every kind of colour vision."""

    name: str
    dark: bool
    background: str
    surface: str  # panes
    panel: str  # raised: headers, the line under the cursor
    text: str
    muted: str  # labels
    faint: str  # grid lines, empty pictures
    accent: str  # focus, cursor
    good: str
    warn: str
    bad: str
    series: tuple[str, ...]
    series_16: tuple[tuple[int, int], ...]
    """of the 16 colours that have names, for each of `series` and for what is faint in it"""

    def resolve(self, color: str) -> str:
        """ "#rrggbb" of a token ("text", "accent", "series0"...) or of a colour written so. Raises ValueError."""
        if color.startswith("#"):
            return to_hex(parse_hex(color))
        if color.startswith("series") and color[6:].isdecimal():
            return self.series[int(color[6:]) % len(self.series)]
        value = getattr(self, color, None)
        if not isinstance(value, str) or not value.startswith("#"):
            raise ValueError(f"the theme has no colour {color!r}")
        return value

    def faint_16(self, color: str) -> str | None:
        """Name of the entry, of 16, for what is faint in the colour of a series; None for other colours."""
        resolved = self.resolve(color)
        return f"color({self.series_16[self.series.index(resolved)][1]})" if resolved in self.series else None


DARK: Final = Theme(
    name="pixeltui-dark",
    dark=True,
    background="#0d1117",
    surface="#131a23",
    panel="#1d2733",
    text="#e6edf3",
    muted="#8b98a8",
    faint="#2c3846",
    accent="#4cc2ff",
    good="#3ddc97",
    warn="#ffc145",
    bad="#ff6b6b",
    series=("#5ab0ff", "#ffb454", "#2fd6a8", "#f58fc6", "#c6b8ff", "#f4ec7a"),
    series_16=((14, 6), (11, 3), (10, 2), (13, 5), (12, 4), (9, 1)),
)
LIGHT: Final = Theme(
    name="pixeltui-light",
    dark=False,
    background="#fbfcfd",
    surface="#f3f5f8",
    panel="#e3e8ee",
    text="#1a222c",
    muted="#55626f",
    faint="#ccd4dc",
    accent="#0060b0",
    good="#00704a",
    warn="#8a5a00",
    bad="#c21f30",
    series=("#0064b4", "#b85000", "#00785c", "#a3307c", "#5b45c9", "#6e6400"),
    series_16=((4, 12), (1, 9), (0, 8), (5, 13), (12, 8), (13, 13)),
)


def theme_for(dark: bool) -> Theme:
    return DARK if dark else LIGHT
