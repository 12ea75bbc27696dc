"""The curves of one run: one large chart, and small ones of what is to be watched beside it."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from pixeltui.config import Ui
from pixeltui.curves.points import METRICS, Curves
from pixeltui.curves.ticks import XKind
from pixeltui.errors import printable
from pixeltui.store.files import write_atomic
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir
from pixeltui.ui.colors import current_depth
from pixeltui.ui.curves import SMOOTHING, Drawn
from pixeltui.ui.hand_over import hand_over
from pixeltui.ui.key_table import Scope
from pixeltui.ui.keys import bindings
from pixeltui.ui.widgets.bordered import Bordered
from pixeltui.ui.widgets.chart import Chart
from pixeltui.ui.widgets.raster import GraphSymbol

KINDS: Final[tuple[XKind, ...]] = ("step", "epoch", "time")
SMALL: Final = ("lr", "grad", "speed")
MOST_OVERLAID: Final = 5
ORDER: Final = tuple(METRICS)


def graph_symbol(app: App[Any]) -> GraphSymbol:
    """What the user's [ui] says, or what the terminal can show."""
    chosen: GraphSymbol | Literal["auto"] = getattr(app, "ui", Ui()).graph_symbol
    if chosen == "auto":
        return "ascii" if current_depth() == "none" else "braille"
    return chosen


class CurvesPane(Bordered, Vertical):
    """Charts over a common x axis; what is done to the view of one is done to all."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("charts")]
    scope: Scope = "charts"

    def __init__(self, *, small: bool = True, live: bool = True, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes="pane")
        self.border_title = "Curves"
        self.run: RunDir | None = None
        self._compared: Sequence[RunDir] = ()
        self._live = live
        self._with_small = small
        self._runs: list[tuple[str, Curves]] = [("", Curves())]
        self._metric = "bits"
        self._kind: XKind = "step"
        self._smoothing = 1
        self._drawn: dict[str, list[Drawn]] = {}
        self.charts: list[Chart] = []
        """once they are mounted"""

    def compose(self) -> ComposeResult:
        symbol = graph_symbol(self.app)
        yield Chart(id="main", live=self._live, graph_symbol=symbol)
        if self._with_small:
            with Horizontal(classes="small"):
                for metric in SMALL:
                    yield Chart(id=metric, live=self._live, graph_symbol=symbol)

    def on_mount(self) -> None:
        self.charts = list(self.query(Chart))
        for chart in self.query(".small Chart"):
            chart.can_focus = False
        for chart in self.query("#grad"):
            assert isinstance(chart, Chart)
            chart.log_y = True
        self.rebuild()

    @property
    def main(self) -> Chart:
        return self.query_one("#main", Chart)

    # -- data ------------------------------------------------------------------------------------------------------

    def show(self, curves: Curves, run: RunDir | None = None) -> None:
        """One run's curves; another run's are all in view."""
        another = (run and run.path) != (self.run and self.run.path)
        self.run = run
        self._runs = [("", curves), *self._runs[1:]]
        self.rebuild()
        if another:
            self._each("fit")

    def lay_over(self, others: Sequence[tuple[str, Curves]]) -> None:
        """Other runs' curves, by name, over the first."""
        self._runs = [*self._runs[:1], *others]
        self.rebuild()

    def compare(self, runs: Sequence[RunDir], curves: Sequence[tuple[str, Curves]]) -> None:
        """Several runs, none of them the first. curves: of each, by name."""
        self._compared = runs
        self._runs = [("", Curves()), *curves]
        self.rebuild()

    def rebuild(self, *charts: Chart) -> None:
        """The series of these charts, or of all, anew: after another metric, axis or smoothing, or points that went."""
        if not self.is_mounted:
            return
        for chart in charts or self.charts:
            metric = self._metric if chart.id == "main" else str(chart.id)
            self._drawn[str(chart.id)] = drawn = self._series_of(metric)
            chart.figure.title, chart.figure.rates = METRICS[metric].title, METRICS[metric].rate
            chart.figure.falls = METRICS[metric].falls
            chart.set_x_kind(self._kind)
            chart.set_series([series for one in drawn for series in one.series])
        x_name = {"step": "step", "epoch": "epoch", "time": "training time"}[self._kind]
        smooth = f"smoothed {SMOOTHING[self._smoothing]:g}" if self._smoothing else "raw"
        self.set_remark(f"by {x_name} · {smooth}")

    def _series_of(self, metric: str) -> list[Drawn]:
        drawn = []
        for i, (name, curves) in enumerate(self._runs):
            if i == 0 and not curves.points and len(self._runs) > 1:
                continue
            color = f"series{(i - 1) % 6}" if not self._runs[0][1].points else f"series{(i + 1) % 6}"
            drawn.append(
                Drawn(
                    curves,
                    metric,
                    kind=self._kind,
                    smoothing=SMOOTHING[self._smoothing],
                    name=printable(name),
                    color=color if name else "",
                )
            )
        return drawn

    def update_data(self) -> None:
        """Draws the points that are new."""
        for chart in self.charts:
            changed = [drawn.update() for drawn in self._drawn.get(str(chart.id), ())]
            if any(changed):
                chart.update_data()

    # -- keeping charts in step ------------------------------------------------------------------------------------

    @on(Chart.CursorMoved)
    def _cursor_moved(self, event: Chart.CursorMoved) -> None:
        for chart in self.charts:
            if chart is not event.chart:
                chart.set_cursor(event.x)

    def _each(self, action: str, *values: float) -> None:
        for chart in self.charts:
            getattr(chart, action)(*values)

    # -- actions ---------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """L is the learning rate's, but while a cursor is moved; a comparison has all of its runs."""
        if action == "overlay":
            return not self._compared
        far = action == "pan_x" and parameters and abs(float(str(parameters[0]))) > 1
        return not (far and self.is_mounted and self.main.cursor is None)

    def action_metric(self, by: int) -> None:
        self._metric = ORDER[(ORDER.index(self._metric) + by) % len(ORDER)]
        self.rebuild(self.main)

    def action_x_kind(self) -> None:
        self._kind = KINDS[(KINDS.index(self._kind) + 1) % len(KINDS)]
        self._each("set_cursor", *(None,))  # type: ignore[arg-type]
        self.rebuild()
        self._each("fit")

    def action_log_y(self) -> None:
        self.main.log_y = not self.main.log_y

    def action_smooth(self, by: int) -> None:
        self._smoothing = min(max(self._smoothing + by, 0), len(SMOOTHING) - 1)
        self.rebuild()

    def action_fit(self) -> None:
        self._each("fit")

    def action_follow(self) -> None:
        self._each("follow")

    def action_cursor(self) -> None:
        self.main.action_toggle_cursor()

    def action_overlay(self) -> None:
        """The marked runs over this one, or away again."""
        if len(self._runs) > 1:
            self.lay_over([])
            return
        marked: set[str] = getattr(self.app, "marked", set())
        others = sorted(Path(path) for path in marked if self.run is None or Path(path) != self.run.path)
        if others:
            self._read_others(others[:MOST_OVERLAID])
        else:
            self.notify("mark runs in the browser with space first", timeout=3)

    @work(thread=True, exclusive=True, group="overlay")
    def _read_others(self, paths: Sequence[Path]) -> None:
        found = [(path.name, _read_curves(RunDir(path), Curves())) for path in paths]
        hand_over(self, self.lay_over, found)

    def action_zoom_x(self, factor: float) -> None:
        self._each("zoom_x", factor)

    def action_zoom_y(self, factor: float) -> None:
        self.main.zoom_y(factor)

    def action_pan_y(self, share: float) -> None:
        self.main.pan_y(share)

    def action_pan_x(self, cells: int) -> None:
        if self.main.cursor is None:
            self._each("pan_x", 0.1 * cells)
        else:
            self.main.move_cursor(cells)

    def action_copy(self) -> None:
        chart = self.main
        x = chart.cursor
        values = [(s.name, s.last) for s in chart.series] if x is None else [(s.name, y) for s, y in chart.values_at(x)]
        text = "  ".join(f"{name} {y:.6g}" for name, y in values if y is not None)
        if text:
            self.app.copy_to_clipboard(text)
            self.notify(printable(text), title="copied", markup=False)

    @property
    def _own(self) -> list[tuple[RunDir, Curves]]:
        """What is written out: the run without those laid over it, or all that are compared."""
        if self._compared:
            return list(zip(self._compared, (curves for _, curves in self._runs[1:]), strict=True))
        return [] if self.run is None else [(self.run, self._runs[0][1])]

    def action_export(self) -> None:
        whole, long = [], []
        for run, curves in self._own:
            if all(points.per == 1 for points in curves.points.values()):
                whole.append(_write_csv(run, curves))
            else:
                long.append(run)
        self._written(whole)
        if long:
            self._export_all(long)

    @work(thread=True, group="export")
    def _export_all(self, runs: Sequence[RunDir]) -> None:
        """Of a long run every point, where the charts have their sums."""
        found = [_write_csv(run, _read_curves(run, Curves(most=sys.maxsize))) for run in runs]
        self.app.call_from_thread(self._written, found)

    def _written(self, found: Sequence[tuple[Path, str]]) -> None:
        """found: each path, and what is wrong with it."""
        for path, problem in found:
            if problem:
                self.notify(printable(f"{path} could not be written: {problem}"), severity="warning", markup=False)
        if good := [printable(path) for path, problem in found if not problem]:
            self.notify("\n".join(good), title="curves written", markup=False)


def _read_curves(run: RunDir, curves: Curves) -> Curves:
    for events in EventReader(run.events_path).pieces():
        curves.fold(events)
    return curves


def _write_csv(run: RunDir, curves: Curves) -> tuple[Path, str]:
    """The path, and what is wrong with it."""
    path = run.path / "curves.csv"
    try:
        write_atomic(path, curves_csv(curves).encode())
    except OSError as error:
        return path, error.strerror or str(error)
    return path, ""


def curves_csv(curves: Curves) -> str:
    """A line a point: curve, step, seconds of training, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("curve", "step", "seconds", "value"))
    for name, points in curves.points.items():
        for step, seconds, y in zip(points.steps, points.seconds, points.ys, strict=True):
            writer.writerow((name, f"{step:.0f}", f"{seconds:.2f}", f"{y:.6g}"))
    return text.getvalue()
