"""Why training ended early or goes on otherwise than it should, and what to do about it."""

from pixeltui.config import Train
from pixeltui.errors import UserError
from pixeltui.train.state import Progress

OF_MICRO_BATCH = 'not quite the same gradient: the statistics of norm = "batch" are those of a micro-batch'


class TrainingFailed(UserError):
    """Training cannot go on; says where the last good state is."""


def not_finite(steps: int, progress: Progress, train: Train, run: str) -> str:
    lower = f"--set train.lr={progress.lr / 10:.2g}"
    if train.optimizer == "muon":
        lower += f" --set train.muon_lr={train.muon_lr * progress.lr / train.lr / 10:.2g}"
    return (
        f"loss or gradient was not finite for {steps} steps in a row up to step {progress.step}; those steps were not "
        f"applied; {last_good(progress)}; resume with a lower learning rate: pixeltui train --resume {run} {lower}"
    )


def halved(batch_size: int, size: int, before: int, accumulate: int, *, batch_norm: bool) -> str:
    """Of a step that was repeated with more micro-batches than before. size: of a process's part of the batch."""
    sizes = [-(-size // parts) for parts in (before, accumulate)]
    same = OF_MICRO_BATCH if batch_norm else "the same loss and gradient"
    return (
        f"out of memory with micro-batches of {sizes[0]} images: the step was repeated with {sizes[1]}, as all others "
        f"will be ({same}); from the start: --set train.accumulate={_dividing(batch_size, accumulate)}"
    )


def without_kernels(why: str) -> str:
    return f"GPU kernels cannot be used here ({why}): torch does their work, more slowly; `pixeltui doctor` tells more"


def untrained_guidance(guidance: float) -> str:
    return (
        f"guidance {guidance:g} goes by images without a class, and this model is trained on none: draw with guidance "
        "1, or train with model.label_dropout over 0"
    )


def out_of_memory(batch_size: int, size: int, progress: Progress, accumulate: int, *, batch_norm: bool) -> str:
    """size: of a process's part of the batch."""
    advice = "not even one image fits: make the model smaller"
    if accumulate < size:
        more = _dividing(batch_size, accumulate + 1)
        same = OF_MICRO_BATCH if batch_norm else "the same gradient, less memory"
        advice = f"try micro-batches of {-(-size // min(more, size))}: --set train.accumulate={more} ({same})"
    return f"out of memory with micro-batches of {-(-size // accumulate)} images; {advice}; {last_good(progress)}"


def _dividing(batch_size: int, least: int) -> int:
    """The first number of micro-batches from `least` on that a config takes."""
    return next(n for n in range(least, batch_size + 1) if batch_size % n == 0)


def not_saved(progress: Progress) -> str:
    return (
        "the last checkpoint could not be written: make room, or the folder writable, and resume; "
        f"{last_good(progress)}"
    )


def device_failed(error: Exception, progress: Progress, run: str) -> str:
    reason = str(error).split("\n", 1)[0]
    return f"the device failed ({reason}); {last_good(progress)}; to go on from there: pixeltui train --resume {run}"


def last_good(progress: Progress) -> str:
    saved = progress.saved_at
    return f"the last good checkpoint is that of step {saved}" if saved >= 0 else "no checkpoint was written yet"


def other_data(run: str, data: str) -> str:
    return (
        f"the data set {data} is not the one that run {run} trains on (its images, labels or splits changed): put it "
        "back, say where it is now with --set data.name=PATH, or start a new run"
    )
