"""The first listing of a folder, by a process of its own: importing textual takes as long, on another core."""

import contextlib
import os
from pathlib import Path

import msgspec

from pixeltui.ui.run_list import Known, RunList


class Listing:
    """Begun before anything else runs in this process but its one thread."""

    def __init__(self, runs_dir: Path) -> None:
        reader, writer = os.pipe()
        self._reader = reader
        self._child = os.fork()
        if self._child:
            os.close(writer)
            return
        try:  # whatever happens, this process writes nowhere else and runs nothing more
            os.close(reader)
            os.nice(5)
            runs = RunList(runs_dir)
            runs.reload()
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(msgspec.msgpack.encode(runs.known))
        finally:
            os._exit(0)

    def take(self) -> Known | None:
        """Once, when it has been read; None where the process did not come to its end."""
        with os.fdopen(self._reader, "rb") as pipe:
            content = pipe.read()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._child, 0)
        try:
            return msgspec.msgpack.decode(content, type=Known)
        except msgspec.DecodeError:
            return None
