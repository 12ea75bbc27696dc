"""Where a trainer's events go: into the run's log, and to whoever watches."""

import os
import threading
from typing import Protocol

from pixeltui.events import AnyEvent, Frame, SampleSaved
from pixeltui.session.recorder import Recorder
from pixeltui.session.tensorboard import TensorBoardWriter
from pixeltui.store.frames import FrameWriter


class Watcher(Protocol):
    """Sees what the log has got already; neither call blocks or raises."""

    def show(self, event: AnyEvent) -> None: ...

    def show_frame(self, frame: Frame) -> None: ...


class RecordingSink:
    """The trainer's sink: the log first, then whoever watches."""

    def __init__(
        self,
        recorder: Recorder,
        watcher: Watcher,
        tensorboard: TensorBoardWriter | None = None,
        frames: FrameWriter | None = None,
    ) -> None:
        """frames: where consoles of other processes look for the samples in progress."""
        self._recorder = recorder
        self._watcher = watcher
        self._tensorboard = tensorboard
        self._frames = frames
        self._lock = threading.Lock()

    def emit(self, event: AnyEvent) -> None:
        with self._lock:  # the watchdog's thread reports too
            self._recorder.emit(event)
            self._watcher.show(event)
            if self._tensorboard is not None:
                self._tensorboard.emit(event)
        if self._frames is not None and isinstance(event, SampleSaved):
            self._frames.remove()

    def frame(self, frame: Frame) -> None:
        self._watcher.show_frame(frame)
        if self._frames is not None:
            self._frames.write(frame)

    def sync(self) -> None:
        with self._lock:
            handle = self._recorder.flush()
        if handle < 0:
            return
        # Not under the lock: a slow disk holds up whoever saves, not the steps.
        try:
            os.fsync(handle)
        except OSError:
            pass  # the recorder tells of a disk that takes nothing
        finally:
            os.close(handle)


class Silent:
    """The sink of a process that is not the run's one writer."""

    def emit(self, event: AnyEvent) -> None:
        pass

    def frame(self, frame: Frame) -> None:
        pass

    def sync(self) -> None:
        pass
