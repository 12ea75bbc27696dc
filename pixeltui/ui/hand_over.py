"""What a worker's thread has found, for its widget to show."""

from collections.abc import Callable
from typing import Any

from textual.widget import Widget
from textual.worker import get_current_worker


def hand_over(widget: Widget, show: Callable[..., object], *found: Any) -> None:
    """Called in the worker's thread. Nothing is shown once the worker is cancelled, or its widget on its way out:
    of one that goes the children go first, the workers last."""
    worker = get_current_worker()

    def call() -> None:
        if widget.is_attached and not widget._pruning and not worker.is_cancelled:
            show(*found)

    if not worker.is_cancelled:
        widget.app.call_from_thread(call)
