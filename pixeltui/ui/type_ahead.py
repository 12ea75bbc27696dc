"""Keys one after another: what is typed ahead goes where the keys before it lead."""

import time
from collections import deque
from typing import Any, Final

from textual import on
from textual.app import App, ReturnType
from textual.events import Event, Key, Paste
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

LOOK_SECONDS: Final = 0.02
"""between looks whether the widget that a key went to is gone, while another waits"""
STUCK_SECONDS: Final = 5.0
"""after which a key is waited for no longer"""
READING_SECONDS: Final = 1.0
"""for which keys wait for a screen that has nothing to show yet"""


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
        self._looks: Timer | None = None
        self._reads_since: float | None = None

    def on_mount(self) -> None:
        self._looks = self.set_interval(LOOK_SECONDS, self._look_ahead, pause=True)

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, Key | Paste):
            await super().on_event(event)
        elif event.is_forwarded:
            await super().on_event(event)
            self._taken(event, done=False)
        else:
            self._waiting.append(event)
            await self._go_on()

    @property
    def _reads(self) -> bool:
        """Whether the screen is still reading what keys would be about; one that takes long is waited for no longer."""
        if not getattr(self.screen, "reads", False):
            self._reads_since = None
            return False
        self._reads_since = self._reads_since or time.monotonic()
        return time.monotonic() - self._reads_since < READING_SECONDS

    async def _go_on(self) -> None:
        """The next key, where none is under way."""
        if self._under_way is not None or (self._waiting and self._reads):
            if self._looks is not None:
                self._looks.resume()
            await self._look_ahead()
            return
        self._done = False
        if self._waiting:
            event = self._under_way = self._waiting.popleft()
            self._since, self._target = time.monotonic(), self.focused or self.screen
            await super().on_event(event)
            self._follow(event, done=False)

    async def _look_ahead(self) -> None:
        """From a widget that went, as a dialog's does with the key that closes it, nothing comes up any more."""
        if self._under_way is not None and time.monotonic() - self._since > STUCK_SECONDS:
            self._under_way = None
            await self._go_on()
        elif self._under_way is not None and not (self._target is not None and self._target.is_attached):
            self._settle(self._under_way)
        elif self._under_way is None and self._waiting and not self._reads:
            await self._go_on()
        if not self._waiting and self._looks is not None:
            self._looks.pause()

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
