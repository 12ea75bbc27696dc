"""Reading events.jsonl: whole, or what is new since the last look. Lines that are no events are counted."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import msgspec

from pixeltui.events import AnyEvent
from pixeltui.store.files import open_regular

CHUNK = 1 << 20
LONG = 8 << 20
"""bytes of a log from which a first look at it is worth more than all of it"""
GLANCES = 1 << 14
_GLANCE = 2 << 10
_END = 64 << 10
_BEGIN = b'{"type":"'
LONGEST_LINE = 1 << 20
_decoder = msgspec.json.Decoder(AnyEvent)


class EventReader:
    """Follows a log that another process may be writing. A line without its end is left for the next look."""

    def __init__(self, path: Path, *, end: int | None = None) -> None:
        """end: what is behind that byte is not read; None: all is, as it comes."""
        self.path = path
        self._end = end
        self._offset = 0
        self._rest = b""
        self._overlong = False
        self.skipped = 0
        """lines so far that were no events"""

    def read_new(self) -> list[AnyEvent]:
        """The events that were completed since the last call; none where the file cannot be read."""
        return list(self.iterate())

    def iterate(self) -> Iterator[AnyEvent]:
        """Like read_new, without holding them all."""
        for events in self.pieces():
            yield from events

    @property
    def unread(self) -> int:
        """Bytes of the log that were not looked at yet."""
        try:
            size = self.path.stat().st_size
            return max((size if self._end is None else min(size, self._end)) - self._offset, 0)
        except OSError:
            return 0

    def pieces(self) -> Iterator[list[AnyEvent]]:
        """Like read_new, some at a time. Stops early where the file cannot be read."""
        try:
            file = open_regular(self.path)
        except OSError:
            return
        with file, contextlib.suppress(OSError):
            if os.fstat(file.fileno()).st_size < self._offset:
                # Replaced by a shorter log: what was read does not continue here.
                self._offset, self._rest, self._overlong = 0, b"", False
            file.seek(self._offset)
            while chunk := file.read(CHUNK if self._end is None else min(CHUNK, self._end - self._offset)):
                self._offset += len(chunk)
                yield self._decode(chunk)

    def _decode(self, chunk: bytes) -> list[AnyEvent]:
        end = chunk.rfind(b"\n") + 1
        short = not self._overlong and len(self._rest) + chunk.find(b"\n") <= LONGEST_LINE
        if short and (events := _all_events(self._rest + chunk[:end])):
            self._rest = b""
            self._keep(chunk[end:])
            return events
        first, *others = chunk.split(b"\n")
        if not others:
            self._keep(first)
            return []
        lines = [self._rest + first, *others[:-1]]
        if self._overlong:
            lines = lines[1:]
            self.skipped += 1
        self._rest, self._overlong = b"", False
        self._keep(others[-1])
        events = decode_lines(lines)
        self.skipped += sum(1 for line in lines if line.strip()) - len(events)
        return events

    def _keep(self, piece: bytes) -> None:
        """Holds the beginning of a line, but never more than a line may be long."""
        if len(self._rest) + len(piece) > LONGEST_LINE:
            self._rest, self._overlong = b"", True
        elif not self._overlong:
            self._rest += piece


def decode_lines(lines: Iterable[bytes]) -> list[AnyEvent]:
    """The events among complete lines; those between two lines of something else are decoded in one go."""
    events: list[AnyEvent] = []
    for plain, group in groupby(lines, _is_plain):
        some = list(group)
        together = _decode_together(b"\n".join(some), len(some)) if plain else []
        events += together or _decode_each(some)
    return events


def _is_plain(line: bytes) -> bool:
    return line.startswith(_BEGIN) and line.endswith(b"}") and len(line) <= LONGEST_LINE


def _decode_each(lines: list[bytes]) -> list[AnyEvent]:
    events = []
    for line in lines:
        if not line.strip() or len(line) > LONGEST_LINE:
            continue
        try:
            events.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return events


def _all_events(lines: bytes) -> list[AnyEvent]:
    """The events of complete lines in one go, at a third of the cost; none where a line may be something else."""
    count = lines.count(b"\n")
    if not lines.startswith(_BEGIN) or not lines.count(b"\n" + _BEGIN) + 1 == lines.count(b"}\n") == count:
        return []
    return _decode_together(lines, count)


def _decode_together(lines: bytes, count: int) -> list[AnyEvent]:
    """The events of so many lines that begin and end as events do; none where one of them is something else."""
    # Together they are decoded more leniently: events may share a line, or take several. Not so many, of such lines.
    try:
        events = _decoder.decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return events if len(events) == count else []


def glance(path: Path) -> tuple[list[AnyEvent], int]:
    """The first and the last events of a long log and, in their order, some from all over it; and about how many lines
    it has. None where it cannot be read."""
    try:
        with open_regular(path) as file:
            size, fd = os.fstat(file.fileno()).st_size, file.fileno()
            lines = os.pread(fd, _END, 0).split(b"\n")[:-1]
            between = max(size - 2 * _END, 0)
            for i in range(GLANCES if between else 0):
                piece = os.pread(fd, _GLANCE, _END + i * between // GLANCES)
                start = piece.find(b"\n") + 1
                end = piece.find(b"\n", start)
                if 0 < start < end and (not lines or piece[start:end] != lines[-1]):
                    lines.append(piece[start:end])
            lines += os.pread(fd, _END, max(size - _END, 0)).split(b"\n")[1:-1]
    except OSError:
        return [], 0
    return decode_lines(lines), round(size * len(lines) / max(sum(map(len, lines)) + len(lines), 1))
