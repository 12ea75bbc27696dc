"""What the process that draws shows the console: images so far with their names."""

from typing import TYPE_CHECKING

from pixeltui.session.wishes import Draw, Rows

if TYPE_CHECKING:
    from torch import Tensor

    from pixeltui.train.draw import Plan
    from pixeltui.train.load import LoadedModel


def rows_of(
    wish: Draw, loaded: "LoadedModel", plan: "Plan", images: "Tensor", row: int, done: bool, seconds: float
) -> Rows:
    """The answer that shows images so far, [N, C, H, W]; of a completion the original and what is kept come first."""
    labels, names = plan.all_labels(), plan.names(loaded.classes)
    first = 2 if wish.source else 0
    if first:
        names = ["original", "kept", *(names or [""] * plan.count)]
    count, channels, height, width = images.shape
    return Rows(
        id=wish.id,
        shape=(count, channels, height, width),
        levels=loaded.data["levels"],
        pixels=images.numpy().tobytes(),
        rows=row,
        done=done,
        seconds=seconds,
        labels=tuple(labels),
        names=tuple(names),
        columns=plan.count if len(plan.temperatures) > 1 else None,
        first=first,
    )
