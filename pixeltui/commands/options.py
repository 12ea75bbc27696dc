"""Arguments that several commands take."""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pixeltui.errors import printable_lines, wrong_number
from pixeltui.store.place import default_runs_dir

if TYPE_CHECKING:
    from pixeltui.store.rundir import RunDir


def number(**limits: float) -> Callable[[str], float]:
    """An argparse type: a finite float in a range; limits: as of `wrong_number`."""

    def parse(text: str) -> float:
        if wrong := wrong_number(text, **limits):
            raise argparse.ArgumentTypeError(f"{wrong}, got {text!r}")
        return float(text)

    return parse


def whole(*, least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: an int in a range."""

    def parse(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        if most is not None and int(text) > most:
            raise argparse.ArgumentTypeError(f"expected a whole number of at most {most}, got {text}")
        return int(text)

    return parse


def image_count(text: str) -> int:
    """An argparse type: as many images as sample.count may be. Their levels and labels are all in memory."""
    from pixeltui.config_checks import MOST

    return whole(least=1, most=int(MOST["sample.count"]))(text)


def add_common(parser: argparse.ArgumentParser, *, hidden: bool = False) -> None:
    """Options that may stand before the command and, left out of its help, behind it."""

    def add(flag: str, default: Any, meaning: str, **how: Any) -> None:
        value, text = (argparse.SUPPRESS, argparse.SUPPRESS) if hidden else (default, meaning)
        parser.add_argument(flag, default=value, help=text, **how)

    add("--no-ui", False, "no console: progress, or plain lines where there is no terminal", action="store_true")
    here = default_runs_dir()
    add("--runs-dir", here, "where runs are kept (default: runs, or $PIXELTUI_RUNS_DIR)", type=Path, metavar="DIR")
    colors = ("auto", "truecolor", "256", "16", "none")
    add("--color", "auto", "colours of console and images (default: what the terminal says it has)", choices=colors)
    add("--low-bandwidth", False, "a console for slow connections: few updates, 256 colours", action="store_true")
    add("--debug", False, "show tracebacks", action="store_true")


def counted(number: int, what: str) -> str:
    """ "1 image", "2 images"."""
    return f"{number} {what}{'s' * (number != 1)}"


def warn(message: str) -> None:
    """To stderr: stdout may be a JSON document, or half blocks."""
    say(f"pixeltui: warning: {printable_lines(message)}", sys.stderr)


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints what must not end the work that it tells of: a disk may be full, a terminal gone. On stdout by default."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=stream, flush=True)


def let_go(stream: TextIO) -> None:
    """Flushes it for the last time: what it does not take now is lost, and is not tried again as the process ends."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def found_by(run: "RunDir", runs_dir: Path) -> tuple[str, str]:
    """What a command needs before its name, "--runs-dir DIR " or nothing, and behind it, to find the run again."""
    beside = run.path.absolute().parent == runs_dir.absolute()
    where = f"--runs-dir {shlex.quote(str(runs_dir))} " if beside and runs_dir != default_runs_dir() else ""
    return where, run.reference(runs_dir)


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's name, a unique prefix of it, or its path")


def checkpoint(text: str) -> str:
    """An argparse type: best, last or a step, or the file's name, which is what JSON output calls it."""
    return text.removesuffix(".safetensors").removeprefix("step-")


def add_checkpoint(parser: argparse.ArgumentParser, *, both: bool = False) -> None:
    which = "which weights (default: best)"
    parser.add_argument("--checkpoint", type=checkpoint, default="best", metavar="best|last|STEP", help=which)
    weights = ("ema", "raw", "both") if both else ("ema", "raw")
    meaning = f"averaged, raw{', or averaged with raw ones beside them' if both else ''} (default: ema)"
    parser.add_argument("--weights", choices=weights, default="ema", help=meaning)
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1 (default: auto)")


def add_sampling(parser: argparse.ArgumentParser, *, count: str = "images", classes: str = "all") -> None:
    """None: the run's own [sample] config."""
    parser.epilog = "options of images that name no default: as [sample] in the run's config says"
    parser.add_argument("-n", "--count", type=image_count, metavar="N", help=count)
    parser.add_argument("--label", metavar="L[,L...]", help=f"classes by name or number, in turn (default: {classes})")
    add_drawing(parser)
    add_precision(parser)


def add_precision(parser: argparse.ArgumentParser) -> None:
    meaning = "fp32, exact; bf16, faster on GPUs and not exact: logits are off by about 1e-2 (default: fp32)"
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help=meaning)


def add_drawing(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--top-p", type=number(over=0, most=1), metavar="P", help="nucleus sampling; 1: all levels")
    parser.add_argument(
        "--guidance", type=number(least=0), metavar="G", help="classifier-free guidance; 1: none, 0: no class"
    )
    parser.add_argument("--seed", type=whole(least=0), metavar="S", help="the same seed, the same images")


def add_temperature(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--temperature", type=number(over=0), metavar="T", help="1: the model's own distribution")
