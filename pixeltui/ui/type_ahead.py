"""Keys one after another: what is typed ahead goes where the keys before it lead."""

import time
from collections import deque
from typing import Any, Final

from textual import on
from textual.app import App, ReturnType
from textual.events import Event, Key, Paste
from textual.message import Message
from textual.widget import Widget

LOST_SECONDS: Final = 0.5
STUCK_SECONDS: Final = 5.0
"""after which a key is waited for no longer: where its widget is gone; in any case"""


class Taken(Message):
    """Comes up behind a key to where that went, also where the key itself was stopped."""

    def __init__(self, event: Event, *, done: bool) -> None:
        """done: what the key did is done; this comes up behind the messages that it sent."""
        super().__init__()
        self.event, self.done = event, done


class TypeAheadApp(App[ReturnType], inherit_bindings=False):
    """Holds each key back until the one before has done what it does, a new focus or screen included.

    Textual hands a key to the widget that has the focus when it is read. A slow line delivers several at once: without
    this the words behind `/` would be keys of the table, and the `d` among them would leave.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting: deque[Event] = deque()
        self._under_way: Event | None = None
        self._target: Widget | None = None
        self._done = False
        self._since = 0.0

    def on_mount(self) -> None:
        self.set_interval(LOST_SECONDS, self._go_on)

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, Key | Paste):
            await super().on_event(event)
        elif event.is_forwarded:
            await super().on_event(event)
            self._taken(event, done=False)
        else:
            self._waiting.append(event)
            await self._go_on()

    async def _go_on(self) -> None:
        """The next key, where none is under way."""
        if self._under_way is not None and not self._lost:
            return
        self._under_way, self._done = None, False
        if self._waiting:
            event = self._under_way = self._waiting.popleft()
            self._since, self._target = time.monotonic(), self.focused or self.screen
            await super().on_event(event)
            self._follow(event, done=False)

    @property
    def _lost(self) -> bool:
        there = self._target is not None and self._target.is_attached
        return time.monotonic() - self._since > (STUCK_SECONDS if there else LOST_SECONDS)

    def _follow(self, event: Event, *, done: bool) -> None:
        if self._target is None or not self._target.post_message(Taken(event, done=done)):
            self._taken(event, done=done)

    @on(Taken)
    def _came_up(self, message: Taken) -> None:
        self._taken(message.event, done=message.done)

    def _taken(self, event: Event, *, done: bool) -> None:
        if event is not self._under_way:
            return
        if done:
            self.call_later(self._settle, event)
        elif not self._done:
            self._done = True
            self._follow(event, done=True)

    def _settle(self, event: Event) -> None:
        if not self.screen.call_later(self.call_later, self._next, event):
            self.call_later(self._next, event)

    async def _next(self, event: Event) -> None:
        if event is self._under_way:
            self._under_way = None
            await self._go_on()
