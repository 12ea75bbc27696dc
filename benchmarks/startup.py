"""How long commands take to answer, and what they import for it. Usage: python benchmarks/startup.py [FILE]

--help, --version, a list of 1,000 runs, and a headless run's way to its first step: seconds by the clock and of the
CPU, medians; modules imported, and which of the heavy packages are among them. First paint: `pixeltui bench ui`.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from told import tell

HEAVY = ("torch", "numpy", "textual", "rich", "msgspec", "PIL", "torchvision")
RUNS = 1000
REPEATS = 7
ASK = """
import sys
from pixeltui.cli import main
try: main({words})
except SystemExit: pass
print(*sys.modules, file=sys.stderr)
"""


def timed(words: list[str], cwd: Path) -> tuple[float, float]:
    """Seconds by the clock, and of the process's CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "pixeltui", *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(words: list[str], cwd: Path) -> str:
    code = ASK.format(words=words)
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    modules = done.stderr.split()
    heavy = [name for name in HEAVY if name in modules]
    return f"{len(modules)} modules, {', '.join(heavy) or 'none of ' + ', '.join(HEAVY)}"


def line(words: list[str], cwd: Path, times: list[tuple[float, float]]) -> str:
    clock, cpu = (1000 * statistics.median(found) for found in zip(*times, strict=True))
    return f"{' '.join(words):<28} {clock:>6.0f} ms, CPU {cpu:>5.0f} ms; {imported(words, cwd)}"


def train(cwd: Path, steps: int) -> None:
    keys = [f"train.steps={steps}", "train.eval_every=0", "train.checkpoint_every=0", "sample.every=0", "log.every=1"]
    words = ["--no-ui", "train", "--preset", "quick", "--name", "first", *(w for key in keys for w in ("--set", key))]
    subprocess.run([sys.executable, "-m", "pixeltui", *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def first_step(cwd: Path) -> str:
    """From the command to the event of the first step, with all that comes before: imports, data, model."""
    import msgspec

    seconds = []
    for _ in range(3):
        shutil.rmtree(cwd / "runs" / "first", ignore_errors=True)
        began = time.time()
        train(cwd, 2)
        lines = (cwd / "runs" / "first" / "events.jsonl").read_bytes().splitlines()
        seconds.append(next(event["t"] for event in map(msgspec.json.decode, lines) if event["type"] == "step") - began)
    return f"{'train --preset quick':<28} {statistics.median(seconds):>6.1f} s to the end of the first step"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        lines = [first_step(cwd)]
        train_run = cwd / "runs" / "first"
        for number in range(RUNS - 1):
            shutil.copytree(train_run, cwd / "runs" / f"run-{number:04}", ignore=shutil.ignore_patterns("checkpoints"))
        commands = [["--help"], ["--version"], ["runs", "list"], ["runs", "list", "--json"]]
        times: dict[str, list[tuple[float, float]]] = {}
        for _ in range(REPEATS + 1):
            for words in commands:
                times.setdefault(" ".join(words), []).append(timed(words, cwd))
        lines += [line(words, cwd, times[" ".join(words)][1:]) for words in commands]
    lines.append(f"medians of {REPEATS}, after one that warms the disk's cache; {RUNS} runs; {os.cpu_count()} cores")
    tell(lines, Path(sys.argv[1]) if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    main()
