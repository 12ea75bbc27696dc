"""The training screen: one run, live or past, in this process or another."""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, ClassVar

from textual import events as textual_events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from pixeltui import events
from pixeltui.config import Config
from pixeltui.curves.ticks import format_rate
from pixeltui.errors import UserError, printable
from pixeltui.events import AnyCommand, AnyEvent
from pixeltui.store.rundir import RunDir
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import STEERING, Key, bindings, in_scope
from pixeltui.ui.screens.bars import KeyBar, ProgressLine, TitleBar
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.dialogs import Prompt
from pixeltui.ui.screens.panes import PanesScreen, pane_of
from pixeltui.ui.screens.run_actions import resume
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import ConfigPane, LogPane
from pixeltui.ui.status import STATE_COLORS, items
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.gallery import Gallery
from pixeltui.ui.widgets.state_strip import StateStrip

if TYPE_CHECKING:
    from pixeltui.ui.app import Console

TELLING = (events.Started, events.StateChanged)
"""events after which the strip is out of date at once"""
POLL_SECONDS = 0.25
OF_A_RUN = {"draw", "inspect"}
"""keys that ask for what a run has made"""
EARLY = 0.01
"""a timer that comes a moment early is not early"""


class TrainingScreen(PanesScreen):
    """Polls its session and hands what is new to the panes; nobody calls it from the training thread."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("training")]

    app: "Console"

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watched = watch
        self._lines_shown = 0
        self._rewinds = -1
        self._due: dict[str, float] = {}
        self._keys_hang_on: tuple[bool, ...] = ()
        self._wants_pause: bool | None = None
        """what was asked for last, until the run is so"""
        self._named = False

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield ProgressLine()
        yield StateStrip(lines=2, narrow_lines=3)
        with Horizontal(id="panes"):
            with Vertical(id="left"):
                yield CurvesPane(id="curves", live=self.watched.session.alive)
                yield LogPane(id="log")
            with Vertical(id="right"):
                yield SamplesPane(id="samples")
                yield ConfigPane(id="config")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(CurvesPane).main.focus()
        self._tick()
        self.set_interval(min(POLL_SECONDS, self.app.pace.curves, self.app.pace.images), self._tick)

    def on_screen_resume(self) -> None:
        self._named = False
        self._tick()

    def on_descendant_focus(self, event: textual_events.DescendantFocus) -> None:
        self._show_keys()

    def _show_keys(self) -> None:
        paused, self._keys_hang_on = self.watched.state == "paused", self._for_keys
        scope = self.focused_scope
        keys = in_scope("everywhere", "training", *((scope,) if scope else ()))
        if paused:
            keys = [replace(key, label="go on") if key.id == "pause" else key for key in keys]
        self.query_one(KeyBar).show(keys)

    @property
    def _for_keys(self) -> tuple[bool, ...]:
        return self._can_steer, self.watched.state == "paused", self.watched.run is not None

    @property
    def _can_steer(self) -> bool:
        return not self.watched.session.read_only

    def offers(self, key: Key) -> bool:
        """What steers a run is of no use where nothing trains, or one only looks on; pictures have a run."""
        if key.id == "detach":
            return self.watched.session.alive
        if key.id == "resume-here":
            return self._can_resume
        if key.id in OF_A_RUN:
            return self.watched.run is not None
        return self._can_steer or key.id not in STEERING

    @property
    def _can_resume(self) -> bool:
        session = self.watched.session
        return not session.alive and not session.looks_on and session.run is not None

    @property
    def scopes(self) -> list[Scope]:
        """For the help."""
        scope = self.focused_scope
        return [*([scope] if scope else []), "training", "everywhere"]

    # -- what is new -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self.app.screen is not self:
            if self._is_below_dialogs:  # what is behind them is not drawn: each time it would be the whole screen
                self._tell(self.watched.poll())
            return
        new = self.watched.poll()
        if self._wants_pause == (self.watched.state == "paused"):
            self._wants_pause = None
        pace = self.app.pace
        curves = self.query_one(CurvesPane)
        if self._rewinds != self.watched.rewinds:
            self._rewinds = self.watched.rewinds
            curves.show(self.watched.curves, self.watched.run)
        elif self._is_due("curves", pace.curves):
            curves.update_data()
        if self._is_due("status", pace.status, at_once=any(isinstance(event, TELLING) for event in new)):
            self._show_status()
        if self._is_due("samples", pace.images):
            self._show_samples()
        if self._is_due("log", pace.log):
            self._show_lines()
        self._tell(new)

    @property
    def _is_below_dialogs(self) -> bool:
        above = takewhile(lambda screen: screen is not self, reversed(self.app.screen_stack))
        return all(isinstance(screen, ModalScreen) for screen in above)

    def _is_due(self, what: str, seconds: float, *, at_once: bool = False) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0) and not at_once:
            return False
        self._due[what] = now + seconds - EARLY
        return True

    def _show_status(self) -> None:
        watch = self.watched
        self.query_one(StateStrip).set_items(items(watch))
        view, started = watch.view, watch.view.started
        total = started.total_steps if started else 0
        share = view.step / total if total else 0.0
        state = watch.state
        self.query_one(ProgressLine).show(share, STATE_COLORS[state], f"{share:.0%}")
        name = watch.run.name if watch.run else "new run"
        where = "here" if watch.session.local else "in another process"
        remark = f"{'paused' if state == 'paused' else 'trains'} {where}" if watch.session.alive else "over"
        if watch.session.alive and watch.session.read_only:
            remark = "read only"
        self.query_one(TitleBar).show(name, remark)
        self.query_one(CurvesPane).run = watch.run
        if self._keys_hang_on != self._for_keys:
            self._show_keys()
        if not self._named and (watch.config is not None or watch.why_no_config):
            self._named = True
            self.query_one(ConfigPane).show(watch.config, watch.why_no_config)

    def _show_samples(self) -> None:
        watch = self.watched
        sheets = [(sample.step, sample.path) for sample in watch.view.samples]
        pane = self.query_one(SamplesPane)
        pane.has_next = self._can_steer
        pane.show_run(watch.run, watch.shape, sheets, watch.session.latest_frame())

    def _show_lines(self) -> None:
        new = self.watched.lines_seen - self._lines_shown
        if new:
            self._lines_shown = self.watched.lines_seen
            self.query_one(LogPane).add(list(self.watched.lines)[-new:])

    def _tell(self, new: list[AnyEvent]) -> None:
        for event in new[-50:]:
            old = time.time() - event.t > 5
            if isinstance(event, events.Notice) and event.level != "info" and not old:
                severity = "error" if event.level == "error" else "warning"
                self.notify(self._with_log(event), severity=severity, timeout=12, markup=False)  # type: ignore[arg-type]
            elif isinstance(event, events.Acknowledged) and not event.ok and not old:
                self.notify(
                    printable(event.message), title=f"{event.command} refused", severity="warning", markup=False
                )
            elif isinstance(event, events.CheckpointSaved) and not event.best and not old:
                self.notify(f"{event.path}, {event.bytes / 1e6:.1f} MB", title="checkpoint", timeout=3, markup=False)

    def _with_log(self, notice: events.Notice) -> str:
        """What it says and, of an error, where more is told."""
        path = str(self.watched.run.log_path) if self.watched.run is not None else ""
        more = f"\nlog: {printable(path)}" if notice.level == "error" and path not in notice.message else ""
        return printable(notice.message) + more

    # -- commands --------------------------------------------------------------------------------------------------

    def _send(self, command: AnyCommand, told: str) -> None:
        try:
            self.watched.session.send(command)
        except UserError as error:
            self.notify(printable(error), severity="warning", markup=False)
        else:
            self.notify(told, timeout=2, markup=False)

    def action_toggle_pause(self) -> None:
        """The other way round at once, also where the run has not come to the pause that was asked for."""
        paused = self.watched.state == "paused" if self._wants_pause is None else self._wants_pause
        self._wants_pause = not paused
        if paused:
            self._send(events.Resume(), "training goes on")
        else:
            self._send(events.Pause(), "pausing after this step")

    def action_checkpoint(self) -> None:
        self._send(events.SaveCheckpoint(), "writing a checkpoint")

    def action_sample(self) -> None:
        temperature = self.query_one(SamplesPane).temperature
        self._send(events.DrawSample(temperature=temperature), "drawing samples")

    def action_evaluate(self) -> None:
        self._send(events.Evaluate(), "scoring the validation split")

    def action_learning_rate(self) -> None:
        if not self._can_steer:
            self.notify("no rate to change: nothing trains here", severity="warning")
            return
        steps, config = self.watched.view.steps, self.watched.config
        peak = self.watched.view.peak_lr or (config or Config()).train.lr
        offered, now = format_rate(peak, 6), f", now at {format_rate(steps[-1].lr)}" if steps else ""
        hint = f"the peak of the schedule; it was {offered}{now}"
        self.app.push_screen(Prompt("Learning rate", offered, hint=hint, check=_wrong_rate), self._set_rate)

    def _set_rate(self, text: str | None) -> None:
        if text is not None:
            self._send(events.SetLearningRate(lr=float(text)), f"learning rate {format_rate(float(text), 6)}")

    def action_draw(self) -> None:
        self._open(self.app.open_sampling)

    def action_inspect(self) -> None:
        self._open(self.app.open_inspection)

    def _open(self, screen: Callable[[RunDir], None]) -> None:
        if self.watched.run is None:
            self.notify("there is no run to look at", timeout=4)
        else:
            screen(self.watched.run)

    def action_resume(self) -> None:
        if self._can_resume and self.watched.run is not None:
            resume(self.app, self.watched.run, self.watched.state)

    # -- panes -----------------------------------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        if name == "runs":
            self.app.show_runs()
            return
        pane = self.query_one(f"#{name}")
        full = self.query(".full").first() if self.query(".full") else None
        if (full is not None and full is not pane) or not pane.display or not pane.region.area:
            self.fill(pane)
        self._focus(pane)

    def _focus(self, pane: Widget) -> None:
        target: Widget = pane
        if isinstance(pane, CurvesPane):
            target = pane.main
        elif isinstance(pane, SamplesPane):
            target = pane.query_one(Gallery)
        target.focus()

    def action_filter_log(self) -> None:
        self.action_pane("log")
        self.query_one(LogPane).action_filter()

    def fill(self, pane: Widget | None) -> None:
        for one in self.query(".pane"):
            one.set_class(one is pane, "full")
        for side in self.query("#left, #right"):
            side.set_class(pane is not None and pane in side.children, "has-full")
        self.set_class(pane is not None, "-full")
        if pane is None:
            self.call_after_refresh(self._keep_focus)

    def _keep_focus(self) -> None:
        """On the curves, where the pane that had it has no room among the others."""
        pane = pane_of(self.focused)
        if pane is None or not pane.display:
            self._focus(self.query_one(CurvesPane))

    def go_back(self) -> bool:
        """esc: the cursor away, then the full pane; whether there was something to leave."""
        curves = self.query_one(CurvesPane)
        if self.leave_one():
            return True
        if self.has_class("-full"):
            self.fill(None)
            return True
        if curves.main.cursor is not None:
            curves.action_cursor()
            return True
        return False


def _wrong_rate(text: str) -> str:
    try:
        rate = float(text)
    except ValueError:
        return "expected a number, as in 5e-4"
    return "" if 0 < rate <= events.LARGEST else f"expected a number over 0, at most {events.LARGEST:g}"
