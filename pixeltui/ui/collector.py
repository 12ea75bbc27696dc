"""The garbage collector, kept from the keys: beside torch it looks at 400,000 objects, for a quarter of a second."""

import gc
import time
from typing import Final

EVERY_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 2.0
"""without a key, after which a pause is not felt"""
NEVER: Final = 1 << 30


class Collector:
    """Young objects are collected as ever; all of them only while nobody types. Of one process, not of one app."""

    def __init__(self) -> None:
        self._before = gc.get_threshold()
        gc.set_threshold(*self._before[:2], NEVER)
        self._due = time.monotonic() + EVERY_SECONDS

    def spare(self) -> None:
        """What is there now is taken to be there for good, and never looked at again."""
        gc.freeze()

    def look(self, idle: float) -> None:
        """To be called often. idle: seconds since the last key."""
        if idle >= IDLE_SECONDS and time.monotonic() >= self._due:
            gc.collect()
            self._due = time.monotonic() + EVERY_SECONDS

    def close(self) -> None:
        gc.set_threshold(*self._before)
        gc.unfreeze()
