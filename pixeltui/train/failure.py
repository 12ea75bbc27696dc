"""Why training ended early, and what to do about it."""

from pixeltui.errors import UserError
from pixeltui.train.state import Progress

OF_MICRO_BATCH = 'not quite the same gradient: the statistics of norm = "batch" are those of a micro-batch'


class TrainingFailed(UserError):
    """Training cannot go on; says where the last good state is."""


def not_finite(steps: int, progress: Progress, run: str) -> str:
    return (
        f"loss or gradient was not finite for {steps} steps in a row up to step {progress.step}; those steps were not "
        f"applied; {last_good(progress)}; resume with a lower learning rate: "
        f"pixeltui train --resume {run} --set train.lr={progress.lr / 10:.2g}"
    )


def halved(size: int, before: int, accumulate: int, *, batch_norm: bool) -> str:
    """Of a step that was repeated with more micro-batches than before. size: of a process's part of the batch."""
    sizes = [-(-size // parts) for parts in (before, accumulate)]
    same = OF_MICRO_BATCH if batch_norm else "the same loss and gradient"
    return (
        f"out of memory with micro-batches of {sizes[0]} images: the step was repeated with {sizes[1]}, as all others "
        f"will be ({same}); from the start: --set train.accumulate={accumulate}"
    )


def out_of_memory(size: int, progress: Progress, accumulate: int, *, batch_norm: bool) -> str:
    """size: of a process's part of the batch."""
    more = next((n for n in range(accumulate + 1, size + 1) if size % n == 0), None)
    same = OF_MICRO_BATCH if batch_norm else "the same gradient, less memory"
    advice = (
        f"try micro-batches of {size // more}: --set train.accumulate={more} ({same})"
        if more
        else "not even one image fits: make the model smaller"
    )
    return f"out of memory with micro-batches of {-(-size // accumulate)} images; {advice}; {last_good(progress)}"


def not_saved(progress: Progress) -> str:
    return (
        "the last checkpoint could not be written: make room, or the folder writable, and resume; "
        f"{last_good(progress)}"
    )


def last_good(progress: Progress) -> str:
    saved = progress.saved_at
    return f"the last good checkpoint is that of step {saved}" if saved >= 0 else "no checkpoint was written yet"
