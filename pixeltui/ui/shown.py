"""What the terminal shows: what is there already is not sent again."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from rich.console import Console, RenderableType
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App, ReturnType
from textual.events import Event, Resize
from textual.geometry import Size
from textual.screen import Screen
from textual.strip import Strip

Piece = tuple[int, Strip]
"""column, and what is there from it on"""


class SparingApp(App[ReturnType], inherit_bindings=False):
    """Textual draws the whole screen, often twice, where a dialog opens or goes: 70 kB of pictures each time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shown = Shown()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if isinstance(renderable, LayoutUpdate | ChopsUpdate):
            super()._display(screen, _Changes(renderable, self._shown))  # type: ignore[arg-type]
        else:
            super()._display(screen, renderable)

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Resize):
            self._shown.forget()  # terminals move what they show then
        await super().on_event(event)

    def action_redraw(self) -> None:
        """All of it, where something else has written over it."""
        self._shown.forget()
        self.refresh()


class Shown:
    """The terminal's rows, as far as they are known."""

    def __init__(self) -> None:
        self._rows: dict[int, Strip] = {}
        self._size = Size()

    def forget(self) -> None:
        self._rows.clear()

    def write(self, update: LayoutUpdate | ChopsUpdate, console: Console) -> str:
        """What to send, so that it shows this too."""
        whole = isinstance(update, LayoutUpdate)
        if isinstance(update, LayoutUpdate) and update.region.size != self._size:
            self._size = update.region.size
            self.forget()
        parts = []
        for y, pieces in _whole(update) if isinstance(update, LayoutUpdate) else _some(update):
            row, at = self._rows.get(y), -1
            for x, strip in pieces:
                end = x + strip.cell_length
                if row is None or not _alike(row.crop(x, end), strip):
                    parts += [Control.move_to(x, y).segment.text] * (x != at) + [strip.render(console)]
                    at = end
            if row is not None or whole:
                self._rows[y] = _over(row or Strip([], 0), pieces)
        return "".join(parts)


class _Changes(CompositorUpdate):
    """Of an update, what is not shown yet; asked for when it is sent, if it is."""

    def __init__(self, update: LayoutUpdate | ChopsUpdate, shown: Shown) -> None:
        self._update, self._shown = update, shown

    def render_segments(self, console: Console) -> str:
        return self._shown.write(self._update, console)


def _whole(update: LayoutUpdate) -> Iterator[tuple[int, list[Piece]]]:
    for y, strips in enumerate(update.strips, update.region.y):
        x, pieces = update.region.x, []
        for strip in strips:
            pieces.append((x, strip))
            x += strip.cell_length
        yield y, pieces


def _some(update: ChopsUpdate) -> Iterator[tuple[int, list[Piece]]]:
    """Cut as textual sends them."""
    for y, first, last in update.spans:
        chops = zip(update.chop_ends[y], update.chops[y].items(), strict=False)
        yield (
            y,
            [
                (x, strip.crop(0, min(end, last) - x))
                for end, (x, strip) in chops
                if strip is not None and x < last and end > first
            ],
        )


def _over(row: Strip, pieces: list[Piece]) -> Strip:
    """The row with these pieces, from left to right, in it."""
    at, parts = 0, []
    for x, strip in pieces:
        parts += [row.crop(at, x), strip]
        at = x + strip.cell_length
    return Strip.join([*parts, row.crop(at)])


def _alike(one: Strip, other: Strip) -> bool:
    return one == other or (one.text == other.text and _looks(one) == _looks(other))


def _looks(strip: Strip) -> list[tuple[str, str]]:
    """Texts and how they look, however the strip is cut into segments."""
    found: list[tuple[str, str]] = []
    for text, style, _ in strip:
        look = _look(style, text.isspace()) if style is not None else ""
        if found and found[-1][1] == look:
            found[-1] = (found[-1][0] + text, look)
        else:
            found.append((text, look))
    return found


@lru_cache(maxsize=8192)
def _look(style: Style, blank: bool) -> str:
    """In a terminal's words. blank: of spaces, whose ink is not seen."""
    if blank and not (style.reverse or style.underline or style.underline2 or style.strike or style.overline):
        style = Style(bgcolor=style.bgcolor)
    return style.render("x")
