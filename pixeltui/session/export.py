"""A run's weights for others, for front ends that know no tensors."""

from collections.abc import Callable
from pathlib import Path

from pixeltui.errors import UserError
from pixeltui.store.rundir import RunDir


def export_run(run: RunDir, out: Path, warn: Callable[[str], None]) -> Path:
    """The best averaged weights at `out`; returns the model card's path. Raises UserError."""
    from pixeltui.train.export import export

    try:
        return export(run, out, checkpoint="best", weights="ema", warn=warn)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from None
