"""The inspection screen: verdicts, pictures and tables of what a run's weights do inside, a pane a digit.

A process of its own computes a pane when one first looks at it; what it shows stays until one asks for more images.
"""

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from textual.app import ComposeResult
from textual.binding import BindingType

from pixeltui.errors import printable
from pixeltui.inspection import IMAGES
from pixeltui.session.wishes import AnyAnswer, Inspect, Kept, Model, Pane, Progress, Refused, Stop
from pixeltui.store.files import is_locked
from pixeltui.store.rundir import RunDir
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import bindings, in_scope
from pixeltui.ui.screens.bars import KeyBar, ProgressLine, TitleBar
from pixeltui.ui.screens.sized import SizedScreen
from pixeltui.ui.screens.studio import LOOK_SECONDS, SLOW_LOOK_SECONDS
from pixeltui.ui.widgets.inspected import Inspected

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


class InspectScreen(SizedScreen):
    """Asks the studio for the pane that one looks at, and polls it."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("inspect")]

    app: "Console"
    scopes: ClassVar[list[Scope]] = ["inspect", "everywhere"]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run
        self.images = IMAGES
        self.most: int | None = None
        """images that there are, once that is known"""
        self.name_shown: Name = "bits"
        self.panes: dict[str, Pane] = {}
        self._asked: dict[int, str] = {}
        """numbers of wishes to panes"""
        self._said = ""

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield ProgressLine()
        yield Inspected()
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(KeyBar).show(in_scope("inspect", "everywhere"))
        self.set_interval(SLOW_LOOK_SECONDS if self.app.ui.low_bandwidth else LOOK_SECONDS, self._look)
        self.action_pane("bits")

    @property
    def seen(self) -> Inspected:
        return self.query_one(Inspected)

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
                self.images, self.most = answer.images, answer.most
                self._say("", 1.0)
                if answer.name == self.name_shown:
                    self.seen.show(answer)
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
        self.seen.wait(text)
        self.query_one(ProgressLine).show(share, "accent", f"{share:.0%}" if text else "")
        self._show_title()

    def _show_title(self) -> None:
        self.query_one(TitleBar).show(f"{self.run.name} · inside", self._said or f"{self.images} images")
        tabs = [f"▸{title}" if name == self.name_shown else title for name, title in TITLES.items()]
        self.seen.border_title = "  ".join(tabs)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, name: str) -> None:
        """In place of whatever is being computed, which is asked for again when one looks at it again."""
        wish = Inspect(id=0, model=Model(run=str(self.run.path)), pane=name, images=self.images)
        self._asked = {self.app.studio.ask(wish): name}
        self._say("starting torch …" if not self.app.studio.warm else "computing …", 0.0)

    def action_pane(self, name: Name) -> None:
        self.name_shown = name
        self.seen.show(self.panes.get(name))
        if name not in self.panes and name not in self._asked.values():
            self._ask(name)
        self._show_title()

    def action_more(self) -> None:
        if self.most is not None and self.images >= self.most:
            self.notify(f"these are all {self.most} images of the test split", timeout=4)
            return
        self.images *= 2
        self.panes.clear()
        self.seen.show(None)
        self._ask(self.name_shown)

    def action_write(self) -> None:
        self._ask("files")

    # -- moving ----------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        self.seen.move(by)

    def action_turn(self, by: int) -> None:
        self.seen.turn(by)

    def action_page(self, by: int) -> None:
        self.seen.page(by)

    def action_scale(self, by: int) -> None:
        self.seen.gallery.action_zoom(by)

    def action_renderer(self) -> None:
        self.seen.gallery.action_toggle_renderer()

    def action_full(self) -> None:
        self.seen.see_one()

    def go_back(self) -> bool:
        """esc: out of the one picture; whether there was something to leave."""
        if self.seen.see_all():
            return True
        self.app.studio.ask(Stop(id=0))
        return False
