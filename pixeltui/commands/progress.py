"""A bar on stderr while a command works, where that is a terminal."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from pixeltui.errors import printable


class Update(Protocol):
    def __call__(self, done: float, total: float, what: str | None = None, /) -> None: ...


@contextlib.contextmanager
def bar(what: str) -> Iterator[Update]:
    """Gives a function to call with (done, total), 0 where the total is not known, and, where that changes, what is
    being done; the bar is gone afterwards."""
    with Progress(transient=True, disable=not sys.stderr.isatty(), console=Console(stderr=True)) as progress:
        task = progress.add_task(_plain(what), total=None)

        def update(done: float, total: float, what: str | None = None, /) -> None:
            progress.update(task, completed=done, total=total or None, description=what and _plain(what))

        yield update


def _plain(what: str) -> str:
    """Nothing in it is markup, or steers the terminal."""
    return escape(printable(what))
