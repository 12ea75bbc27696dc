"""Activation checkpointing: what is kept, and that it changes nothing; whole runs: tests/train/test_training.py."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pixeltui.core import ConditionalPixelCNN, PixelCNNLoss

Tiny = Callable[..., ConditionalPixelCNN]


def trained(model: ConditionalPixelCNN, *, recompute: bool) -> tuple[float, list[Tensor], int]:
    """The loss, the gradients, and the bytes that a forward pass keeps for them."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.trunk.recompute = recompute
    model.zero_grad()
    torch.manual_seed(0)
    images = torch.randint(model.levels, (4, *model.image_shape), dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = PixelCNNLoss()(model, images, torch.tensor([0, 1, 0, 1]))
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None], sum(kept.values())


@pytest.mark.parametrize("architecture", ["two_stream", "single_stack", "depthwise"])
@pytest.mark.parametrize("attention", [False, True])
def test_blocks_keep_their_inputs_alone(tiny: Tiny, architecture: str, *, attention: bool) -> None:
    model = tiny((1, 8, 8), num_classes=2, attention=attention, architecture=architecture, blocks=8, dropout=0.3)
    model.train()
    loss, gradients, kept = trained(model, recompute=False)
    again, recomputed, little = trained(model, recompute=True)
    assert again == loss
    assert len(recomputed) == len(gradients)
    assert all(torch.equal(one, other) for one, other in zip(gradients, recomputed, strict=True))
    assert little < 0.5 * kept


def test_masks_of_seeded_images_ask_no_generator(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state cannot be read while a graph is recorded, and need not be: the second pass finds the masks again."""
    model = tiny((1, 8, 8), num_classes=2, dropout=0.3).train()
    model.seed_images([5, 6, 7, 8])
    loss, gradients, _ = trained(model, recompute=False)
    monkeypatch.setattr(torch, "get_rng_state", lambda: pytest.fail("read"))
    again, recomputed, _ = trained(model, recompute=True)
    assert again == loss
    assert all(torch.equal(one, other) for one, other in zip(gradients, recomputed, strict=True))


def test_a_model_in_evaluation_mode_keeps_what_it_kept(tiny: Tiny) -> None:
    model = tiny((1, 8, 8))
    assert trained(model, recompute=True)[2] == trained(model, recompute=False)[2]
