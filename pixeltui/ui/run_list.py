"""The runs of a folder, read again only where they changed; their order and filter; their columns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pixeltui.store.rundir import run_paths
from pixeltui.store.summary import Mark, RunSummary, age, formatted, list_runs, mark, size, speed, summarize

RUNNING: Final = ("training", "paused")
WIDE_NAME, SHORT_NAME, NARROWEST_NAME = 34, 16, 7
"""cells of a name for which a column gives way; for which an essential one does; that it has in any case"""
ESSENTIAL: Final = 2
"""importance"""


@dataclass(frozen=True)
class Column:
    """key: the letter that sorts by it. importance: 0 is never left out for want of room. order: None comes last."""

    name: str
    key: str
    width: int
    importance: int
    show: Callable[[RunSummary], str]
    order: Callable[[RunSummary], Any]
    right: bool = False


def _bits(value: float | None) -> str:
    """In six cells, also where a model has diverged."""
    return formatted(value, ".3f" if abs(value or 0.0) < 99.9995 else ".4g" if abs(value or 0.0) < 9999.5 else ".0e")


COLUMNS: Final = (
    Column("name", "n", 28, 0, lambda r: r.name, lambda r: r.name.lower()),
    Column("state", "s", 10, 1, lambda r: r.state, lambda r: r.state),
    Column("data", "d", 10, 5, lambda r: Path(r.data or "").stem, lambda r: r.data or None),
    Column("preset", "p", 8, 7, lambda r: r.preset or "", lambda r: r.preset or None),
    Column("epoch", "e", 7, 4, lambda r: formatted(r.epoch, ".1f"), lambda r: r.epoch, True),
    Column("step", "t", 7, 6, lambda r: formatted(r.step, "d"), lambda r: r.step, True),
    Column(
        "val",
        "v",
        6,
        2,
        lambda r: _bits(r.best_val_bits_per_dim),
        lambda r: r.best_val_bits_per_dim,
        True,
    ),
    Column("test", "b", 6, 3, lambda r: _bits(r.test_bits_per_dim), lambda r: r.test_bits_per_dim, True),
    Column(
        "img/s",
        "i",
        7,
        8,
        lambda r: speed(r.images_per_second),
        lambda r: -r.images_per_second if r.images_per_second is not None else None,
        True,
    ),
    Column("size", "m", 8, 9, lambda r: size(r.parameters), lambda r: r.parameters, True),
    Column("age", "a", 10, 3, lambda r: age(r.updated), lambda r: _negative(r.updated)),
    Column("tags", "g", 12, 6, lambda r: " ".join(r.tags), lambda r: " ".join(r.tags) or None),
)
BY_LETTER: Final = {column.key: column for column in COLUMNS}


def _negative(stamp: str | None) -> tuple[int, ...] | None:
    """Orders ISO times newest first."""
    return tuple(-ord(c) for c in stamp) if stamp else None


def fitting(width: int, longest: int) -> tuple[list[Column], int]:
    """The columns that a table of this width has room for, in their order, and the width of names.

    longest: cells of the longest name. Names are cut rather than that state or best validation go.
    """
    kept = list(COLUMNS)
    while len(kept) > 1:
        room = width - 5 - sum(column.width + 2 for column in kept[1:])
        least = max(kept, key=lambda column: column.importance)
        if room >= min(longest, WIDE_NAME if least.importance > ESSENTIAL else SHORT_NAME):
            return kept, max(NARROWEST_NAME, min(longest, room))
        kept.remove(least)
    return kept, max(NARROWEST_NAME, min(longest, width - 5))


def matches(run: RunSummary, words: str) -> bool:
    """Whether every word is somewhere in name, state, data, preset or tags."""
    text = " ".join((run.name, run.state, run.data or "", run.preset or "", *run.tags)).lower()
    return all(word in text for word in words.lower().split())


def arranged(runs: Iterable[RunSummary], words: str, letter: str, reverse: bool) -> list[RunSummary]:
    """What has no value comes last, either way."""
    order = BY_LETTER[letter].order
    shown = [run for run in runs if matches(run, words)]
    known = sorted((run for run in shown if order(run) is not None), key=order, reverse=reverse)
    return known + [run for run in shown if order(run) is None]


Known = dict[str, tuple[Mark, RunSummary]]
"""mark and summary by path"""


class RunList:
    """Summaries by path. `reload` may run in a thread of its own."""

    def __init__(self, runs_dir: Path, first: Callable[[], Known | None] = lambda: None) -> None:
        """first: what somebody else has read already."""
        self.runs_dir = runs_dir
        self.known: Known = {}
        self._begin: Callable[[], Known | None] | None = first

    def reload(self) -> list[RunSummary]:
        """Every run; those whose files did not change are not read again."""
        begin, self._begin = self._begin, None
        if begin is not None and (read := begin()) is not None:
            self.known = read
            return [summary for _, summary in read.values()]
        if not self.known:
            return self._first()
        found: Known = {}
        for path in run_paths(self.runs_dir):
            now = mark(path)
            known = self.known.get(str(path))
            fresh = known is not None and known[0] == now and known[1].state not in RUNNING
            found[str(path)] = known if fresh and known is not None else (now, summarize(path))
        self.known = found
        return [summary for _, summary in found.values()]

    def _first(self) -> list[RunSummary]:
        """With what other listings have kept beside the runs."""
        marks = {str(path): mark(path) for path in run_paths(self.runs_dir)}
        runs = {run.path: run for run in list_runs(self.runs_dir)}
        # In the order of later readings, so that runs of one age do not change places.
        self.known = {path: (seen, runs[path]) for path, seen in marks.items() if path in runs}
        return [run for _, run in self.known.values()]
