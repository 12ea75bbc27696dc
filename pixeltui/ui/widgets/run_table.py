"""Rows of runs on the Line API: only what is in view is ever made, so that a thousand are listed at once."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pixeltui.errors import printable
from pixeltui.store.summary import RunSummary
from pixeltui.ui.colors import Theme, current_depth, mix, theme_for
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import in_scope
from pixeltui.ui.run_list import COLUMNS, NARROWEST_NAME, Column, fitting
from pixeltui.ui.status import STATE_COLORS, STATE_MARKS
from pixeltui.ui.widgets.differences import ends

MUTED = ("data", "preset", "age", "step", "size", "img/s")
WHEEL = 3
"""rows a click of the wheel"""


class RunTable(Widget, can_focus=True, inherit_bindings=False):
    """A header, rows, and a cursor on one of them, which stays on its run whatever comes and goes around it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key.binding for key in in_scope("runs") if not key.action.startswith("screen.")
    ]
    scope: Scope = "runs"

    class Highlighted(Message):
        """The cursor is on another run, or on none."""

    class HeadingClicked(Message):
        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    class Opened(Message):
        """The run under the cursor was clicked."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="pane")
        self.rows: list[RunSummary] = []
        self.columns: list[Column] = []
        self.cursor_row = 0
        self._top = 0
        self._longest = self._name_width = NARROWEST_NAME
        self._marked: frozenset[str] = frozenset()
        self._sorted_by: tuple[str, bool] = ("", False)
        self._asks = False
        self.empty: tuple[str, ...] = ()
        """lines in place of the rows, where there are none"""

    # -- what is shown ---------------------------------------------------------------------------------------------

    def show(
        self,
        rows: Sequence[RunSummary],
        marked: set[str],
        *,
        longest: int,
        sorted_by: str,
        reverse: bool,
        asks: bool = False,
    ) -> None:
        """longest: cells of the longest name. sorted_by: a column's letter. asks: all letters stand in the header."""
        at = self.current
        shape = self._shape
        old = self.rows
        self.rows = list(rows)
        self._marked, self._sorted_by, self._asks = frozenset(marked), (sorted_by, reverse), asks
        self._longest = longest
        if shape == self._shape:
            for y, (before, now) in enumerate(zip(old, self.rows, strict=True)):
                if before != now:
                    self._refresh_row(y)
            return
        places = {run.path: y for y, run in enumerate(self.rows)}
        if at is not None:
            self.cursor_row = places.get(at.path, self.cursor_row)
        self.cursor_row = max(0, min(self.cursor_row, len(self.rows) - 1))
        self._keep_in_view()
        self.refresh()
        if at is None or self.current is None or self.current.path != at.path:
            self.post_message(self.Highlighted())

    @property
    def _shape(self) -> tuple[object, ...]:
        """What all rows hang on."""
        return [run.path for run in self.rows], self._marked, self._sorted_by, self._asks, self._longest

    @property
    def current(self) -> RunSummary | None:
        return self.rows[self.cursor_row] if self.cursor_row < len(self.rows) else None

    @property
    def _page(self) -> int:
        """Rows that there is room for, below the header."""
        return max(self.size.height - 1, 1)

    def _keep_in_view(self) -> bool:
        """Whether the rows had to move."""
        before = self._top
        self._top = max(self.cursor_row - self._page + 1, min(self._top, self.cursor_row))
        self._top = max(0, min(self._top, len(self.rows) - self._page))
        return before != self._top

    def move_cursor(self, row: int) -> None:
        row = max(0, min(row, len(self.rows) - 1))
        if row == self.cursor_row or not self.rows:
            return
        before, self.cursor_row = self.cursor_row, row
        if self._keep_in_view():
            self.refresh()
        else:
            self._refresh_row(before)
            self._refresh_row(row)
        self.post_message(self.Highlighted())

    def _refresh_row(self, row: int) -> None:
        if self._top <= row < self._top + self._page:
            self.refresh(Region(0, row - self._top + 1, self.size.width, 1))

    def on_resize(self) -> None:
        self._keep_in_view()

    # -- drawing ---------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        theme = theme_for(self.app.current_theme.dark)
        width = self.size.width
        if y == 0:
            # A column is two cells wider than its text; the mark takes two, the bar on the right one.
            self.columns, self._name_width = fitting(width - 3, self._longest)
            return self._header(theme).adjust_cell_length(width, Style(bgcolor=theme.surface))
        row = self._top + y - 1
        bar = self._bar(y, theme)
        if row >= len(self.rows):
            if not self.rows and self.empty and (line := y - self._page // 2) in range(len(self.empty)):
                style = Style(color=theme.muted if line else theme.text, bgcolor=theme.surface, bold=not line)
                return Strip([Segment(self.empty[line].center(width), style)], width)
            return Strip.blank(width - 1, Style(bgcolor=theme.surface)).join([Strip([]), Strip([bar])])
        under = self._background(row, theme)
        cells = [Segment(text, style) for text, style in self.cells(self.rows[row], theme, under)]
        return Strip([*Strip(cells).adjust_cell_length(width - 1, Style(bgcolor=under)), bar])

    def _background(self, row: int, theme: Theme) -> str:
        if row != self.cursor_row:
            return theme.surface
        return mix(theme.accent, theme.surface, 0.3) if self.has_focus else theme.panel

    def _width(self, column: Column) -> int:
        if column.name == "name":
            return self._name_width
        if column.name != "tags":
            return column.width
        others = sum(self._width(other) + 2 for other in self.columns if other is not column)
        return max(column.width, self.size.width - 3 - others - 2)  # the last: all that is left

    def cells(self, run: RunSummary, theme: Theme, under: str) -> list[tuple[str, Style]]:
        """The texts of a row, each as wide as its column, and their styles."""
        here = run is self.current and self.has_focus
        marked = run.path in self._marked
        found = [("◆ " if marked and current_depth() != "none" else "* " if marked else "  ", theme.accent)]
        for column in self.columns:
            text, color = printable(column.show(run)), theme.muted if column.name in MUTED else theme.text
            if column.name == "state":
                text, color = f"{STATE_MARKS[run.state]} {text}", theme.resolve(STATE_COLORS[run.state])
            elif column.name == "tags":
                color = theme.resolve("series2")
            elif column.name == "name":
                text = ends(text, self._name_width)
            found.append((_fit(text, self._width(column), right=column.right) + "  ", color))
        bold, colourless = {"name", "val"}, current_depth() == "none"
        names = ["", *(column.name for column in self.columns)]
        return [
            (text, Style(color=color, bgcolor=under, bold=here or name in bold, reverse=here and colourless))
            for name, (text, color) in zip(names, found, strict=True)
        ]

    def _header(self, theme: Theme) -> Strip:
        letter, reverse = self._sorted_by
        segments = [Segment("  ", Style(bgcolor=theme.surface))]
        for column in self.columns:
            sorts = column.key == letter
            text = column.name + (("▲" if reverse else "▼") if sorts else "")
            color = theme.accent if sorts else theme.muted
            if self._asks:
                text, color = f"{column.key}:{column.name}", theme.warn
            style = Style(color=color, bgcolor=theme.surface, bold=True)
            segments.append(Segment(_fit(text, self._width(column), right=column.right) + "  ", style))
        return Strip(segments)

    def _bar(self, y: int, theme: Theme) -> Segment:
        """The scroll bar's cell beside a row."""
        page, count = self._page, len(self.rows)
        if count <= page:
            return Segment(" ", Style(bgcolor=theme.surface))
        length = max(1, round(page * page / count))
        start = round((page - length) * self._top / (count - page))
        here = start <= y - 1 < start + length
        return Segment("┃" if here else "│", Style(color=theme.muted if here else theme.faint, bgcolor=theme.surface))

    # -- keys and mouse --------------------------------------------------------------------------------------------

    def action_cursor_down(self) -> None:
        self.move_cursor(self.cursor_row + 1)

    def action_cursor_up(self) -> None:
        self.move_cursor(self.cursor_row - 1)

    def action_scroll_top(self) -> None:
        self.move_cursor(0)

    def action_scroll_bottom(self) -> None:
        self.move_cursor(len(self.rows) - 1)

    def action_page_down(self) -> None:
        self.move_cursor(self.cursor_row + self._page - 1)

    def action_page_up(self) -> None:
        self.move_cursor(self.cursor_row - self._page + 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move_cursor(self.cursor_row + WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move_cursor(self.cursor_row - WHEEL)

    def on_click(self, event: events.Click) -> None:
        """A row under the cursor is opened, another gets the cursor; a heading sorts."""
        at = event.get_content_offset_capture(self)
        if at.y == 0:
            left = 2
            for column in self.columns:
                if left <= at.x < left + self._width(column) + 2:
                    self.post_message(self.HeadingClicked(column))
                left += self._width(column) + 2
        elif (row := self._top + at.y - 1) == self.cursor_row and self.rows:
            self.post_message(self.Opened())
        elif row < len(self.rows):
            self.move_cursor(row)


def _fit(text: str, width: int, *, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def order_name(letter: str) -> str:
    """Of the column whose letter this is."""
    return next(column.name for column in COLUMNS if column.key == letter)
