"""Reading events.jsonl: whole, or what is new since the last look. Lines that are no events are counted."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pixeltui.events import AnyEvent
from pixeltui.store.files import open_regular

CHUNK = 1 << 20
LONGEST_LINE = 1 << 20
_decoder = msgspec.json.Decoder(AnyEvent)


class EventReader:
    """Follows a log that another process may be writing. A line without its end is left for the next look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._overlong = False
        self.skipped = 0
        """lines so far that were no events"""

    def read_new(self) -> list[AnyEvent]:
        """The events that were completed since the last call; none where the file cannot be read."""
        return list(self.iterate())

    def iterate(self) -> Iterator[AnyEvent]:
        """Like read_new, without holding them all. Stops early where the file cannot be read."""
        try:
            file = open_regular(self._path)
        except OSError:
            return
        with file, contextlib.suppress(OSError):
            if os.fstat(file.fileno()).st_size < self._offset:
                # Replaced by a shorter log: what was read does not continue here.
                self._offset, self._rest, self._overlong = 0, b"", False
            file.seek(self._offset)
            while chunk := file.read(CHUNK):
                self._offset += len(chunk)
                yield from self._decode(chunk)

    def _decode(self, chunk: bytes) -> Iterator[AnyEvent]:
        first, *others = chunk.split(b"\n")
        if not others:
            self._keep(first)
            return
        lines = [self._rest + first, *others[:-1]]
        if self._overlong:
            lines = lines[1:]
            self.skipped += 1
        self._rest, self._overlong = b"", False
        self._keep(others[-1])
        for line in lines:
            if not line.strip() or len(line) > LONGEST_LINE:
                self.skipped += bool(line.strip())
                continue
            try:
                yield _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.skipped += 1

    def _keep(self, piece: bytes) -> None:
        """Holds the beginning of a line, but never more than a line may be long."""
        if len(self._rest) + len(piece) > LONGEST_LINE:
            self._rest, self._overlong = b"", True
        elif not self._overlong:
            self._rest += piece


def decode_lines(lines: list[bytes]) -> list[AnyEvent]:
    """The events among complete lines."""
    events = []
    for line in lines:
        if not line or len(line) > LONGEST_LINE:
            continue
        try:
            events.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return events
