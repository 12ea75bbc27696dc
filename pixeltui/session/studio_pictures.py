"""Drawn images: what the process that draws shows the console of them, and how they are kept with the run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui.errors import UserError, printable
from pixeltui.session.wishes import Draw, Rows

if TYPE_CHECKING:
    from torch import Tensor

    from pixeltui.train.draw import Plan
    from pixeltui.train.load import LoadedModel


def rows_of(
    wish: Draw, loaded: "LoadedModel", plan: "Plan", images: "Tensor", row: int, done: bool, seconds: float
) -> Rows:
    """The answer that shows images so far, [N, C, H, W]; of a completion the original and what is kept come first."""
    labels = plan.all_labels()
    names = [str(loaded.classes[label]) for label in labels]
    first = 2 if wish.source else 0
    if len(plan.temperatures) > 1:
        temperatures = [f"T{t:g}" for t in plan.temperatures for _ in range(plan.count)]
        names = [f"{t} {name}" for t, name in zip(temperatures, names, strict=True)] if names else temperatures
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


def keep(run: str, levels: int, images: "Tensor", settings: dict[str, Any], rows: Rows) -> Path:
    """Writes images [N, C, H, W] and what produced them into the run's samples/, as a sheet that is laid out as `rows`.

    run: its path. Raises UserError.
    """
    from pixeltui.data.grid import write_samples
    from pixeltui.store.files import own_folder
    from pixeltui.store.rundir import RunDir
    from pixeltui.train.draw import stamp

    folder = RunDir.open(Path(run)).samples_dir
    path = folder / f"drawn-{stamp()}.png"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"drawn-{stamp()}-{number}.png"
    try:
        own_folder(folder).mkdir(exist_ok=True)
        write_samples(
            path,
            images,
            levels=levels,
            names=rows.names,
            columns=rows.columns,
            settings={**settings, "names": rows.names, "count": len(images)},
        )
    except OSError as error:
        raise UserError(f"{printable(path)} could not be written: {error.strerror or error}") from None
    return path
