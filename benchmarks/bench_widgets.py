"""What a redraw costs: medians of the console's drawing widgets, in a headless app of 200x60 cells.

    python benchmarks/bench_widgets.py

Times are the process's own, so that other load counts less. `rows`: finding what changed; `frame`: that, and all of the
way to terminal codes.
"""

import asyncio
import gc
import math
import random
import statistics
import time
from collections.abc import Callable

from rich.color import ColorSystem
from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from textual.widget import Widget

from pixeltui.curves.series import Series
from pixeltui.ui.colors import Depth
from pixeltui.ui.widgets.chart import Chart
from pixeltui.ui.widgets.images import ImageTile
from pixeltui.ui.widgets.raster import Trace

REPEATS = 15
DEPTHS: tuple[Depth, ...] = ("truecolor", "256", "none")


class Bench(App[None]):
    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.console._color_system = ColorSystem.TRUECOLOR
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget

    def frame(self) -> int:
        """Paint what was marked for it; returns the characters that go to the terminal."""
        compositor = self.screen._compositor
        compositor.update_widgets({self.widget})
        update = compositor.render_update()
        return len(update.render_segments(self.console)) if isinstance(update, CompositorUpdate) else 0


def report(name: str, app: Bench, change: Callable[[int], None]) -> None:
    """change(i) makes the i-th change and marks what is to be painted."""
    rows, frames, sizes = [], [], []
    gc.disable()
    for i in range(REPEATS):
        start = time.process_time()
        change(i)
        middle = time.process_time()
        sizes.append(app.frame())
        rows.append((middle - start) * 1e3)
        frames.append((time.process_time() - start) * 1e3)
    gc.enable()
    r, f = statistics.median(rows), statistics.median(frames)
    print(f"{name:52} rows {r:7.2f} ms   frame {f:7.2f} ms   {statistics.median(sizes) / 1e3:7.1f} kB")


def curve(count: int, seed: int, color: str, dim: bool = False) -> Series:
    draw = random.Random(seed)
    ys = [3 + 4 * math.exp(-5 * i / count) + draw.gauss(0, 0.15) for i in range(count)]
    return Series(f"series {seed}", range(count), ys, color, dim)


async def charts() -> None:
    for series, count in ((2, 1_000), (10, 1_000), (2, 100_000), (2, 1_000_000)):
        curves = [curve(count, i + 1, f"series{i}", dim=i % 2 == 0) for i in range(series)]
        chart = Chart("bits/dim", curves, depth="truecolor")
        app = Bench(chart)
        async with app.run_test(size=(200, 60)) as pilot:
            await pilot.pause()
            app.frame()

            def redraw(i: int, chart: Chart = chart) -> None:
                chart._rows, chart._strips = [], []
                chart.figure.traces = [Trace(one) for one in chart.series]
                chart.update_data()

            def append(i: int, chart: Chart = chart, count: int = count) -> None:
                for one in chart.series:
                    one.append(count + i, 3 + 0.1 * math.sin(i))
                chart.update_data()

            report(f"chart, {series} series of {count:,}, everything", app, redraw)
            report(f"chart, {series} series of {count:,}, one point more", app, append)


async def images(depth: Depth) -> None:
    draw = random.Random(3)
    size = 64
    pictures = [draw.randbytes(3 * size * size) for _ in range(REPEATS + 1)]
    tile = ImageTile(size, size, depth=depth)
    app = Bench(tile)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        app.frame()
        report(f"image 64x64 of noise, {depth}, everything", app, lambda i: tile.set_rows(pictures[i], 64))
        tile.set_rows(pictures[-1], 2)
        app.frame()
        report(f"image 64x64, {depth}, one row more", app, lambda i: tile.set_rows(pictures[-1], i + 3))
        tile.set_scale(0)
        await pilot.pause()
        app.frame()
        report(f"image 64x64 of noise, {depth}, quadrants", app, lambda i: tile.set_rows(pictures[i], 64))


if __name__ == "__main__":
    asyncio.run(charts())
    for depth in DEPTHS:
        asyncio.run(images(depth))
