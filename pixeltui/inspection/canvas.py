"""A sheet of pictures, text and scales, which grows downwards. Pillow alone."""

import io
from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from pixeltui.inspection.colors import HEAT, Rgb, color, colors

BACKGROUND: Final = (19, 22, 28)
PANEL: Final = (29, 34, 43)
INK: Final = (230, 233, 238)
MUTED: Final = (150, 160, 174)
FAINT: Final = (58, 66, 78)
ACCENT: Final = (76, 194, 255)
WARN: Final = (255, 193, 69)
BAD: Final = (255, 107, 107)
MARGIN: Final = 24
TOP: Final = 84
"""where the content begins, below title and subtitle"""
BAR: Final = 12


class Canvas:
    """Coordinates are pixels from the upper left corner; text is placed by the corner or edge that `anchor` says."""

    def __init__(self, width: int, height: int, title: str, subtitle: str) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self.width, self.height = width, height
        self.image = Image.new("RGB", (width, height), BACKGROUND)
        self._draw = ImageDraw.Draw(self.image)
        self._fonts: dict[int, Any] = {}
        self._make = ImageFont.load_default
        self.text(MARGIN, 18, title, size=20)
        self.text(MARGIN, 46, subtitle, size=13, fill=MUTED)

    def font(self, size: int) -> Any:
        if size not in self._fonts:
            self._fonts[size] = self._make(size)
        return self._fonts[size]

    def length(self, text: str, size: int = 12) -> int:
        length: float = self.font(size).getlength(text)
        return round(length)

    def text(self, x: float, y: float, text: str, *, size: int = 12, fill: Rgb = INK, anchor: str = "la") -> None:
        self._draw.text((x, y), text, font=self.font(size), fill=fill, anchor=anchor)

    def box(self, x: float, y: float, width: float, height: float, fill: Rgb | None, line: Rgb | None = None) -> None:
        if width > 0 and height > 0:
            self._draw.rectangle((x, y, x + width - 1, y + height - 1), fill=fill, outline=line)

    def line(self, x: float, y: float, x2: float, y2: float, fill: Rgb = FAINT) -> None:
        self._draw.line((x, y, x2, y2), fill=fill)

    def picture(self, x: int, y: int, rgb: bytes, width: int, height: int, scale: int) -> None:
        """Enlarged by a whole factor, with a hairline around it."""
        from PIL import Image

        tile = Image.frombytes("RGB", (width, height), rgb)
        self.image.paste(tile.resize((width * scale, height * scale), Image.Resampling.NEAREST), (x, y))
        self._draw.rectangle((x - 1, y - 1, x + width * scale, y + height * scale), outline=FAINT)

    def map(
        self, x: int, y: int, values: Tensor, scale: int, low: float, high: float, stops: Sequence[Rgb] = HEAT
    ) -> None:
        """values [H, W]"""
        height, width = values.shape
        self.picture(x, y, colors(values.flatten().tolist(), low, high, stops), width, height, scale)

    def scale_bar(
        self, x: int, y: int, height: int, ticks: Sequence[tuple[float, str]], stops: Sequence[Rgb] = HEAT
    ) -> None:
        """Upright, the first stop at the bottom; ticks: (share of the height, text)."""
        for step in range(height):
            self.box(x, y + height - 1 - step, BAR, 1, color(stops, step / max(height - 1, 1)))
        self._draw.rectangle((x - 1, y - 1, x + BAR, y + height), outline=FAINT)
        for share, text in ticks:
            at = y + (height - 1) * (1 - share)
            self.line(x + BAR, at, x + BAR + 3, at, MUTED)
            self.text(x + BAR + 6, at, text, size=11, fill=MUTED, anchor="lm")

    def png(self) -> bytes:
        encoded = io.BytesIO()
        self.image.save(encoded, "PNG", optimize=True)
        return encoded.getvalue()


def ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """Evenly spaced, for a scale bar."""
    steps = [number / (count - 1) for number in range(count)]
    digits = 0 if high - low >= 20 else 1 if high - low >= 4 else 2
    return [(share, f"{low + share * (high - low):.{digits}f}") for share in steps]


def scale_to(height: int, width: int, wanted: int) -> int:
    """The whole factor by which an image of that size becomes as large as `wanted` pixels, or little less."""
    return max(1, wanted // max(height, width))
