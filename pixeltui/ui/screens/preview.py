"""What the run under the cursor looks like: why it ended badly, its note, curves, the newest samples, config."""

from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from pixeltui.curves.points import Curves
from pixeltui.errors import UserError, printable
from pixeltui.session.attach import AttachedSession
from pixeltui.store.files import open_regular
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import RunSummary
from pixeltui.store.view import RunState
from pixeltui.ui.hand_over import hand_over
from pixeltui.ui.screens.curves_pane import CurvesPane
from pixeltui.ui.screens.samples_pane import SamplesPane
from pixeltui.ui.screens.text_panes import ConfigPane
from pixeltui.ui.watch import Watch

PREVIEW_SECONDS = 0.12
"""that the cursor rests on a run before it is read"""
MOST_LINES = 5


class Note(Static):
    """A few lines; where there are more, an ellipsis says so."""

    told = Content()

    def tell(self, why: str, note: str) -> None:
        parts = [Content.styled(printable(why), "$error")] * bool(why) + [Content(printable(note))] * bool(note)
        self.told = Content("\n").join(parts)
        self.display = bool(parts)
        self._cut()

    def on_resize(self) -> None:
        self._cut()

    def _cut(self) -> None:
        width = self.content_size.width
        lines = self.told.wrap(width) if width else []
        shown = self.told
        if len(lines) > MOST_LINES:
            last = lines[MOST_LINES - 1].rstrip().truncate(width - 1) + "…"
            shown = Content("\n").join([*lines[: MOST_LINES - 1], last])
        self.update(shown)


class Preview(Vertical):
    """Panes that cannot be entered: enter opens the run itself."""

    def __init__(self) -> None:
        super().__init__(id="preview")
        self._wanted: RunSummary | None = None
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Note(id="note")
        with Horizontal():
            yield CurvesPane(id="curves", small=False, live=False)
            yield SamplesPane(id="samples")
            yield ConfigPane(id="config")

    def on_mount(self) -> None:
        self.query_one("#note").display = False
        for pane in self.query("Chart, Gallery, ConfigPane"):
            pane.can_focus = False
        self.query_one(SamplesPane).gallery.show_cursor(False)
        self._rest = self.set_timer(PREVIEW_SECONDS, self._look, pause=True)

    def want(self, run: RunSummary | None) -> None:
        """Shows it once nothing else has been wanted for a moment."""
        self._wanted = run
        self._rest.stop()
        self._rest = self.set_timer(PREVIEW_SECONDS, self._look)

    def _look(self) -> None:
        run = self._wanted
        wanted = (run.path, run.updated, _changed(run)) if run else ("",)
        if wanted != self._shown:
            self._shown = wanted
            self._read(run)

    @work(thread=True, exclusive=True)
    def _read(self, run: RunSummary | None) -> None:
        watch: Watch | None = None
        note = why = ""
        if run is not None:
            try:
                opened = RunDir.open(Path(run.path))
                note = str(opened.meta().get("note", ""))
                watch = Watch(AttachedSession(opened, read_only=True), whole=False)
                watch.poll()
                watch.prepare()
                why = _why(watch, run.state)
            except UserError as error:
                watch, why = None, str(error)
        hand_over(self, self._show, watch, why, note)

    def _show(self, watch: Watch | None, why: str, note: str) -> None:
        self.query_one(Note).tell(why, note)
        curves, samples = self.query_one(CurvesPane), self.query_one(SamplesPane)
        if watch is None:
            curves.show(Curves())
            samples.show_run(None, None, [], None)
            self.query_one(ConfigPane).show(None)
            return
        curves.show(watch.curves, watch.run)
        sheets = [(sample.step, sample.path) for sample in watch.view.samples]
        samples.show_run(watch.run, watch.shape, sheets, None)
        self.query_one(ConfigPane).show(watch.config)


def _why(watch: Watch, listed: RunState) -> str:
    """What ended a run that did not end well, or keeps it from going on. listed: its state in the table."""
    if watch.config is None:
        return f"{watch.why_no_config}; its checkpoints can still be drawn from"
    if listed == "damaged":
        return f"damaged: {_unreadable(watch)}; its checkpoints can still be drawn from, and R goes on from the last"
    if watch.state == "failed":
        assert watch.run is not None
        return f"failed: {watch.view.reason or 'its log says no more'} (log: {watch.run.log_path})"
    if watch.state == "crashed":
        return f"crashed: its process ended at step {watch.view.step} or later and left no word; R resumes it"
    return ""


def _unreadable(watch: Watch) -> str:
    """What of a run with a config cannot be read."""
    assert watch.run is not None
    try:
        open_regular(watch.run.events_path).close()
    except OSError as error:
        return f"events.jsonl: {error.strerror}"
    return "meta.json has values that no run has"


def _changed(run: RunSummary) -> int:
    """When its note, tags or name were: ns."""
    try:
        return RunDir(Path(run.path)).meta_path.stat().st_mtime_ns
    except OSError:
        return 0
