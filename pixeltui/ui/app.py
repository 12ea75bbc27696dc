"""The console: which screen one is on, the training of this process, and how one leaves."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from signal import Signals as Signal
from typing import Any, ClassVar, Final, Literal, NamedTuple

from textual import on
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.command import CommandPalette, Hit, Hits, Provider
from textual.driver import Driver
from textual.events import Event, InputEvent
from textual.filter import LineFilter
from textual.screen import Screen
from textual.system_commands import SystemCommandsProvider
from textual.widgets import Input

from pixeltui import config
from pixeltui.errors import UserError
from pixeltui.events import Stop
from pixeltui.session.attach import AttachedSession
from pixeltui.session.inbox import Signals
from pixeltui.session.local import LocalSession
from pixeltui.session.session import Session
from pixeltui.session.studio import Studio
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import RunDir
from pixeltui.ui.collector import Collector
from pixeltui.ui.colors import DARK, LIGHT, current_depth
from pixeltui.ui.driver import HANGUP, HangupDriver
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import KEYS, Key, bindings
from pixeltui.ui.run_list import Known
from pixeltui.ui.screens.browser import BrowserScreen
from pixeltui.ui.screens.dialogs import Ask, Choice, Help
from pixeltui.ui.screens.inspect import InspectScreen
from pixeltui.ui.screens.sampling import SamplingScreen
from pixeltui.ui.screens.training import TrainingScreen
from pixeltui.ui.shown import SparingApp
from pixeltui.ui.type_ahead import TypeAheadApp
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.palette import depth_filters, textual_theme

Exit = Literal["quit", "detach", "stopped", "hangup", "signal"]

SLOW_SECONDS: Final = 7.0
"""between two updates over a slow connection"""
SLOW_IMAGE_SECONDS: Final = 20.0
"""an image of 32x32 pixels is some 11 kB in 256 colours"""
STATUS_SECONDS: Final = 0.5
SWITCH_SECONDS: Final = 0.001
"""How long the training thread may keep the interpreter from the console."""


class Pace(NamedTuple):
    """Seconds between two updates of each kind."""

    curves: float
    images: float
    status: float
    log: float

    @classmethod
    def of(cls, ui: config.Ui) -> "Pace":
        curves, images = 1 / ui.curves_per_second, 1 / ui.images_per_second
        if not ui.low_bandwidth:
            return cls(curves, images, STATUS_SECONDS, 0.0)
        return cls(max(curves, SLOW_SECONDS), max(images, SLOW_IMAGE_SECONDS), SLOW_SECONDS, SLOW_SECONDS)


class ActionsByName(SystemCommandsProvider):
    """Words of an action's name count more than those of what it does."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        async for hit in super().search(query):
            if isinstance(hit, Hit):
                yield replace(hit, score=hit.score + matcher.match((hit.text or "").partition(":")[0]))


class Console(SparingApp[Exit], TypeAheadApp[Exit], inherit_bindings=False):
    """Opens on a new training (`request`), on a run (`session`), or on the run browser."""

    TITLE = "pixeltui"
    CSS_PATH = "pixeltui.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {ActionsByName}
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("everywhere")]

    def __init__(
        self,
        runs_dir: Path,
        *,
        ui: config.Ui | None = None,
        request: TrainRequest | None = None,
        session: Session | None = None,
        signals: Signals | None = None,
        collector: Collector | None = None,
        first_listing: Callable[[], Known | None] = lambda: None,
    ) -> None:
        """collector: of a process that is this console's own. first_listing: what is known of the runs at the start."""
        super().__init__(driver_class=_driver_class(), watch_css=False)
        self.runs_dir = runs_dir
        self.ui = ui or config.Ui()
        self.animation_level = "none"
        self.keymap = dict(self.ui.keys)
        self.training: Watch | None = None
        """of the run that trains, or trained, in this process"""
        self.marked: set[str] = set()
        self.studio = Studio()
        self.pace = Pace.of(self.ui)
        self._request, self._session = request, session
        self._signals = signals or Signals()
        self._collector = collector
        self._listed = first_listing
        self._spared = False
        self._last_input = time.monotonic()
        self._stopping = False

    # -- start -----------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        for theme in (DARK, LIGHT):
            self.register_theme(textual_theme(theme))
        self.theme = (DARK if self.ui.theme == "dark" else LIGHT).name
        self.set_keymap(self.keymap)
        if self._request is not None:
            self.train(self._request)
        elif self._session is not None:
            self.push_screen(TrainingScreen(Watch(self._session)))
        else:
            self.push_screen(BrowserScreen())
        self.set_interval(0.25, self._look)

    def notify(self, message: str, **how: Any) -> None:
        """Once, while the same is still to be read."""
        if all(one.message != message for one in self._notifications):
            super().notify(message, **how)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return depth_filters(current_depth())

    def may_train(self) -> bool:
        """Whether no run trains in this process; where one does, that is said."""
        if self.trains:
            self.notify("a run trains in this console already: stop it first, or detach", severity="warning")
        return not self.trains

    def train(self, request: TrainRequest) -> None:
        """Trains in this process. One run at a time."""
        if not self.may_train():
            return
        sys.setswitchinterval(SWITCH_SECONDS)
        session = LocalSession(request, also=self._signals)
        self.training = Watch(session)
        screen = TrainingScreen(self.training)
        if isinstance(self.screen, TrainingScreen):
            self.switch_screen(screen)  # of the run as it was until now
        else:
            self.push_screen(screen)
        # Importing torch keeps the interpreter for long: the screen is painted before that.
        screen.call_after_refresh(self.set_timer, 0.05, session.start)

    def open_run(self, run: RunDir) -> None:
        """The training screen on any run: with its keys where it trains, here or elsewhere."""
        if self.training is not None and self.training.run is not None and self.training.run.path == run.path:
            for screen in self.screen_stack:
                if isinstance(screen, TrainingScreen) and screen.watched is self.training:
                    self._pop_to(screen)
                    return
            self.push_screen(TrainingScreen(self.training))
            return
        self.push_screen(TrainingScreen(Watch(AttachedSession(run))))

    def open_sampling(self, run: RunDir) -> None:
        """The sampling screen on a run, whoever trains it."""
        self.push_screen(SamplingScreen(run))

    def open_inspection(self, run: RunDir) -> None:
        """What a run's weights do inside, whoever trains it."""
        self.push_screen(InspectScreen(run))

    def on_unmount(self) -> None:
        self.studio.close()

    @on(CommandPalette.Opened)
    def _palette_opened(self) -> None:
        """Nothing blinks over a line where bytes count."""
        self.screen.query_one(Input).cursor_blink = False

    def first_listing(self) -> Known | None:
        """To the first who asks."""
        listed, self._listed = self._listed, lambda: None
        return listed()

    def show_runs(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, BrowserScreen):
                self._pop_to(screen)
                return
        self.push_screen(BrowserScreen())

    def _pop_to(self, screen: Screen[None]) -> None:
        while self.screen is not screen and len(self.screen_stack) > 1:
            self.pop_screen()

    @property
    def training_session(self) -> LocalSession | None:
        """Of the run that trains, or trained, in this process."""
        session = self.training.session if self.training else None
        return session if isinstance(session, LocalSession) else None

    # -- leaving ---------------------------------------------------------------------------------------------------

    @property
    def trains(self) -> bool:
        return self.training is not None and self.training.session.alive

    @property
    def stopped_by(self) -> Signal | None:
        """The signal that asked this process to end."""
        return self._signals.stopped_by

    @property
    def gave_up(self) -> bool:
        """Whether it left a terminal that reads nothing as it was."""
        return isinstance(self._driver, HangupDriver) and self._driver.gave_up

    @property
    def _steered(self) -> Watch | None:
        """The run that trains here or, where none does, one that this console could stop elsewhere."""
        if self.trains:
            return self.training
        screens = [screen for screen in reversed(self.screen_stack) if isinstance(screen, TrainingScreen)]
        watched = [screen.watched for screen in screens if not screen.watched.session.read_only]
        return watched[0] if watched else None

    def action_leave(self) -> None:
        watch = self._steered
        if watch is None:
            self.exit("quit")
            return
        if isinstance(self.screen, Ask):
            return
        name = watch.run.name if watch.run is not None else "RUN"
        session = watch.session
        paused = session.paused if isinstance(session, LocalSession) else watch.state == "paused"
        goes_on = (
            f"it stays paused until p in pixeltui attach {name}" if paused else "training goes on without this terminal"
        )
        choices = [
            Choice("d", f"detach: {goes_on}", "detach"),
            Choice("s", "stop: write a checkpoint, then end", "stop"),
        ]
        where = "in this console" if self.trains else "in another process"
        body = f"A run {'is paused' if paused else 'trains'} {where}."
        self.push_screen(Ask("Leave", body, choices), lambda answer: self._left(answer, watch))

    def _left(self, answer: str | None, watch: Watch) -> None:
        if answer == "detach":
            self.exit("detach" if self.trains else "quit")
        elif answer == "stop":
            self._stopping = self.trains
            try:
                watch.session.send(Stop(reason="the console"))
                self.notify("writing a checkpoint, then leaving", timeout=30)
            except UserError:
                self.exit("stopped")
            if not self._stopping:
                self.exit("quit")

    def action_detach(self) -> None:
        """The console ends, training goes on."""
        self.exit("detach" if self.trains else "quit")

    def _look(self) -> None:
        """What happened to the process: a signal, or the end of a training that was asked to stop."""
        if self._signals.stopped_by is not None:
            self.exit("signal")
        elif isinstance(self._driver, HangupDriver) and self._driver.gone:
            self.exit("hangup")  # once more: before the console is up the first is lost
        elif self._stopping and not self.trains:
            self.exit("stopped")
        if self._collector is not None:
            if not self._spared and self.training is not None and self.training.view.steps:
                self._spared = True  # torch, the model and the data are there from the first step on
                self._collector.spare()
            self._collector.look(time.monotonic() - self._last_input)

    async def on_event(self, event: Event) -> None:
        if isinstance(event, InputEvent):
            self._last_input = time.monotonic()
        await super().on_event(event)

    # -- actions ---------------------------------------------------------------------------------------------------

    async def action_back(self) -> None:
        go_back: Callable[[], bool] | None = getattr(self.screen, "go_back", None)
        if go_back is not None and go_back():
            return
        # The lowest screen is textual's own, which is blank.
        if len(self.screen_stack) > 2:
            self.pop_screen()
        else:
            self.notify("q leaves", timeout=2)

    def action_toggle_dark(self) -> None:
        self.theme = (LIGHT if self.current_theme.dark else DARK).name

    def action_show_help(self) -> None:
        scopes: list[Scope] = getattr(self.screen, "scopes", ["everywhere"])
        self.push_screen(Help(scopes, self.keymap, getattr(self.screen, "offers", self.offers)))

    def offers(self, key: Key) -> bool:
        """Whether a key does anything, on a screen that says nothing of its own."""
        return key.id != "detach" or self.trains

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen and of its focused pane, by name."""
        scopes: list[Scope] = getattr(screen, "scopes", ["everywhere"])
        offers: Callable[[Key], bool] = getattr(screen, "offers", self.offers)
        focused = screen.focused
        spaces = [*(focused.ancestors_with_self if focused else ()), screen, self]
        for key in KEYS:
            if key.scope in scopes and key.palette and key.id != "palette" and offers(key):
                # In one line: what is typed is looked for there, and in no help below it.
                title = f"{key.label[:1].upper()}{key.label[1:]}: {key.meaning}  ({key.shown(self.keymap)})"
                yield SystemCommand(title, "", self._runner(key.action, spaces))

    def _runner(self, action: str, spaces: Sequence[object]):  # type: ignore[no-untyped-def]
        async def run() -> None:
            for space in spaces:
                if await self.run_action(action, space):  # type: ignore[arg-type]
                    return

        return run


def _driver_class() -> type[Driver] | None:
    """None: textual's choice, where no terminal is there to lose (tests)."""
    there = "PIXELTUI_TERMINAL" in os.environ or (sys.__stdin__ is not None and sys.__stdin__.isatty())
    return HangupDriver if sys.platform != "win32" and there else None


__all__ = ["HANGUP", "Console", "Exit"]
