"""Signals before a run trains, on the way out, and in commands that train nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny_arguments


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 0), (signal.SIGQUIT, 0)]
)
def test_signals_before_training_is_imported(
    number: signal.Signals, status: int, tiny_npz: Path, tmp_path: Path
) -> None:
    program = f"""
import os, sys, pixeltui.cli
class Finder:
    def find_spec(name, *_):
        if name == "pixeltui.commands.train":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder)
sys.exit(pixeltui.cli.main())
"""
    arguments = ["--no-ui", "--runs-dir", str(tmp_path), "train", *tiny_arguments(tiny_npz), "--set", "train.steps=2"]
    arguments += ["--name", "run"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert (tmp_path / "run").exists() is (status == 0)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_told_to_end_takes_back_what_it_has_begun(number: signal.Signals, status: int) -> None:
    """A bar's cursor, files that are half written: what an exception does, and not a signal."""
    program = f"""
import os, sys, pixeltui.cli
import pixeltui.commands.doctor as doctor
def work(args):
    try:
        os.kill(os.getpid(), {int(number)})
    finally:
        print("taken back")
doctor.run = work
sys.exit(pixeltui.cli.main())
"""
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True, check=False)
    said = {130: "interrupted", 143: "terminated"}[status]
    assert (done.returncode, done.stdout, done.stderr) == (status, "taken back\n", f"pixeltui: {said}\n")


def test_an_interrupt_in_a_text_that_is_executed_has_the_status_of_any_other(tmp_path: Path) -> None:
    """As dataclasses do in an import: of `python -m` it is by the signal that the process would end, not by 130."""
    (tmp_path / "program.py").write_text("""
import os, signal, sys, pixeltui.cli
import pixeltui.commands.doctor as doctor
def work(args):
    exec("os.kill(os.getpid(), signal.SIGINT)", {"os": os, "signal": signal})
doctor.run = work
sys.exit(pixeltui.cli.main())
""")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "program", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (130, "pixeltui: interrupted\n")


WHILE_IT_WAITS = """
def last():
    while True:
        time.sleep(0.01)
        if not threading.main_thread().is_alive():
            os.kill(os.getpid(), number)
threading.Thread(target=last).start()
"""
WHILE_IT_CLEANS_UP = """
class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=number):
        kill(process, number)
sys.last = Last()
"""


@pytest.mark.parametrize("moment", [WHILE_IT_WAITS, WHILE_IT_CLEANS_UP])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_end_changes_nothing_of_it(number: signal.Signals, moment: str) -> None:
    """Ctrl-C pressed twice: the first has stopped the run, the second finds the interpreter on its way out."""
    program = f"""
import os, sys, threading, time, pixeltui.cli
import pixeltui.commands.doctor as doctor
number = {int(number)}
{moment}
doctor.run = lambda args: 130
pixeltui.cli.run()
"""
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "")


def test_other_commands_leave_signals_alone(tmp_path: Path) -> None:
    program = """
import signal, sys, pixeltui.cli
numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
before = [signal.getsignal(number) for number in numbers]
pixeltui.cli.main()
print([signal.getsignal(number) for number in numbers] == before)
"""
    words = ["--runs-dir", str(tmp_path), "runs", "show", "train"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
