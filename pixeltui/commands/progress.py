"""A bar on stderr while a command works, where that is a terminal."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import Progress


class Update(Protocol):
    def __call__(self, done: float, total: float, what: str | None = None, /) -> None: ...


@contextlib.contextmanager
def bar(what: str) -> Iterator[Update]:
    """Gives a function to call with (done, total) and, where that changes, what is being done; the bar is gone
    afterwards."""
    with Progress(transient=True, disable=not sys.stderr.isatty(), console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None)

        def update(done: float, total: float, what: str | None = None, /) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield update
