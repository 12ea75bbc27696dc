"""Watching and steering a run of another process through its files, or reading one that is over."""

import time
from collections import deque
from typing import Literal

from pixeltui.errors import UserError
from pixeltui.events import Acknowledged, AnyCommand, AnyEvent, Frame, Notice
from pixeltui.store import control
from pixeltui.store.files import describe_holder
from pixeltui.store.frames import FrameReader
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir

PROBE_SECONDS = 1.0
ANSWER_SECONDS = 10.0


class AttachedSession:
    """A Session over a run directory: follows events.jsonl, drops commands into control/."""

    local = False
    status = ""

    def __init__(self, run: RunDir, *, read_only: bool = False) -> None:
        self.run = run
        self.looks_on = read_only
        self.past = EventReader(run.events_path)
        self._frames = FrameReader(run.frame_path)
        self._alive = run.is_locked()
        self._probe_at = time.monotonic() + PROBE_SECONDS
        self._asked: dict[str, tuple[str, float]] = {}
        self._notices: deque[AnyEvent] = deque()

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def read_only(self) -> bool:
        return self.looks_on or not self._alive

    def poll(self) -> list[AnyEvent]:
        died = self._probe()
        events = self.past.read_new()
        for event in events:
            if isinstance(event, Acknowledged):
                self._asked.pop(event.id, None)
        if died:
            self._ended()
        self._overdue()
        while self._notices:
            events.append(self._notices.popleft())
        return events

    def _probe(self) -> bool:
        """Whether the process that trained has just gone; its last events are in the log by then."""
        now = time.monotonic()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_SECONDS
        before, self._alive = self._alive, self.run.is_locked()
        return before and not self._alive

    def _ended(self) -> None:
        self._asked.clear()
        self._notice("info", "gone", f"the process that trained has ended; its whole story is in {self.run.log_path}")

    def _overdue(self) -> None:
        now = time.monotonic()
        for command_id, (name, since) in list(self._asked.items()):
            if now - since > ANSWER_SECONDS:
                del self._asked[command_id]
                self._notice(
                    "warning",
                    "control",
                    f"{name}: {describe_holder(self.run.path)} has not answered yet; it may be busy",
                )

    def _notice(self, level: Literal["info", "warning"], kind: str, message: str) -> None:
        self._notices.append(Notice(t=time.time(), level=level, kind=kind, message=message))

    def send(self, command: AnyCommand) -> None:
        if self.read_only:
            raise UserError("opened to read only" if self._alive else f"run {self.run.name} is not training")
        command_id = control.post(self.run.control_dir, command)
        self._asked[command_id] = str(type(command).__struct_config__.tag), time.monotonic()

    def latest_frame(self) -> Frame | None:
        return self._frames.newest() if self._alive else None

    def close(self) -> None:
        pass
