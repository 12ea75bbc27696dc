"""The model and the data that the process which draws has at hand: those that were asked for last."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui.errors import printable
from pixeltui.session.wishes import Answer, Model, Progress, Refused

if TYPE_CHECKING:
    from pixeltui.train.given import GivenImages
    from pixeltui.train.load import LoadedModel


class Models:
    """Loads what is asked for, where it is not there already. answer: takes what the console is told meanwhile."""

    def __init__(self, answer: Callable[[Answer], None]) -> None:
        self._answer = answer
        self._model: tuple[Model, tuple[Path, int, int], LoadedModel] | None = None
        self._given: tuple[Model, GivenImages] | None = None

    def load(self, wish_id: int, model: Model) -> "LoadedModel":
        """The model of these weights: the one at hand, where the file is still the same. Raises UserError, OSError."""
        from pixeltui.store.rundir import RunDir

        run = RunDir.open(Path(model.run))
        if "torch" not in sys.modules:
            self._answer(Progress(id=wish_id, text="starting torch"))
        import torch

        from pixeltui.train.checkpoint_store import CheckpointStore
        from pixeltui.train.load import load_model
        from pixeltui.train.precision import one_thread, pick_device

        path = CheckpointStore(run).find(model.checkpoint)
        mark = path, path.stat().st_mtime_ns, path.stat().st_ino
        if self._model is not None and self._model[:2] == (model, mark):
            return self._model[2]
        self._answer(Progress(id=wish_id, text=f"loading {printable(model.checkpoint)} of {printable(run.name)}"))
        one_thread()
        weights: Any = model.weights
        loaded = load_model(
            run,
            checkpoint=model.checkpoint,
            weights=weights,
            device=pick_device("auto"),
            warn=lambda text: self._answer(Refused(id=wish_id, message=printable(text))),
        )
        torch.set_grad_enabled(False)
        self._model = (model, mark, loaded)
        return loaded

    def images(self, wish_id: int, model: Model, loaded: "LoadedModel") -> "GivenImages":
        """Of the data that the run was trained on. Raises UserError."""
        from pixeltui.train.given import GivenImages

        if self._given is None or self._given[0].run != model.run:
            self._answer(Progress(id=wish_id, text=f"loading {printable(loaded.data['name'])}"))
            self._given = (model, GivenImages(loaded))
        return self._given[1]
