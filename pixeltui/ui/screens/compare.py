"""Several runs against each other: curves over one another, keys that differ, samples side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import DescendantFocus
from textual.message import Message
from textual.widget import Widget

from pixeltui.config import as_dict
from pixeltui.errors import printable
from pixeltui.session.attach import AttachedSession
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import readable, speed
from pixeltui.toml import differences, flat
from pixeltui.ui.hand_over import hand_over
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import STEERING, Key, bindings, in_scope
from pixeltui.ui.screens.bars import KeyBar, TitleBar
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.panes import PanesScreen
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import show_value
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.differences import Differences, ends

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

FIGURES = ("state", "epoch", "step", "best val bits/dim", "test bits/dim", "images/s", "parameters")


class Sheet(SamplesPane):
    """The samples of one of the compared runs."""

    class Fitted(Message):
        """Its images have another size."""

    def __init__(self, run_name: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._run_name = run_name
        self.set_classes("sheet")

    def on_mount(self) -> None:
        self.gallery.show_cursor(False)

    def on_descendant_focus(self) -> None:
        self.gallery.show_cursor(True)

    def on_descendant_blur(self) -> None:
        self.gallery.show_cursor(False)

    @property
    def size_of_images(self) -> tuple[int, int] | None:
        """None while one of them is enlarged."""
        pictures = self.gallery.pictures if self.heat is None else []
        return (pictures[0].width, pictures[0].height) if pictures else None

    def _refit(self) -> None:
        super()._refit()
        self.border_title = Text(printable(ends(self._run_name, max(self.outer_size.width - 2, 1))))
        if not self._zoomed:
            self.post_message(self.Fitted())


class CompareScreen(PanesScreen):
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("compare")]

    app: "Console"

    def __init__(self, runs: Sequence[RunDir]) -> None:
        super().__init__()
        self._watches = [Watch(AttachedSession(run, read_only=True)) for run in runs]
        self._names = shortened([run.name for run in runs])
        self._dirs = list(runs)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield CurvesPane(id="curves", small=False, live=False)
        with Horizontal(id="lower"):
            yield Differences(id="keys")
            with Vertical(id="sheets", classes="pane"), Horizontal():
                for i in range(len(self._watches)):
                    yield Sheet(self._names[i], id=f"samples{i}")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TitleBar).show(f"{len(self._watches)} runs against each other")
        self.query_one(Differences).border_title = "What differs"
        self.query_one("#sheets").border_title = "Samples"
        self.query_one(CurvesPane).main.focus()
        self._read()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        for watch in self._watches:
            watch.poll()
            watch.wait()
            watch.poll()
            watch.prepare()
        hand_over(self, self._show)

    def _show(self) -> None:
        short = self._names
        curves = [watch.curves for watch in self._watches]
        self.query_one(CurvesPane).compare(self._dirs, list(zip(short, curves, strict=True)))
        self.query_one(Differences).show(short, self._rows())
        for i, watch in enumerate(self._watches):
            sheets = [(sample.step, sample.path) for sample in watch.view.samples]
            self.query_one(f"#samples{i}", Sheet).show_run(watch.run, watch.shape, sheets, None)

    def _rows(self) -> list[list[str]]:
        columns = []
        for watch in self._watches:
            view = watch.view
            best, test = view.best, view.test
            columns.append(
                (
                    watch.state,
                    f"{view.epoch:.1f}",
                    str(view.step),
                    readable(best.bits_per_dim if best else None, 4),
                    readable(test.bits_per_dim if test else None, 4),
                    speed(view.images_per_second),
                    f"{view.started.parameters:,}" if view.started else "",
                )
            )
        rows = [[name, *values] for name, *values in zip(FIGURES, *columns, strict=True)]
        configs = [flat(as_dict(watch.config)) if watch.config else {} for watch in self._watches]
        differ = differences([config for config in configs if config])
        return rows + [[key, *(_value(config.get(key)) for config in configs)] for key in differ]

    @on(Sheet.Fitted)
    def _at_one_scale(self) -> None:
        """Images of one size are as large in each run, whatever a cell more or less would allow."""
        for size in {sheet.size_of_images for sheet in self.query(Sheet)} - {None}:
            alike = [sheet.gallery for sheet in self.query(Sheet) if sheet.size_of_images == size]
            scale = min(gallery.shown_scale for gallery in alike)
            for gallery in alike:
                if gallery.shown_scale > scale:
                    gallery.set_scale(scale)

    @property
    def scopes(self) -> list[Scope]:
        """For the help."""
        scope = self.focused_scope
        return [*([scope] if scope else []), "compare", "everywhere"]

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self.query_one(KeyBar).show(in_scope(*self.scopes))

    def offers(self, key: Key) -> bool:
        """What is marked lies over one another already, and nothing is steered from here."""
        return key.id not in ("overlay", *STEERING) and self.app.offers(key)

    @on(SamplesPane.Enlarged)
    def _alone(self, event: SamplesPane.Enlarged) -> None:
        for sheet in self.query(Sheet):
            sheet.set_class(event.one and sheet is not event.pane, "beside")

    def fill(self, pane: Widget | None) -> None:
        lower = self.query_one("#lower")
        for one in self.query(".pane"):
            one.set_class(one is pane, "full")
        lower.set_class(pane is not None and pane in lower.children, "has-full")
        self.set_class(pane is not None, "-full")

    def go_back(self) -> bool:
        """esc: one sample, then the full pane, then the cursor away; whether there was something to leave."""
        curves = self.query_one(CurvesPane)
        if self.leave_one():
            return True
        if self.has_class("-full"):
            self.fill(None)
        elif curves.main.cursor is not None:
            curves.action_cursor()
        else:
            return False
        return True


def shortened(names: Sequence[str]) -> list[str]:
    """Names without the beginning that all share, and without the middle, so that they fit a legend."""
    parts = [name.split("-") for name in names]
    same = 0
    while all(len(p) > same + 1 for p in parts) and len({p[same] for p in parts}) == 1:
        same += 1
    most = 24 if len(names) <= 3 else 12
    return [ends("-".join(p[same:]), most) for p in parts]


def _value(value: object) -> str:
    text = "" if value is None else show_value(value)
    return Path(text).name if text.startswith("/") else text
