"""The command line: arguments and exit status. Each command's module is imported when that command runs."""

import argparse
import atexit
import errno
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from pixeltui import __version__, launch
from pixeltui.commands import options
from pixeltui.errors import UserError, printable_lines

# name: (module under pixeltui.commands, what it does); the order of `pixeltui --help`
COMMANDS = {
    "train": ("train", "train a model"),
    "attach": ("attach", "open the console on a run that trains elsewhere, or is over"),
    "sample": ("sample", "generate images from a checkpoint"),
    "sweep": ("sweep", "what the temperature does: a row of images for each, with the same noise"),
    "complete": ("complete", "fill in the rest of real images; what is kept stays bit for bit"),
    "eval": (
        "evaluate",
        "likelihood with its standard error; classes by Bayes' rule; samples beside real images",
    ),
    "inspect": ("inspect", "what a checkpoint does inside; whether mask, model and sampler are right"),
    "runs": ("runs", "list, show, compare, rename, tag, annotate, delete and export runs"),
    "report": ("report", "one HTML page of a run, or of several beside each other"),
    "data": ("data", "what a data set is, and where it comes from"),
    "bench": ("bench", "the speed of this machine, side by side with the naive method"),
    "doctor": ("doctor", "what this machine and this terminal offer"),
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""errors of an output whose disk takes no more"""
SPINS = "1000"
"""looks of a thread that waits: a busy machine trains four times as fast by it, an idle one as fast (docs/LOG.md)"""
EPILOG = """\
a RUN is a run's name, a unique prefix of it, or its path
exit status: 0 done; 1 failed; 2 wrong usage or config; 130, 143 stopped by SIGINT, SIGTERM after a checkpoint

first samples in three minutes:  pixeltui --no-ui train --preset quick
"""


class CommandParser(argparse.ArgumentParser):
    """A command's parser, which imports the command's module when that command is the one to run."""

    module = ""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        if self.module:
            importlib.import_module(f"pixeltui.commands.{self.module}").add_arguments(self)
            options.add_common(self, hidden=True)
            self.module = ""
        return super().parse_known_args(args, namespace)


def make_parser() -> argparse.ArgumentParser:
    """Of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="pixeltui",
        description="Train and sample PixelCNN image models from the terminal. Alone it opens the console.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pixeltui {__version__}")
    options.add_common(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)
    for name, (module, meaning) in COMMANDS.items():
        subparsers.add_parser(name, help=meaning, description=meaning, allow_abbrev=False).module = module
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    before = _await_training() if argv is None else {}
    _mend_streams()
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.color != "auto":
        from pixeltui.ui.colors import use_depth

        use_depth(args.color)
    if args.command != "train":
        for number, handler in before.items():
            signal.signal(number, handler)
    # The console has handlers of its own, and whoever starts a program may have it ignore signals.
    taken_back = {
        number: handler
        for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))
        if before and signal.getsignal(number) is handler and args.command not in ("train", "attach", None)
    }
    for number in taken_back:
        signal.signal(number, _interrupt if number == signal.SIGINT else _terminate)
    if args.command is None and (args.no_ui or not sys.stdin.isatty() or not sys.stdout.isatty()):
        parser.print_help()
        return 0
    status = _run("console" if args.command is None else COMMANDS[args.command][0], args)
    for number, handler in taken_back.items():
        signal.signal(number, handler)
    for stream in (sys.stdout, sys.stderr):
        options.let_go(stream)
    return status


def run() -> NoReturn:
    """The program. One of several processes ends without the interpreter's clean-up: threads of torch's that still let
    go of what they exchanged can abort it then, and torchrun takes a run that has finished for failed."""
    _rest_soon()
    status = main()
    if launch.several():
        os._exit(status)
    _keep(status)
    sys.exit(status)


def _keep(status: int) -> None:
    """Whatever signal still comes: while the interpreter waits for its threads it cuts that short, and then, when
    Python's own handlers are gone, it does nothing. A training that a console which failed has left behind stops as
    ever, with a checkpoint."""
    if any(thread.name == "training" for thread in threading.enumerate()):  # session.local's
        return
    _on_stop(lambda number, frame: os._exit(status))
    atexit.register(_on_stop, signal.SIG_IGN)


def _on_stop(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _rest_soon() -> None:
    """Threads of torch's that wait for one another are to sleep before long, if the user has not said how they wait:
    those that look on, as GNU OpenMP has it, use up their share of a busy processor before there is work."""
    if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        os.environ["GOMP_SPINCOUNT"] = SPINS


def _await_training() -> dict[signal.Signals, Any]:
    """Until there is a run to save, a stop ends the process without a word; SLURM's warning, and the wish to see where
    it hangs, do nothing.

    Returns the handlers before.
    """
    handlers: dict[signal.Signals, Any] = {
        number: lambda number, frame: os._exit(128 + number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number in (signal.SIGUSR1, signal.SIGQUIT):
        handlers[number] = lambda number, frame: None  # unlike SIG_IGN, no child inherits it
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


class Interrupted(KeyboardInterrupt):
    """By SIGINT. Where a KeyboardInterrupt itself leaves a text that is executed, as where a dataclass is made,
    `python -m` ends by the signal and not with the status that it is given."""


class Terminated(KeyboardInterrupt):
    """By SIGTERM: what a command has begun is taken back as after an interrupt."""


def _interrupt(number: int, _: object) -> NoReturn:
    raise Interrupted


def _terminate(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise Terminated


def _mend_streams() -> None:
    """Opens those that `>&-` has closed: the next file that is opened would take the number of one, and get what is
    printed. What an output's locale does not have becomes a question mark."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _run(module: str, args: argparse.Namespace) -> int:
    try:
        status: int = importlib.import_module(f"pixeltui.commands.{module}").run(args)
        sys.stdout.flush()
    except UserError as error:
        return _failed(str(error), error.exit_status, args.debug)
    except Terminated:
        return _failed("terminated", 143, args.debug)
    except KeyboardInterrupt:
        return _failed("interrupted", 130, args.debug)
    except BrokenPipeError:
        return 1  # the reader has gone, as in `pixeltui runs list | head`: nobody is left to tell
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            return _unexpected(error, args.debug)
        return _failed(f"the output could not be written: {error.strerror}", 1, args.debug)
    except Exception as error:
        return _unexpected(error, args.debug)
    return status


def _unexpected(error: Exception, debug: bool) -> int:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _failed(f"unexpected {what} (--debug shows where)", 1, debug)


def _failed(message: str, status: int, debug: bool) -> int:
    if debug:
        options.say(traceback.format_exc().rstrip(), sys.stderr)
    if message:  # none: another of a run's processes says it
        options.say(f"pixeltui: {printable_lines(message)}", sys.stderr)
    return status


if __name__ == "__main__":
    run()
