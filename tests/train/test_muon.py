"""Muon: what its update is, that a bad step leaves everything, and that its state is saved and loaded."""

import copy

import pytest
import torch
from torch import Tensor

from pixeltui.config import Train, load_config
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.train import state
from pixeltui.train.muon import MuonAdamW, orthogonal
from pixeltui.train.optim import make_optimizer

RATES = ("train.lr=0.01", "train.muon_lr=0.05")
TRAIN, DECAYED = (load_config(overrides=[*RATES, f"train.weight_decay={share}"]).train for share in (0, 0.1))


def small() -> ConditionalPixelCNN:
    torch.manual_seed(0)
    keys = ["model.channels=8", "model.blocks=2", "model.mixtures=2", "model.linear_skip=4", "model.first_kernel=3"]
    keys += ["model.gate=silu", "model.architecture=two_stream"]
    return build_model(load_config(overrides=keys), (3, 5, 4), 16, 2)


def of_muon(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 4 and name not in ("head.out.weight", "head.near.weight")


def gradients(model: ConditionalPixelCNN, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(16, (2, 3, 5, 4), generator=generator, dtype=torch.uint8)
    model.zero_grad()
    (-model.log_prob(images, torch.tensor([0, 1])).mean()).backward()


def weights(model: ConditionalPixelCNN) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-3), (torch.bfloat16, 0.06)])
def test_orthogonal_keeps_singular_vectors_and_evens_out_singular_values(dtype: torch.dtype, error: float) -> None:
    torch.manual_seed(0)
    for rows, columns in ((6, 20), (20, 6), (7, 7)):
        matrices = torch.randn(3, rows, columns)
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        update = orthogonal(matrices, dtype)
        assert update.dtype == torch.float32
        made = left.mT @ update @ right.mT
        diagonal = made.diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(made, torch.diag_embed(diagonal), atol=error, rtol=0)
        assert float(diagonal.min()) > 0.2
        assert float(diagonal.max()) < 1.3


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (12, 2, 1, 3), (6, 6, 1, 1)])
def test_several_steps_are_those_of_its_authors(shape: tuple[int, ...]) -> None:
    """Jordan et al. 2024, written out in double precision: Nesterov's momentum, then five Newton-Schulz steps."""
    torch.manual_seed(0)
    kernel = torch.randn(shape, requires_grad=True)
    optimizer = MuonAdamW([kernel], [], ratio=5.0, weight_decay=0.0, lr=0.01)
    momentum = torch.zeros(shape[0], kernel[0].numel(), dtype=torch.float64)
    for _ in range(4):
        before, kernel.grad = kernel.detach().clone(), torch.randn(shape)
        optimizer.step()
        gradient = kernel.grad.double().flatten(1)
        momentum = 0.95 * momentum + gradient
        x = gradient + 0.95 * momentum
        x = x / x.norm()
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
        wanted = 0.05 * (x.shape[0] / x.shape[1]) ** 0.5 * x
        moved = (before - kernel.detach()).flatten(1).double()
        torch.testing.assert_close(moved, wanted, atol=1e-4, rtol=0)


def test_kernels_that_give_features_move_by_orthogonal_matrices_and_the_rest_as_under_adamw() -> None:
    model = small()
    twin = copy.deepcopy(model)
    optimizer = make_optimizer(model, TRAIN)
    assert isinstance(optimizer, MuonAdamW)
    adamw = torch.optim.AdamW(twin.parameters(), lr=TRAIN.lr, betas=TRAIN.betas, weight_decay=0, fused=True)
    before = weights(model)
    for one in (model, twin):
        gradients(one, 1)
    optimizer.step()
    adamw.step()
    kernels = 0
    for name, parameter in model.named_parameters():
        if of_muon(name, parameter):
            kernels += 1
            moved = (before[name] - parameter.detach()).flatten(1)
            scale = 0.05 * (moved.shape[0] / moved.shape[1]) ** 0.5
            assert parameter.grad is not None
            wanted = orthogonal(parameter.grad.flatten(1)[None])[0] * scale
            # five steps magnify what is small by 3.4 each, rounding too
            torch.testing.assert_close(moved, wanted, atol=1e-3, rtol=0)
        else:
            assert torch.equal(parameter, twin.get_parameter(name)), name
    # Five a block, but for the last block's vertical stack; two at the start, two of the linear skip, one in the head.
    assert kernels == 14


def test_what_makes_logits_is_adamws() -> None:
    for keys in (["model.channel_autoregressive=false"], []):
        model = build_model(
            load_config(overrides=["model.head=categorical", "model.blocks=1", "model.channels=8", *keys])
        )
        optimizer = make_optimizer(model, TRAIN)
        assert isinstance(optimizer, MuonAdamW)
        own = {id(parameter) for parameter in optimizer.param_groups[-1]["params"]}
        others = {name for name, p in model.named_parameters() if p.ndim == 4 and id(p) not in own}
        assert others
        assert all(name.endswith("out.weight") and name.startswith("head.") for name in others)


def test_products_are_in_bf16_where_those_of_the_network_are() -> None:
    for dtype, least, most in ((torch.float32, 0, 1e-3), (torch.bfloat16, 2e-3, 0.06), (torch.float16, 0, 1e-3)):
        model = small()
        optimizer = make_optimizer(model, TRAIN, dtype)
        assert isinstance(optimizer, MuonAdamW)
        before = weights(model)
        gradients(model, 1)
        optimizer.step()
        name = "trunk.blocks.0.vertical_conv.weight"
        kernel = model.get_parameter(name)
        assert kernel.grad is not None
        moved = (before[name] - kernel.detach()).flatten(1)
        moved /= 0.05 * (moved.shape[0] / moved.shape[1]) ** 0.5
        error = (moved - orthogonal(kernel.grad.flatten(1)[None])[0]).abs().max()
        assert least <= float(error) < most
        assert all(tensor.dtype == torch.float32 for tensor in state.optimizer_tensors(optimizer).values())


@pytest.mark.parametrize("found_inf", [False, True])
def test_kernels_lose_their_learning_rate_times_the_decay(found_inf: bool) -> None:
    """Beside the update, which is the same; whether an infinite gradient is looked for or not."""
    after = []
    for train in (TRAIN, DECAYED):
        model = small()
        before = weights(model)
        optimizer = make_optimizer(model, train)
        if found_inf:
            optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]
            optimizer.grad_scale = None  # type: ignore[attr-defined]
        gradients(model, 1)
        optimizer.step()
        after.append(weights(model))
    kept, decayed = after
    for name, parameter in model.named_parameters():
        lr = TRAIN.muon_lr if of_muon(name, parameter) else TRAIN.lr
        lost = before[name] * lr * 0.1 if parameter.ndim >= 2 else torch.zeros_like(parameter)
        torch.testing.assert_close(kept[name] - decayed[name], lost, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("train", [TRAIN, DECAYED], ids=["kept", "decayed"])
def test_a_step_that_is_not_finite_leaves_weights_and_state(train: Train) -> None:
    model = small()
    optimizer = make_optimizer(model, train)
    gradients(model, 1)
    optimizer.step()
    before, moments = weights(model), {n: t.clone() for n, t in state.optimizer_tensors(optimizer).items()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    after = state.optimizer_tensors(optimizer)
    assert all(torch.equal(moments[name], after[name]) for name in moments if not name.endswith("/step"))


def test_a_loaded_state_goes_on_bit_for_bit() -> None:
    model = small()
    optimizer = make_optimizer(model, TRAIN)
    for step in range(3):
        gradients(model, step)
        optimizer.step()
    twin = copy.deepcopy(model)
    other = make_optimizer(twin, TRAIN)
    state.load_optimizer(other, {n: t.clone() for n, t in state.optimizer_tensors(optimizer).items()})
    for one, its in ((model, optimizer), (twin, other)):
        gradients(one, 9)
        its.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
