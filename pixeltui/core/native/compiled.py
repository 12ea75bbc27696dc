"""The compiled steps of a sampler, and on how many threads they run."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from pixeltui.core.native.library import Library, load
from pixeltui.core.parts import Unsupported

Kind = TypeVar("Kind", bound="NativeSteps")

LEAST_IMAGES = 2
"""images that make a thread worth its weights' way to another core"""
PATIENCE = 300
"""microseconds lost at a time"""
FEWEST_ALONE, MOST_ALONE = 4, 512
"""times that are not shared after one in which that was too long"""


class NativeSteps:
    """The compiled steps of a sampler, on as many threads as torch has."""

    least_pixels: int
    """of those that are computed at once, that make a thread worth what `LEAST_IMAGES` says"""
    tolerance: float = 0.0
    """share of the time that a thread may lose to others, where that is more than PATIENCE"""

    def __init__(self, sampler: Any, library: Library, lanes: int) -> None:
        self.library, self.lanes = library, lanes
        self.threads = torch.get_num_threads()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Without other threads of torch's: they stay awake for milliseconds after an operation, in these ones' way."""
        self.threads = one_thread.enter()
        try:
            yield
        finally:
            one_thread.leave(self.threads)

    @classmethod
    def of(cls: type[Kind], sampler: Any) -> Kind | None:
        """None where there is no compiled library or it lacks a part of the model."""
        library = load()
        if isinstance(library, str):
            return None
        try:
            return cls(sampler, library, library.lanes)
        except Unsupported:
            return None

    def on_threads(self, images: int, pixels: int, draw: Callable[[int, int], int]) -> None:
        """draw: on so many threads, with so many groups of images; the microseconds that are lost where they share."""
        threads, groups = threads_for(self.threads, images, pixels // self.least_pixels)
        if threads > groups and not sharing.pays():
            threads = groups
        began = time.perf_counter()
        lost = draw(threads, groups)
        if threads > groups:
            sharing.lost(lost, max(PATIENCE, self.tolerance * 1e6 * (time.perf_counter() - began)))


class OneThread:
    """Torch has one thread for those who draw, and as many as before when they have drawn. Each caller's number is its
    own; a new one begins with the newest of all, which is one while somebody draws."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawing, self._threads = 0, 1

    def enter(self) -> int:
        """How many threads the caller had; of one, as many as the first of those who draw: it may be new."""
        with self._lock:
            own = torch.get_num_threads()
            if not self._drawing:
                self._threads = own
            self._drawing += 1
            torch.set_num_threads(1)
            return own if own > 1 else self._threads

    def leave(self, threads: int) -> None:
        """threads: of `enter`."""
        with self._lock:
            self._drawing -= 1
            torch.set_num_threads(threads)


def threads_for(threads: int, images: int, shares: int) -> tuple[int, int]:
    """How many of the threads draw images whose pixels are worth so many shares, and how many groups of images.

    With a group for each thread none waits for another. Of fewer images they share what is computed at once.
    """
    groups = max(1, min(threads, images // LEAST_IMAGES))
    return max(groups, min(threads, shares)), groups


class Sharing:
    """Whether threads share what they draw: not where others want the processors. A thread that loses its own in the
    middle of what it has begun makes the rest wait for milliseconds; then the next ones are left to one, twice as many
    each time."""

    def __init__(self) -> None:
        self.alone = 0
        """times until the next attempt"""
        self.pause = FEWEST_ALONE

    def pays(self) -> bool:
        self.alone = max(self.alone - 1, 0)
        return not self.alone

    def lost(self, microseconds: int, patience: float = PATIENCE) -> None:
        if microseconds > patience:
            self.alone, self.pause = self.pause, min(2 * self.pause, MOST_ALONE)
        else:
            self.pause = FEWEST_ALONE


one_thread = OneThread()
sharing = Sharing()
"""of this process: what else the machine does is the same for all streams"""
