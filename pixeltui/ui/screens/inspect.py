"""The inspection screen: verdicts, pictures and tables of what a run's weights do inside, a pane a digit.

A process of its own computes a pane when one first looks at it; what it shows stays until one asks for more images.
"""

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from rich.text import Text
from textual import events as textual_events
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Static

from pixeltui.errors import printable
from pixeltui.session.wishes import AnyAnswer, Group, Inspect, Kept, Model, Pane, Progress, Refused, Stop
from pixeltui.store.files import is_locked
from pixeltui.store.rundir import RunDir
from pixeltui.ui.colors import theme_for
from pixeltui.ui.keys import Scope, bindings, in_scope
from pixeltui.ui.screens.bars import BY_HEIGHT, BY_WIDTH, KeyBar, ProgressLine, TitleBar
from pixeltui.ui.screens.studio import LOOK_SECONDS, SLOW_LOOK_SECONDS
from pixeltui.ui.widgets.gallery import Gallery, Picture
from pixeltui.ui.widgets.images import MAX_SCALE, MIN_SCALE
from pixeltui.ui.widgets.pixels import cell_size

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

Name = Literal["verdicts", "bits", "features", "units", "field", "classes", "nearest"]
TITLES: Final[dict[Name, str]] = {
    "verdicts": "1 Verdicts",
    "bits": "2 Bits",
    "features": "3 Features",
    "units": "4 Units",
    "field": "5 Field",
    "classes": "6 Classes",
    "nearest": "7 Nearest",
}
IMAGES: Final = 64
BARS: Final = frozenset("▁▂▃▄▅▆▇")
KINDS: Final = {"good": "good", "bad": "bad", "title": "accent", "text": "text", "muted": "muted"}


class InspectScreen(Screen[None]):
    """Asks the studio for the pane that one looks at, and polls it."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("inspect")]
    HORIZONTAL_BREAKPOINTS = BY_WIDTH
    VERTICAL_BREAKPOINTS = BY_HEIGHT

    app: "Console"
    scopes: ClassVar[list[Scope]] = ["inspect", "everywhere"]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run
        self.images = IMAGES
        self.name_shown: Name = "bits"
        self.panes: dict[str, Pane] = {}
        self._places: dict[str, int] = {}
        """the group that one looks at in each pane"""
        self._asked: dict[int, str] = {}
        """numbers of wishes to panes"""
        self._alone: int | None = None
        """the tile that is seen alone"""
        self._said = ""

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield ProgressLine()
        with Vertical(id="seen", classes="pane"):
            yield Gallery(empty="")
            yield DataTable(id="figures", cursor_type="row", cursor_foreground_priority="renderable")
            with VerticalScroll(id="words"):
                yield Static()
            yield Static(id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(KeyBar).show(in_scope("inspect", "everywhere"))
        for widget in (self.query_one(DataTable), self.query_one("#words")):
            widget.can_focus = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show())
        self.set_interval(SLOW_LOOK_SECONDS if self.app.ui.low_bandwidth else LOOK_SECONDS, self._look)
        self.action_pane("bits")

    @property
    def gallery(self) -> Gallery:
        return self.query_one(Gallery)

    # -- what the process says -------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.app.screen is not self:
            return
        if self.app.trains or is_locked(self.run.path):
            self.app.studio.be_gentle()
        for answer in self.app.studio.poll():
            self._take(answer)

    def _take(self, answer: AnyAnswer) -> None:
        match answer:
            case Progress(text=text, share=share) if answer.id in self._asked:
                self._say(f"{text} …", share)
            case Pane() if answer.id in self._asked:
                self._asked.pop(answer.id)
                self.panes[answer.name] = answer
                self._say("", 1.0)
                if answer.name == self.name_shown:
                    self._show()
            case Kept(path=path):
                self._say(f"written: {path}", 1.0)
                self.notify(printable(path), title="PNG files and inspect.json", markup=False, timeout=8)
            case Refused(message=message):
                self._asked.clear()
                self._say(message, 0.0)
                self.notify(printable(message), severity="warning", markup=False, timeout=8)
            case _:
                pass

    def _say(self, text: str, share: float) -> None:
        self._said = text
        if self._pane is None:
            self.gallery.empty = text or "…"
            self.gallery.set_pictures([])
        self.query_one(ProgressLine).show(share, "accent", f"{share:.0%}" if text else "")
        self._show_title()

    def _show_title(self) -> None:
        self.query_one(TitleBar).show(f"{self.run.name} · inside", self._said or f"{self.images} images")
        tabs = [f"▸{title}" if name == self.name_shown else title for name, title in TITLES.items()]
        self.query_one("#seen").border_title = "  ".join(tabs)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, name: str) -> None:
        """In place of whatever is being computed, which is asked for again when one looks at it again."""
        wish = Inspect(id=0, model=Model(run=str(self.run.path)), pane=name, images=self.images)
        self._asked = {self.app.studio.ask(wish): name}
        self._say("starting torch …" if not self.app.studio.warm else "computing …", 0.0)

    def action_pane(self, name: Name) -> None:
        self.name_shown = name
        self._alone = None
        if name not in self.panes and name not in self._asked.values():
            self._ask(name)
        self._show()
        self._show_title()

    def action_more(self) -> None:
        self.images *= 2
        self.panes.clear()
        self._ask(self.name_shown)
        self._show()

    def action_write(self) -> None:
        self._ask("files")

    # -- what is seen ----------------------------------------------------------------------------------------------

    @property
    def _pane(self) -> Pane | None:
        return self.panes.get(self.name_shown)

    @property
    def _group(self) -> Group | None:
        pane = self._pane
        return pane.groups[self._places.get(pane.name, 0)] if pane is not None and pane.groups else None

    def _show(self) -> None:
        pane = self._pane
        table, words = self.query_one(DataTable), self.query_one("#words")
        table.display = pane is not None and bool(pane.heads)
        words.display = pane is not None and bool(pane.lines)
        self.gallery.display = not table.display and not words.display
        if pane is not None and pane.heads:
            self._fill_table(pane)
        elif pane is not None and pane.lines:
            self._fill_words(pane)
        else:
            self._fill_gallery()
        self._show_note()

    def _fill_words(self, pane: Pane) -> None:
        theme = theme_for(self.app.current_theme.dark)
        text = Text()
        for kind, line in pane.lines:
            bold = "bold " if kind in ("good", "bad", "title") else ""
            text.append(printable(line) + "\n", f"{bold}{theme.resolve(KINDS.get(kind, 'text'))}")
        self.query_one("#words > Static", Static).update(text)

    def _fill_table(self, pane: Pane) -> None:
        theme = theme_for(self.app.current_theme.dark)
        table = self.query_one("#figures", DataTable)
        table.clear(columns=True)
        narrow = self.size.width < 100
        for head in pane.heads:
            table.add_column(Text(head, f"bold {theme.muted}"))
        for row in pane.rows:
            bars = [cell[::2] if narrow and set(cell) & BARS else cell for cell in row]
            cells = [Text(printable(cell), theme.text, no_wrap=True) for cell in bars]
            cells[0].stylize("bold")
            if cells[-1].plain and not cells[-1].plain.startswith("0 of"):
                cells[-1].stylize(theme.accent if set(cells[-1].plain) == {"█"} else theme.bad)
            for cell in cells[1:]:
                if set(cell.plain) & BARS:
                    cell.stylize(theme.resolve("series0"))
            table.add_row(*cells)

    def _fill_gallery(self) -> None:
        """The group's pictures, or the one of them that is seen alone."""
        gallery, group = self.gallery, self._group
        if group is None:
            gallery.set_pictures([])
            return
        tiles = group.tiles if self._alone is None else (group.tiles[self._alone],)
        beside = group.beside if self._alone is None else 1
        gallery.set_pictures([Picture(tile.rgb, tile.width, tile.height, tile.label) for tile in tiles])
        first = tiles[0]
        room = gallery.size.width or self.size.width - 4, (gallery.size.height or self.size.height - 8) - 1
        gallery.most_columns, scale = arranged(first.width, first.height, len(tiles), beside, *room)
        gallery.set_scale(scale)

    def _show_note(self) -> None:
        pane, group = self._pane, self._group
        note, about = pane.note if pane is not None else "", ""
        if pane is not None and group is not None:
            about = group.name
            if len(pane.groups) > 1:
                about = f"↑↓ {self._places.get(pane.name, 0) + 1} of {len(pane.groups)}: {about}"
            note = group.tiles[self.gallery.index if self._alone is None else self._alone].note
        self.query_one("#seen").border_subtitle = Text(printable(about))
        self.query_one("#note", Static).update(Text(printable(note)))

    def on_resize(self, event: textual_events.Resize) -> None:
        self.call_after_refresh(self._show)

    @on(Gallery.Highlighted)
    def _highlighted(self) -> None:
        self._show_note()

    # -- moving ----------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        if self._alone is None:
            self.gallery.action_move(by, 0)
        elif self._group is not None:
            self._alone = min(max(self._alone + by, 0), len(self._group.tiles) - 1)
            self._show()

    def action_turn(self, by: int) -> None:
        """To another group; in a table or a text, lines."""
        pane = self._pane
        if pane is None:
            return
        if pane.heads:
            table = self.query_one(DataTable)
            table.move_cursor(row=min(max(table.cursor_row + by, 0), len(pane.rows) - 1))
        elif pane.lines:
            self.query_one("#words").scroll_relative(y=by, animate=False)
        elif len(pane.groups) > 1:
            before = self._places.get(pane.name, 0)
            self._places[pane.name] = min(max(before + by, 0), len(pane.groups) - 1)
            if self._alone is not None:
                self._alone = min(self._alone, len(pane.groups[self._places[pane.name]].tiles) - 1)
            self._show()
        else:
            self.gallery.action_move(0, by)

    def action_page(self, by: int) -> None:
        if self._pane is not None and (self._pane.heads or self._pane.lines):
            self.action_turn(by * max(self.query_one("#seen").size.height - 4, 1))
        else:
            self.gallery.action_page(by)

    def action_scale(self, by: int) -> None:
        self.gallery.action_zoom(by)

    def action_renderer(self) -> None:
        self.gallery.action_toggle_renderer()

    def action_full(self) -> None:
        """One picture as large as there is room, with the arrows to the next; and back."""
        if self._alone is not None:
            self.go_back()
        elif self._group is not None:
            self._alone = self.gallery.index
            self._show()

    def go_back(self) -> bool:
        """esc: out of the one picture; whether there was something to leave."""
        if self._alone is not None:
            index, self._alone = self._alone, None
            self._show()
            self.gallery.move_to(index)
            return True
        self.app.studio.ask(Stop(id=0))
        return False


def arranged(width: int, height: int, count: int, beside: int, columns: int, rows: int) -> tuple[int, int]:
    """(tiles a row, scale) for pictures of width x height in a gallery of columns x rows cells.

    Everything on one page where that can be at half size or more; else tiles as large as lets a few be seen. Those that
    belong beside one another are.
    """
    best = (beside, MIN_SCALE)
    for scale in range(MIN_SCALE, MAX_SCALE + 1):
        cells = cell_size(width, height, scale)
        across = columns // (cells[0] + 2) // beside * beside
        down = rows // (cells[1] + 2)
        if across >= beside and down >= 1 and (scale <= 0 + (width <= 16) or across * down >= count):
            best = (min(across, count), scale)
    return best
