"""`pixeltui train --processes N`: torchrun on this machine, and the console or plain lines on its run."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO

from pixeltui.commands import options
from pixeltui.commands.console import HANGUP_STATUS, has_terminal, open_console
from pixeltui.errors import UserError, printable
from pixeltui.events import AnyCommand, Stop
from pixeltui.session.attach import AttachedSession
from pixeltui.session.inbox import Signals
from pixeltui.session.worker import TrainRequest
from pixeltui.store import control
from pixeltui.store.rundir import RunDir, find_run, new_run_name

POLL_SECONDS = 0.1


def run_processes(args: argparse.Namespace, request: TrainRequest) -> int:
    """Starts the processes, shows their run until it ends or the console is left. Returns the exit status."""
    run = _run_to_be(request)
    console = not args.no_ui and has_terminal()
    signals = Signals(stop_on_hangup=args.on_hangup == "stop")
    signals.install()
    with tempfile.TemporaryFile() as said:
        torchrun = _start(args, request, run, said, shown=not console)
        if not console:
            return _wait(torchrun, run, signals, said, debug=args.debug)
        options.say(f"starting {args.processes} processes")
        while not run.is_locked() or signals.stopped_by is not None:
            if torchrun.poll() is not None:
                return _ended(torchrun, signals, said, debug=args.debug)
            if signals.take() and signals.stopped_by is not None:
                torchrun.terminate()
            time.sleep(POLL_SECONDS)
        status = open_console(args, session=AttachedSession(RunDir.open(run.path)))
        if not run.is_locked():  # torchrun is no child of the console's process, and cannot be asked
            return status
        if status == HANGUP_STATUS and signals.stop_on_hangup:
            _hand_on(Stop(reason=signal.SIGHUP.name), torchrun, run)
        else:
            where, name = options.found_by(run, args.runs_dir)
            options.say(printable(f"{run.name} trains on; to see it again: pixeltui {where}attach {name}"))
        return status


def _run_to_be(request: TrainRequest) -> RunDir:
    """Raises UserError for whatever is wrong with the request, before any process is started."""
    config = request.resolve()
    if request.resume is not None:
        return find_run(request.runs_dir, request.resume)
    return RunDir(request.runs_dir.resolve() / (request.name or new_run_name(config.preset, config.data.name)))


def _start(
    args: argparse.Namespace, request: TrainRequest, run: RunDir, said: IO[bytes], *, shown: bool
) -> "subprocess.Popen[bytes]":
    """torchrun, in a session of its own: what happens to this terminal is none of its business."""
    words = ["--no-ui", "--runs-dir", str(request.runs_dir), *["--debug"] * args.debug, "train"]
    for flag, value in (("--config", request.config), ("--preset", request.preset), ("--resume", request.resume)):
        words += [flag, str(value)] if value is not None else []
    for override in request.overrides:
        words += ["--set", override]
    words += [] if request.resume is not None else ["--name", run.name]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={args.processes}"]
    threads = max((os.cpu_count() or 1) // args.processes, 1)
    return subprocess.Popen(
        [*torchrun, "-m", "pixeltui", *words],
        stdin=subprocess.DEVNULL,
        stdout=None if shown else subprocess.DEVNULL,
        stderr=said,
        start_new_session=True,
        env={"OMP_NUM_THREADS": str(threads), **os.environ},
    )


def _wait(torchrun: "subprocess.Popen[bytes]", run: RunDir, signals: Signals, said: IO[bytes], *, debug: bool) -> int:
    """Until training ends; signals become commands to the run, so that all processes stop at one step."""
    while torchrun.poll() is None:
        for command in signals.take():
            _hand_on(command, torchrun, run)
        time.sleep(POLL_SECONDS)
    return _ended(torchrun, signals, said, debug=debug)


def _hand_on(command: AnyCommand, torchrun: "subprocess.Popen[bytes]", run: RunDir) -> None:
    """A stop before or after training, or one that cannot be left there, is torchrun's: its processes stop too."""
    if isinstance(command, Stop):
        command = Stop(reason=f"{command.reason} to process {os.getpid()}")
    try:
        if run.is_locked():
            control.post(run.control_dir, command)
            return
    except UserError as error:
        options.warn(str(error))
    if isinstance(command, Stop):
        torchrun.terminate()


def _ended(torchrun: "subprocess.Popen[bytes]", signals: Signals, said: IO[bytes], *, debug: bool) -> int:
    if signals.stopped_by is not None:
        return 128 + signals.stopped_by
    if torchrun.returncode:
        raise UserError(_last_words(said, debug=debug))
    return 0


def _last_words(said: IO[bytes], *, debug: bool) -> str:
    """What the processes said before they ended, without what torchrun says about it."""
    with suppress(OSError):
        said.seek(0)
    lines = [printable(line) for line in said.read().decode(errors="replace").splitlines()]
    if debug:
        options.say("\n".join(lines), sys.stderr)
    own = [line.removeprefix("pixeltui: ") for line in lines if line.startswith("pixeltui: ")]
    own = [line for line in own if not line.startswith("warning: ")]
    return own[-1] if own else "the processes could not be started; --debug shows what torchrun says"
