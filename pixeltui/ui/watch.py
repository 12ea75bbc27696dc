"""One run as the console sees it: what its session reports, folded."""

import threading
import time
from collections import deque

from pixeltui.config import Config
from pixeltui.curves.points import Curves
from pixeltui.errors import UserError
from pixeltui.events import Acknowledged, AnyEvent, Notice, Started, StateChanged, Step, Telemetry
from pixeltui.session.describe import describe
from pixeltui.session.session import Session
from pixeltui.store.log import LONG, EventReader, glance
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import RunState, RunView
from pixeltui.ui.sheets import ImageShape

MOST_LINES = 5000
MOST_STEPS = 512


class Fold:
    """What a run's events add up to for a console: figures, curves, and a line for every event that people care for."""

    def __init__(self, expected: int = 0) -> None:
        """expected: how many events there are about."""
        self.view = RunView(most_steps=MOST_STEPS)
        self.curves = Curves(expected)
        self.lines: deque[tuple[str, str]] = deque(maxlen=MOST_LINES)
        """(level, text)"""
        self.lines_seen = 0
        self._told = ""
        """by the newest notice"""

    def add(self, events: list[AnyEvent], *, told: bool = True) -> bool:
        """Whether points went away from the curves. told: whether these events have lines."""
        self.view.fold(events)
        if told:
            for event in events:
                if not isinstance(event, Step | Telemetry):
                    self._log(event)
        return self.curves.fold(events)

    def _log(self, event: AnyEvent) -> None:
        total = self.view.started.total_steps if self.view.started else 0
        text = describe(event, total)
        level = "info"
        match event:
            case StateChanged(state=state, reason=reason) if not text:
                text = f"{state}{f': {reason}' if reason not in ('', 'started', 'resumed', self._told) else ''}"
                level = "error" if state == "failed" else "state"
            case Acknowledged(ok=False):
                text, level = f"{event.command} refused: {event.message}", "warning"
            case Started():
                level = "state"
            case Notice():
                level, self._told = event.level, event.message
            case _:
                pass
        if text:
            self.lines.append((level, f"{time.strftime('%H:%M:%S', time.localtime(event.t))}  {text}"))
            self.lines_seen += 1


class Watch:
    """A session with the fold of all that it ever reported; outlives the screens that show it.

    At a long log the first poll takes a glance; then a thread reads all of it, and the polls give nothing until it has.
    """

    def __init__(self, session: Session, *, whole: bool = True) -> None:
        """whole: False: where the log is long, a glance is enough."""
        self.session = session
        self.rewinds = 0
        self.why_no_config = ""
        self.share_read: float | None = None
        """of a long log, while it is being read"""
        self._fold = Fold()
        self._whole = whole
        self._begun = False
        self._reading: threading.Thread | None = None
        self._read: Fold | None = None
        self._config: Config | None = None
        self._shape: ImageShape | None = None

    @property
    def view(self) -> RunView:
        return self._fold.view

    @property
    def curves(self) -> Curves:
        return self._fold.curves

    @property
    def lines(self) -> deque[tuple[str, str]]:
        return self._fold.lines

    @property
    def lines_seen(self) -> int:
        return self._fold.lines_seen

    def poll(self) -> list[AnyEvent]:
        """Folds what is new, and returns it."""
        past = self.session.past
        if past is not None and not self._begun:
            self._begun = True
            if past.unread > LONG:
                self._glance(past)
        if self.share_read is not None:
            if self._read is None:
                return []
            self._fold, self._reading, self.share_read = self._read, None, None
            self.rewinds += 1
        events = self.session.poll()
        self.rewinds += self._fold.add(events)
        return events

    def _glance(self, past: EventReader) -> None:
        events, expected = glance(past.path)
        self._fold.add(events, told=False)
        self.share_read = 0.0
        if self._whole:
            self._reading = threading.Thread(target=self._read_all, args=(past, expected), daemon=True)
            self._reading.start()

    def _read_all(self, past: EventReader, expected: int) -> None:
        fold, size = Fold(expected), past.unread
        for events in past.pieces():
            fold.add(events)
            self.share_read = 1 - past.unread / max(size, 1)
        self._read = fold

    def wait(self) -> None:
        """Until a long log has been read, so that the next poll has all of it: for threads that may block."""
        if self._reading is not None:
            self._reading.join()

    @property
    def run(self) -> RunDir | None:
        return self.session.run

    @property
    def state(self) -> RunState:
        """As the list says it: one that has not begun to train counts as training, or as crashed."""
        if self.view.last_state is None:
            return "training" if self.session.alive else "crashed"
        return self.view.state(locked=self.session.alive)

    @property
    def config(self) -> Config | None:
        if self._config is None and self.run is not None:
            try:
                self._config = self.run.config(resumed=True)
            except UserError as error:
                self.why_no_config = str(error)
                return None
        return self._config

    @property
    def shape(self) -> ImageShape | None:
        if self._shape is None and self.run is not None:
            try:
                self._shape = ImageShape.of(self.run)
            except UserError:
                return None
        return self._shape

    def prepare(self) -> None:
        """Reads config and shape, so that asking for them later touches no file."""
        _ = self.config, self.shape
