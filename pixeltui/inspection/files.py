"""An inspection as files: PNG pictures and inspect.json."""

from pathlib import Path
from typing import Any

from pixeltui.data import DataSet
from pixeltui.errors import UserError, printable
from pixeltui.inspection.findings import Findings, Progress, inspect_model
from pixeltui.inspection.sheets import sheets
from pixeltui.inspection.verdicts import report
from pixeltui.store.files import write_atomic
from pixeltui.store.summary import json_document
from pixeltui.train.load import LoadedModel


def write_inspection(
    loaded: LoadedModel,
    run: str,
    data: DataSet,
    out: Path,
    *,
    split: str,
    images: int,
    progress: Progress | None = None,
) -> tuple[Findings, dict[str, Any]]:
    """Inspects and writes into `out`, which is made first, so that a wrong one costs no time. Raises UserError.

    run: its name. split, images: how many of which. The document is that of inspect.json.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = inspect_model(loaded, data.splits[split].spread(images), progress=progress)
        title = printable(f"{run}, {loaded.checkpoint} ({loaded.weights})")
        pictures = sheets(found, title, loaded.data["levels"], loaded.classes)
        about = {
            "run": run,
            "checkpoint": loaded.checkpoint,
            "step": loaded.step,
            "weights": loaded.weights,
            "data": loaded.data["name"],
            "split": split,
            "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        }
        document = report(found, about, list(pictures))
        for name, content in {**pictures, "inspect.json": json_document(document).encode() + b"\n"}.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise UserError(
            f"{printable(out)} could not be written: {error.strerror or error}; try another --out"
        ) from None
    return found, document
