"""Measures the console on a terminal of its own: what it takes from training, how soon it answers, what it sends."""

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pixeltui.commands.pseudo_terminal import PATIENCE, SIZE, PseudoTerminal
from pixeltui.errors import UserError
from pixeltui.events import Started, Step
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir

SECONDS: Final = 12.0
"""of training that the two sides are compared by, and of output that is counted"""
SLOW_SECONDS: Final = 60.0
"""over which those with --low-bandwidth are counted: three of its updates of images"""
WARM_UP: Final = 0.2
"""share of the steps that is left out at the start"""
PRESSES: Final = 300
QUIET: Final = 1.5
"""seconds without output after which the console has drawn what it had to draw"""
RUNS, EVENTS = 1_000, 1_000_000
SETTINGS: tuple[str, ...] = ()
"""more of the config that trains"""
TITLE: Final = " pixeltui "
KEYS: Final = (
    ("m", "nats/dim"),
    ("M", "bits/dim"),
    ("?", "next metric"),
    ("?", "by step"),
)
"""keys of the training screen in turn, and what each shows that was not there before it"""
METHOD: Final = (
    "{size} terminal, default refresh, medians of {repeats}; training: `{preset}` on the built-in digits, the same\n"
    "steps in the console and headless, in turn. keys: {presses} at random moments while it trains, until what they\n"
    "change has been written. first paint, listed: from the command, opened: from the key, until it is on the screen;\n"
    "{events:,} events: `drawn` the first curve, `whole` the last change."
)


class Load:
    """A training at full load, again and again from its start: in the console, or headless."""

    def __init__(self, folder: Path, preset: str, overrides: tuple[str, ...]) -> None:
        # The user's own [ui] is not what is measured.
        self.environ = {**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        self.runs_dir = folder / "training"
        self._words = ["train", "--preset", preset]
        for override in ("data.name=digits", "train.steps=10000000", *overrides):
            self._words += ["--set", override]
        self._count = 0

    def start(self, *, console: bool, flags: tuple[str, ...] = ()) -> tuple[PseudoTerminal, RunDir]:
        self._count += 1
        name = f"run-{self._count}"
        first = [] if console else ["--no-ui"]
        words = program(self.runs_dir, *first, *self._words, "--name", name, *flags)
        return PseudoTerminal(words, self.environ), RunDir(self.runs_dir / name)


def program(runs_dir: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pixeltui", "--runs-dir", str(runs_dir), *words]


def steps_of(
    terminal: PseudoTerminal, run: RunDir, enough: Callable[[list[Step]], bool], patience: float = PATIENCE
) -> list[Step]:
    """The step events of a run that trains, once they are enough. Raises UserError."""
    reader, found = EventReader(run.events_path), list[Step]()
    end = time.monotonic() + patience
    while not (found and enough(found)):
        terminal.read_for(0.1)
        found += [event for event in reader.read_new() if isinstance(event, Step)]
        if time.monotonic() > end:
            raise UserError(f"training did not get there within {patience:g} s")
    return found


def measure(preset: str, repeats: int, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every figure of the console, as a JSON tree."""
    with tempfile.TemporaryDirectory(prefix="pixeltui-bench-") as name:
        folder = Path(name)
        load = Load(folder, preset, (*SETTINGS, *overrides))
        training, run = training_beside(load, repeats)
        keys, sent = keys_and_bytes(load)
        started = next(event for event in run.read_events()[0] if isinstance(event, Started))
        result = {
            "size": "x".join(map(str, SIZE)),
            "preset": preset,
            "device": started.device,
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "repeats": repeats,
            "training": training,
            "keys": keys,
            "bytes_per_second": {
                "live": training.pop("bytes_per_second"),
                "low_bandwidth": bytes_of_low_bandwidth(load),
                **sent,
            },
            "first_paint_ms": first_paints(load, run, repeats),
            "thousand_runs": thousand_runs(load, run, repeats),
            "million_events": million_events(load, run, repeats),
        }
    result["method"] = METHOD.format(
        size=result["size"], repeats=repeats, preset=preset, presses=PRESSES, events=EVENTS
    )
    return result


# -- while it trains -----------------------------------------------------------------------------------------------


def training_beside(load: Load, repeats: int) -> tuple[dict[str, Any], RunDir]:
    """Images a second with and without the console over the same steps, and a run that was trained."""
    terminal, run = load.start(console=False)
    with terminal:
        last = steps_of(terminal, run, lambda found: found[-1].t - found[0].t >= SECONDS, PATIENCE + SECONDS)[-1].step
    batch = run.config().train.batch_size
    rates: dict[bool, list[float]] = {True: [], False: []}
    sent = []
    for repeat in range(repeats):
        for console in (True, False) if repeat % 2 else (False, True):
            terminal, run = load.start(console=console)
            with terminal:
                before = steps_of(terminal, run, lambda found: found[-1].step >= WARM_UP * last)[-1]
                written = terminal.written
                found = steps_of(terminal, run, lambda found: found[-1].step >= last, PATIENCE + 4 * SECONDS)
                if console:
                    sent.append((terminal.written - written) / (found[-1].t - before.t))
            timed = [step for step in found if WARM_UP * last <= step.step <= last]
            rates[console].append(batch * (timed[-1].step - timed[0].step) / (timed[-1].t - timed[0].t))
    ratios = [with_it / without for with_it, without in zip(rates[True], rates[False], strict=True)]
    return {
        "images_per_second": statistics.median(rates[True]),
        "headless_images_per_second": statistics.median(rates[False]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "bytes_per_second": statistics.median(sent),
    }, run


def keys_and_bytes(load: Load) -> tuple[dict[str, float], dict[str, float]]:
    """Key to paint while it trains; bytes a second while it is paused."""
    terminal, run = load.start(console=True)
    with terminal:
        steps_of(terminal, run, lambda found: found[-1].t - found[0].t > SECONDS / 4)
        taken = pressed(terminal, [KEYS[i % len(KEYS)] for i in range(PRESSES)])
        terminal.press("p")
        terminal.until("paused")
        terminal.settled(2 * QUIET)  # the notice goes after two seconds
        return taken, {"paused": terminal.read_for(SECONDS / 2) / (SECONDS / 2)}


def bytes_of_low_bandwidth(load: Load) -> float:
    """Bytes a second, over several of its updates of images."""
    terminal, run = load.start(console=True, flags=("--low-bandwidth",))
    with terminal:
        steps_of(terminal, run, lambda found: found[-1].t - found[0].t > SECONDS / 4)
        return terminal.read_for(SLOW_SECONDS) / SLOW_SECONDS


def pressed(terminal: PseudoTerminal, keys: list[tuple[str, str]]) -> dict[str, float]:
    """Each at a moment that has nothing to do with the ones at which the console draws."""
    moments = random.Random(0)
    taken = []
    for key, shown in keys:
        terminal.read_for(moments.uniform(0.02, 0.2))
        terminal.press(key)
        taken.append(1000 * terminal.until(shown))
    taken.sort()
    return {
        "presses": len(taken),
        "median_ms": statistics.median(taken),
        "p99_ms": taken[min(round(0.99 * len(taken)), len(taken) - 1)],
        "worst_ms": taken[-1],
    }


# -- start-up, many runs, long runs --------------------------------------------------------------------------------


def first_paints(load: Load, run: RunDir, repeats: int) -> dict[str, float]:
    """Milliseconds from the command to the first frame, on the run browser, on a run, on a new training."""
    words = {
        "runs": program(load.runs_dir),
        "attach": program(load.runs_dir, "attach", run.name),
    }
    found: dict[str, list[float]] = {name: [] for name in (*words, "train")}
    for _ in range(repeats):
        for name in found:
            terminal = load.start(console=True)[0] if name == "train" else PseudoTerminal(words[name], load.environ)
            with terminal:
                found[name].append(1000 * terminal.until(TITLE))
    return {name: statistics.median(times) for name, times in found.items()}


def thousand_runs(load: Load, run: RunDir, repeats: int) -> dict[str, Any]:
    """Milliseconds until they are listed, the first time and with what was kept of that; and moving down the rows."""
    folder = load.runs_dir.parent / "many"
    for number in range(RUNS):
        copy = folder / f"run-{number:04}"
        copy.mkdir(parents=True)
        for path in (run.config_path, run.meta_path, run.events_path):
            shutil.copy(path, copy)
    listed: dict[str, list[float]] = {"listed_ms": [], "listed_again_ms": [], "first_paint_ms": []}
    scroll: dict[str, float] = {}
    for _ in range(repeats):
        for kept in folder.glob(".[a-z]*"):
            kept.unlink()
        for name in ("listed_ms", "listed_again_ms"):
            with PseudoTerminal(program(folder), load.environ) as terminal:
                first = terminal.until(TITLE)
                listed[name].append(1000 * terminal.until(f"{RUNS} runs"))
                if name == "listed_ms":
                    listed["first_paint_ms"].append(1000 * first)
                if not scroll:
                    terminal.settled(QUIET)
                    terminal.press("ong")  # by name, to the first
                    terminal.settled(QUIET)
                    scroll = pressed(terminal, [("j", f"run-{row:04}") for row in range(1, min(RUNS, PRESSES // 2))])
    return {**{name: statistics.median(times) for name, times in listed.items()}, "scroll": scroll}


def million_events(load: Load, run: RunDir, repeats: int) -> dict[str, float]:
    """Milliseconds until a long run is drawn: from the browser by a key, and by `attach`."""
    folder = load.runs_dir.parent / "long"
    long = RunDir(folder / "long")
    long.path.mkdir(parents=True)
    for path in (run.config_path, run.meta_path):
        shutil.copy(path, long.path)
    _write_long_log(long.events_path, run)
    drawn = rf"(?s)(?=.*step {EVENTS})(?=.*[\u2801-\u28ff]{{3}})"
    times: dict[str, list[float]] = {"drawn_ms": [], "whole_ms": [], "attach_drawn_ms": [], "attach_whole_ms": []}
    for _ in range(repeats):
        with PseudoTerminal(program(folder), load.environ) as terminal:
            terminal.until("1 run ")
            terminal.settled(QUIET)
            terminal.press("\r")
            times["drawn_ms"].append(1000 * terminal.until(drawn))
            times["whole_ms"].append(1000 * terminal.settled(QUIET))
        with PseudoTerminal(program(folder, "attach", "long"), load.environ) as terminal:
            times["attach_drawn_ms"].append(1000 * terminal.until(drawn))
            times["attach_whole_ms"].append(1000 * terminal.settled(QUIET))
    return {name: statistics.median(found) for name, found in times.items()}


def _write_long_log(path: Path, run: RunDir) -> None:
    """A start, and step events as those of `run`, over and over."""
    lines = [json.loads(line) for line in run.events_path.read_text().splitlines()]
    start = next(line for line in lines if line["type"] == "start")
    steps = [line for line in lines if line["type"] == "step"]
    t = start["t"]
    with path.open("w") as log:
        log.write(json.dumps({**start, "total_steps": EVENTS}, separators=(",", ":")) + "\n")
        for number in range(1, EVENTS):
            step = {**steps[number % len(steps)], "t": t + number, "step": number}
            log.write(json.dumps(step, separators=(",", ":")) + "\n")
        log.write(json.dumps({**step, "step": EVENTS}, separators=(",", ":")) + "\n")
        end = {"type": "state", "t": t + EVENTS, "state": "finished", "step": EVENTS}
        log.write(json.dumps(end, separators=(",", ":")) + "\n")
