"""One run as the console sees it: what its session reports, folded."""

import time
from collections import deque

from pixeltui.config import Config
from pixeltui.curves.points import Curves
from pixeltui.errors import UserError
from pixeltui.events import Acknowledged, AnyEvent, Notice, Started, StateChanged, Step, Telemetry
from pixeltui.session.describe import describe
from pixeltui.session.session import Session
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import RunState, RunView
from pixeltui.ui.sheets import ImageShape

MOST_LINES = 5000


class Watch:
    """A session with the fold of all that it ever reported; outlives the screens that show it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.view = RunView()
        self.curves = Curves()
        self.lines: deque[tuple[str, str]] = deque(maxlen=MOST_LINES)
        """(level, text) of every event but the steps"""
        self.lines_seen = 0
        self.rewinds = 0
        self._config: Config | None = None
        self._shape: ImageShape | None = None

    def poll(self) -> list[AnyEvent]:
        """Folds what is new, and returns it."""
        events = self.session.poll()
        self.view.fold(events)
        self.rewinds += self.curves.fold(events)
        for event in events:
            if not isinstance(event, Step | Telemetry):
                self._log(event)
        return events

    def _log(self, event: AnyEvent) -> None:
        total = self.view.started.total_steps if self.view.started else 0
        text = describe(event, total)
        level: str = event.level if isinstance(event, Notice) else "info"
        match event:
            case StateChanged(state=state, reason=reason) if not text:
                text = f"{state}{f': {reason}' if reason not in ('', 'started', 'resumed') else ''}"
                level = "error" if state == "failed" else "state"
            case Acknowledged(ok=False):
                text, level = f"{event.command} refused: {event.message}", "warning"
            case Started():
                level = "state"
            case _:
                pass
        if text:
            self.lines.append((level, f"{time.strftime('%H:%M:%S', time.localtime(event.t))}  {text}"))
            self.lines_seen += 1

    @property
    def run(self) -> RunDir | None:
        return self.session.run

    @property
    def state(self) -> RunState:
        """A run that has not begun to train counts as training."""
        if self.view.last_state is None and self.session.alive:
            return "training"
        return self.view.state(locked=self.session.alive)

    @property
    def config(self) -> Config | None:
        if self._config is None and self.run is not None:
            try:
                self._config = self.run.config()
            except UserError:
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
