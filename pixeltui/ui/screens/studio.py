"""A screen that asks the process that draws, and hears those of its answers that are still of interest."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pixeltui.errors import printable
from pixeltui.session.studio import AnyWishType
from pixeltui.session.wishes import (
    AnyAnswer,
    Found,
    Kept,
    Progress,
    Refused,
    Rows,
    Scored,
)
from pixeltui.ui.screens.sized import SizedScreen

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

Drawing = Literal["draw", "complete"]
LOOK_SECONDS = 0.1
SLOW_LOOK_SECONDS = 3.0


class StudioScreen(SizedScreen):
    """Polls the studio while it is on top. What is to be seen of an answer is for take_* to say."""

    app: "Console"

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, int] = {}
        """numbers of the wishes whose answers are still of interest: by drawing, "found", and "scored"."""
        self.kept = ""
        """path of what was kept last"""

    def on_mount(self) -> None:
        self.set_interval(SLOW_LOOK_SECONDS if self.app.ui.low_bandwidth else LOOK_SECONDS, self._look)

    def ask(self, topic: str, wish: AnyWishType) -> None:
        """topic: "" where no later wish is to replace this one."""
        number = self.app.studio.ask(wish)
        if topic:
            self.newest[topic] = number

    def forget(self, topic: str) -> None:
        """No answer to the last wish of this kind is of interest any more."""
        self.newest.pop(topic, None)

    def _look(self) -> None:
        if self.app.screen is not self:
            return
        if self.someone_trains():
            self.app.studio.be_gentle()
        for answer in self.app.studio.poll():
            self._take(answer)

    def _take(self, answer: AnyAnswer) -> None:
        match answer:
            case Progress(text=text):
                self.say(f"{text} …")
            case Rows() if self.newest.get("draw") == answer.id:
                self.take_rows("draw", answer)
            case Rows() if self.newest.get("complete") == answer.id:
                self.take_rows("complete", answer)
            case Found() if self.newest.get("found") == answer.id:
                self.take_found(answer)
            case Scored() if self.newest.get("scored") == answer.id:
                self.take_scored(answer)
            case Kept(path=path):
                self.kept = path
                self.say(f"kept: {path}")
                within = "/".join(Path(path).parts[-2:])
                self.notify(printable(within), title="kept, with what produced it beside it", markup=False, timeout=5)
            case Refused(message=message):
                self.take_refusal()
                self.say(message, wrong=True)
                self.notify(printable(message), severity="warning", markup=False, timeout=8)
            case _:
                pass

    # -- for the screen to say -------------------------------------------------------------------------------------

    def someone_trains(self) -> bool:
        """Whether a run trains on this machine, which then comes first."""
        raise NotImplementedError

    def say(self, text: str, *, wrong: bool = False) -> None:
        raise NotImplementedError

    def take_rows(self, drawing: Drawing, rows: Rows) -> None:
        raise NotImplementedError

    def take_found(self, found: Found) -> None:
        raise NotImplementedError

    def take_scored(self, scored: Scored) -> None:
        raise NotImplementedError

    def take_refusal(self) -> None:
        raise NotImplementedError
