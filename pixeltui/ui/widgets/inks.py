"""Segments of pictures: every pair of colours gets its style once."""

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style

from pixeltui.ui.colors import Depth, parse_hex
from pixeltui.ui.widgets.dither import nearest
from pixeltui.ui.widgets.pixels import QUADRANTS, half_block_keys, ramp_text


class Inks:
    """Styles of pairs of pixels, made once."""

    def __init__(self, depth: Depth, background: str) -> None:
        self.depth: Depth = depth
        self.background = self._color(bytes(parse_hex(background)))
        self._pairs: dict[bytes, tuple[str, Style]] = {}
        self._quadrants: dict[tuple[bytes, bytes], Style] = {}
        self._colors: dict[bytes, Color] = {}

    def _color(self, pixel: bytes) -> Color:
        """Of RGB, or of a palette entry."""
        if len(pixel) == 1:
            return Color.from_ansi(pixel[0])
        if self.depth in ("256", "16"):
            return Color.from_ansi(nearest(pixel, self.depth))
        return Color("", ColorType.TRUECOLOR, triplet=ColorTriplet(*pixel))  # from_triplet spends its time on a name

    def color(self, pixel: bytes) -> Color:
        if (found := self._colors.get(pixel)) is None:
            found = self._colors[pixel] = self._color(pixel)
        return found

    def pair(self, key: bytes) -> tuple[str, Style]:
        """Character and style of a key of `half_block_keys`."""
        if (found := self._pairs.get(key)) is not None:
            return found
        if len(self._pairs) > 50_000:
            self._pairs.clear()
        if len(key) in (1, 3):  # the lower half is below the picture
            made = "▀", Style.from_color(self.color(key), self.background)
        else:
            top, bottom = key[: len(key) // 2], key[len(key) // 2 :]
            made = (" ", Style.from_color(None, self.color(top))) if top == bottom else ("▀", self._style(top, bottom))
        self._pairs[key] = made
        return made

    def _style(self, foreground: bytes, background: bytes) -> Style:
        """With its codes filled in: half of the time of a picture went into rich's general way to them."""
        style = Style.from_color(self.color(foreground), self.color(background))
        if len(foreground) == 1:
            if foreground[0] > 15 and background[0] > 15:
                style._ansi = f"38;5;{foreground[0]};48;5;{background[0]}"
        elif self.depth == "truecolor":
            r, g, b = foreground
            s, h, c = background
            style._ansi = f"38;2;{r};{g};{b};48;2;{s};{h};{c}"
        return style

    def quadrant(self, foreground: bytes, background: bytes) -> Style:
        if (found := self._quadrants.get((foreground, background))) is None:
            if len(self._quadrants) > 50_000:
                self._quadrants.clear()
            found = self._style(foreground, background)
            self._quadrants[foreground, background] = found
        return found

    def half_block_segments(self, top: bytes, bottom: bytes, size: int, scale: int) -> list[Segment]:
        """One row of cells from two rows of pixels of `size` bytes; `bottom` is empty below the picture."""
        pair = self.pair
        segments = []
        for key, count in half_block_keys(top, bottom, size, scale):
            char, style = pair(key)
            segments.append(Segment(char * count, style))
        return segments

    def quadrant_segments(self, cells: list[tuple[str, bytes, bytes]]) -> list[Segment]:
        if self.depth == "none":
            return [Segment(ramp_text(b"".join(mix(c, fg, bg) for c, fg, bg in cells), b"", 1), Style.null())]
        return [Segment(char, self.quadrant(color, background)) for char, color, background in cells]


def mix(char: str, color: bytes, background: bytes) -> bytes:
    """Mean colour of a quadrant cell."""
    share = QUADRANTS.index(char).bit_count() if char in QUADRANTS else 2
    return bytes((a * share + b * (4 - share)) // 4 for a, b in zip(color, background, strict=True))
