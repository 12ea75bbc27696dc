"""Opening the console, and what is left to do when it closes: nothing of the console can end training."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pixeltui.commands import options
from pixeltui.errors import UsageError, UserError, printable
from pixeltui.session.inbox import Signals
from pixeltui.store.files import open_to_append

if TYPE_CHECKING:
    from pixeltui.config import Ui
    from pixeltui.session.local import LocalSession
    from pixeltui.session.session import Session
    from pixeltui.session.worker import TrainRequest
    from pixeltui.ui.app import Console

HANGUP_STATUS = 129
NO_TERMINAL = (
    "the console needs a terminal for its input and its output; without one: "
    "pixeltui --no-ui train, pixeltui runs, pixeltui runs show RUN"
)


def has_terminal() -> bool:
    """Whether there is one to read keys from and to draw on."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def run(args: argparse.Namespace) -> int:
    """`pixeltui` alone: the run browser."""
    return open_console(args)


def open_console(
    args: argparse.Namespace, *, request: "TrainRequest | None" = None, session: "Session | None" = None
) -> int:
    """Runs the console, and training on when it closes. Returns the exit status."""
    from pixeltui.ui.collector import Collector
    from pixeltui.ui.colors import use_depth
    from pixeltui.ui.guard import guard
    from pixeltui.ui.listing import Listing

    if not has_terminal():
        raise UsageError(NO_TERMINAL)
    ui = ui_of(request)
    if args.low_bandwidth:
        ui = msgspec.structs.replace(ui, low_bandwidth=True)
    if use_depth(args.color) == "truecolor" and ui.low_bandwidth and args.color == "auto":
        use_depth("256")  # half the bytes of an image
    parent = guard()
    listing = Listing(args.runs_dir) if request is None and session is None else None
    signals = Signals(stop_on_hangup=getattr(args, "on_hangup", "continue") == "stop")
    signals.install()
    with tempfile.TemporaryFile() as strayed:
        terminal = _take_terminal(strayed.fileno())
        collector = Collector()
        from pixeltui.ui.app import Console

        collector.spare()
        app = Console(
            args.runs_dir,
            ui=ui,
            request=request,
            session=session,
            signals=signals,
            collector=collector,
            first_listing=listing.take if listing is not None else lambda: None,
        )
        left = app.run() if os.isatty(terminal) else "hangup"  # it may have gone while textual was imported
        collector.close()
        local = app.training_session
        if left == "hangup":
            if signals.stop_on_hangup:
                signals.stop(signal.SIGHUP)
            _leave_terminal(local)
            parent.release()
        elif app.gave_up:
            _leave_terminal(local)
        else:
            _give_terminal(terminal, strayed.fileno())
            if local is not None and local.alive and left not in ("signal", "stopped"):
                _tell_detached(local, args, failed=left != "detach")
                _leave_terminal(local)
                parent.release()
    return _end(app, local, args)


def ui_of(request: "TrainRequest | None") -> "Ui":
    """[ui] of ~/.config/pixeltui/config.toml, where there is one, below what the run's config says otherwise.

    A run's config.toml has every key: a default in it says nothing. Raises UserError.
    """
    from pixeltui.config import Ui, load_config
    from pixeltui.session.resuming import key_of

    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    path, default = home / "pixeltui" / "config.toml", Ui()
    users = load_config(path).ui if path.is_file() else default
    if request is None:
        return users
    runs, asked = request.resolve().ui, {key_of(override) for override in request.overrides}
    said = {
        name: value
        for name in Ui.__struct_fields__
        if (value := getattr(runs, name)) != getattr(default, name) or f"ui.{name}" in asked
    }
    return msgspec.structs.replace(users, **{**said, "keys": {**users.keys, **runs.keys}})


def _take_terminal(strayed: int) -> int:
    """The console alone draws: whatever else is written to stdout or stderr, by C code too, is kept for later."""
    terminal = os.dup(2)
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ["PIXELTUI_TERMINAL"] = str(terminal)
    os.dup2(strayed, 1)
    os.dup2(strayed, 2)
    return terminal


def _give_terminal(terminal: int, strayed: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    size = os.fstat(strayed).st_size
    if size:
        os.write(2, os.pread(strayed, min(size, 1 << 16), max(0, size - (1 << 16))))


def _tell_detached(local: "LocalSession", args: argparse.Namespace, *, failed: bool) -> None:
    name = printable(local.run.name if local.run else "the run")
    where, reference = options.found_by(local.run, args.runs_dir) if local.run else ("", "RUN")
    if failed:
        going_on = "" if local.paused else "; training goes on"
        options.say(f"pixeltui: the console has failed{going_on}", sys.stderr)
    attach = f"pixeltui {where}attach {reference}"
    if local.paused:
        options.say(f"{name} is paused without a terminal, and stays so until p in: {attach}")
    else:
        options.say(f"{name} trains on without a terminal; to see it again: {attach}")


def _leave_terminal(local: "LocalSession | None") -> None:
    """Points stdin, stdout and stderr away from a terminal that goes or is gone: at the run's log."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    log = nowhere
    if local is not None and local.run is not None:
        try:
            log = open_to_append(local.run.own(local.run.log_path))
        except OSError:
            log = nowhere
    os.dup2(nowhere, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _end(app: "Console", local: "LocalSession | None", args: argparse.Namespace) -> int:
    """Waits for training to end, and says how it did."""
    if local is None and app.stopped_by is not None and app.return_value == "signal":
        return 128 + app.stopped_by
    if local is None:
        return HANGUP_STATUS if app.return_value == "hangup" else app.return_code or 0
    if local.alive and app.return_value in ("signal", "stopped"):
        options.say("writing a checkpoint")
    local.join()
    if local.error is not None:
        raise UserError(printable(local.error))
    from pixeltui.commands.train import conclude

    assert local.run is not None
    assert local.outcome is not None
    return conclude(local.outcome, local.run, args.runs_dir)
