"""Kills real training processes with SIGKILL at random moments, resumes them, and holds each against a run left alone.

    python benchmarks/torture.py --kills 200 [--seed 0] [--folder DIR]

After every kill the run must list and open, and its newest whole checkpoint load. After the last of its kills a run is
trained to its end: weights, EMA, optimizer, means, and the steps and evaluations of its log must then be those of the
uninterrupted run, bit for bit. Exit status 1 where one is not. Processes are forked from one that has imported torch.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from pixeltui.cli import main as pixeltui
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import list_runs, summarize
from pixeltui.store.view import RunView
from pixeltui.train.checkpoint import load
from pixeltui.train.checkpoint_store import CheckpointStore

STEPS = 60
KILLS_A_RUN = 8
SETTINGS = (
    "train.device=cpu",  # the trainers are forked, which CUDA does not survive
    "model.channels=8",
    "model.blocks=1",
    "model.first_kernel=3",
    "model.dropout=0.1",
    "train.batch_size=8",
    f"train.steps={STEPS}",
    "train.checkpoint_every=3",
    "train.eval_every=20",
    "train.keep=2",
    "sample.every=25",
    "sample.count=2",
    "log.every=1",
)
NEW = ["train", "--preset", "quick", *(word for setting in SETTINGS for word in ("--set", setting))]


def start(runs: Path, *arguments: str) -> int:
    """A process that trains, its output in runs/output.txt; returns its pid."""
    child = os.fork()
    if child:
        return child
    output = os.open(runs / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os._exit(pixeltui(["--no-ui", "--runs-dir", str(runs), *arguments]))


def finish(runs: Path, *arguments: str) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(start(runs, *arguments), 0)[1])
    if status != 0:
        raise SystemExit(f"{arguments} ended with {status}: {(runs / 'output.txt').read_text()[-2000:]}")


def story(run: Path) -> tuple[list[object], set[object]]:
    """The steps and evaluations of a log, without their times."""
    view = RunView().fold(RunDir(run).read_events()[0])
    steps = [(e.step, e.epoch, e.loss, e.lr, e.grad_norm, e.skipped) for e in view.steps]
    return list(steps), {(e.step, e.split, e.weights, e.images, e.bits_per_dim, e.best) for e in view.evaluations}


def check_whole(run: Path) -> str:
    """What every kill must leave; returns how far the run had come, in words."""
    if not run.exists():
        return "before the run was there"
    assert run.name in {found.name for found in list_runs(run.parent)}
    found = summarize(run)
    assert found.state in ("crashed", "finished"), found
    opened = RunDir.open(run)
    opened.config()
    if not CheckpointStore(opened).steps():
        return "before the first checkpoint"
    newest = CheckpointStore(opened).read("last")[1][1]["step"]
    assert isinstance(newest, int)
    if list(opened.checkpoints_dir.glob(".tmp*")):
        return "inside a save"
    return "after the last step" if found.step == STEPS else "between saves"


def kill_and_resume(runs: Path, name: str, kills: int, dice: random.Random, seconds: float) -> Counter[str]:
    """Kills a run so often, then lets it end. Returns where the kills fell."""
    where: Counter[str] = Counter()
    run = runs / name
    while where.total() < kills:
        pid = start(runs, *(["train", "--resume", name] if run.exists() else [*NEW, "--name", name]))
        if not wait_for_the_moment(run, pid, dice, seconds):
            break  # it was quicker than its end
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        where[check_whole(run)] += 1
    finish(runs, *(["train", "--resume", name] if run.exists() else [*NEW, "--name", name]))
    return where


def wait_for_the_moment(run: Path, pid: int, dice: random.Random, seconds: float) -> bool:
    """Until any moment of the process's life, one within its next steps, or one within a save. False where it ended."""
    moment = dice.choice(("any", "step", "step", "save"))
    deadline = time.monotonic() + (dice.uniform(0, seconds) if moment == "any" else 60)
    steps = steps_logged(run) + dice.randrange(1, 12)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        saves = moment == "save" and any((run / "checkpoints").glob(".tmp*")) and steps_logged(run) >= steps
        if saves or (moment == "step" and steps_logged(run) >= steps) or time.monotonic() >= deadline:
            time.sleep(dice.uniform(0, 0.02 if moment == "step" else 0.002))
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                return True
            break
    return False


def steps_logged(run: Path) -> int:
    """Step events ever written, those done again included."""
    try:
        return (run / "events.jsonl").read_bytes().count(b'{"type":"step"')
    except OSError:
        return 0


def differences(run: Path, whole: Path) -> list[str]:
    """Everything in which a run's end is not, bit for bit, the uninterrupted run's."""
    found, expected = (load(path / "checkpoints" / "last.safetensors")[0] for path in (run, whole))
    if found.keys() != expected.keys():
        return ["the names of the tensors"]
    bad = [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)]
    for what, own, other in zip(("steps of the log", "evaluations of the log"), story(run), story(whole), strict=True):
        if own != other:
            bad.append(what)
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the runs go (default: a temporary folder, removed again)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for a GPU autograd starts threads, which a fork does not survive
    with tempfile.TemporaryDirectory() as temporary:
        runs = args.folder or Path(temporary)
        runs.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with (runs / "output.txt").open("a") as output, contextlib.redirect_stdout(output):
            # In this process, so that those forked from it have imported and set up everything.
            assert pixeltui(["--no-ui", "--runs-dir", str(runs), *NEW, "--name", "whole"]) == 0
        signal.signal(signal.SIGINT, signal.default_int_handler)
        seconds = time.monotonic() - began
        dice, where, bad, count = random.Random(args.seed), Counter[str](), 0, 0
        while where.total() < args.kills:
            name = f"run-{count}"
            where += kill_and_resume(runs, name, min(KILLS_A_RUN, args.kills - where.total()), dice, seconds)
            count += 1
            if wrong := differences(runs / name, runs / "whole"):
                bad += 1
                print(f"{name} differs: {', '.join(wrong[:8])}", flush=True)
        fell = ", ".join(f"{number} {place}" for place, number in where.most_common())
        print(f"{where.total()} kills of {count} runs ({fell}): {count - bad} of {count} ended bit for bit the same")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
