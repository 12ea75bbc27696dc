"""The model that the console's drawing process has at hand, while the run goes on."""

from pathlib import Path

import pytest
import torch

from pixeltui.session.studio_models import Models
from pixeltui.session.wishes import Model
from pixeltui.store.rundir import RunDir


@pytest.mark.parametrize("checkpoint", ["best", "last", "10"])
def test_newer_weights_are_loaded_once_and_used(checkpoint: str, runs_copy: Path) -> None:
    """Also where "best" is the newest checkpoint for want of a validation, and of a step that was trained anew."""
    run = RunDir.open(runs_copy / "done")
    folder = run.checkpoints_dir
    (folder / "best.safetensors").unlink()
    models, wish = Models(lambda answer: None), Model(run=str(run.path), checkpoint=checkpoint)
    was_enabled = torch.is_grad_enabled()
    try:
        before = models.load(1, wish)
        assert models.load(2, wish) is before
        named = folder / ("step-00000010.safetensors" if checkpoint == "10" else "last.safetensors")
        (folder / "step-00000005.safetensors").replace(named)
        after = models.load(3, wish)
        assert (before.step, after.step) == (10, 5)
    finally:
        torch.set_grad_enabled(was_enabled)
