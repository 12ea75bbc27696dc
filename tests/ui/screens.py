"""Whole screens as text, cell by cell with their styles, and the runs that they show: the same on every machine."""

import io
import json
import math
import string
from pathlib import Path

import msgspec
import textual
from PIL import Image
from textual.app import App

from pixeltui import events
from pixeltui.config import dump_config, load_config
from pixeltui.store.rundir import RunDir
from pixeltui.store.sheet import SheetLayout

FOLDER = Path(__file__).parent / "golden"
NOW = 1_800_000_000.0
LETTERS = string.ascii_letters + string.digits


def screen_text(app: App) -> str:  # type: ignore[type-arg]
    """Rows of text, then rows of letters, each of which stands for the style of that cell, then the styles."""
    styles: dict[str, str] = {}
    texts, letters = [], []
    for strip in app.screen._compositor.render_strips():
        text = row = ""
        for segment in strip:
            style = str(segment.style or "")
            letter = styles.setdefault(style, LETTERS[len(styles) % len(LETTERS)])
            text += segment.text
            row += letter * len(segment.text)
        texts.append(text.rstrip())
        letters.append(row)
    legend = [f"{letter} {style}" for style, letter in styles.items()]
    return "\n".join([f"textual {textual.__version__}", *texts, "", *letters, "", *legend, ""])


def make_run(
    runs: Path, name: str, *, steps: int, rate: float, ago: float, state: events.State, **meta: object
) -> None:
    """A run whose curve falls as exp(-rate step), with one sheet of samples."""
    config = load_config(preset="quick", overrides=[f"train.lr={rate:g}"])
    data = {"name": "digits", "image_shape": [1, 8, 8], "levels": 17, "classes": list("0123456789")}
    run = RunDir.create(runs, name, dump_config(config), {"preset": "quick", "data": data, **meta})
    began = NOW - ago - steps
    told: list[events.AnyEvent] = [
        events.Started(
            t=began,
            step=0,
            total_steps=400,
            steps_per_epoch=40,
            parameters=166_303,
            device="cpu, 2 threads",
            precision="bf16",
        )
    ]
    for step in range(10, steps + 1, 10):
        bits = 1.7 + 2.3 * math.exp(-rate * step) + 0.05 * math.sin(step)
        told.append(
            events.Step(
                t=began + step,
                step=step,
                epoch=step / 40,
                loss=bits * math.log(2),
                bits_per_dim=bits,
                lr=rate,
                grad_norm=1 + 1 / step,
                images_per_second=600.0,
            )
        )
        if step % 80 == 0:
            score = {"nats_per_dim": bits * math.log(2), "perplexity": 2**bits, "bits_per_dim": bits + 0.03}
            told.append(
                events.Evaluated(
                    t=began + step, step=step, epoch=step / 40, split="val", weights="ema", images=180, **score
                )
            )
    sheet = run.samples_dir / f"step-{steps:08}.png"
    sheet.write_bytes(_sheet(4))
    sheet.with_suffix(".json").write_text(json.dumps({"count": 4, "labels": [0, 1, 2, 3]}))
    told.append(events.SampleSaved(t=began + steps, step=steps, path=f"samples/{sheet.name}", count=4))
    told.append(events.StateChanged(t=began + steps, state=state, step=steps))
    run.events_path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in told))


def _sheet(count: int) -> bytes:
    """As data/grid.py draws it: enlarged tiles with a gap, each a gradient of its own."""
    layout = SheetLayout(8, 8, count, count, text=False)
    image = Image.new("RGB", layout.size, "white")
    for i in range(count):
        tile = Image.new("L", (8, 8))
        tile.putdata([min(255, 16 * (x * (i + 1) + y)) for y in range(8) for x in range(8)])
        image.paste(tile.resize(layout.tile, Image.Resampling.NEAREST), layout.corner(i))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
