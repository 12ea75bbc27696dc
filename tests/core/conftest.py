"""Tiny models with random parameters everywhere, so that nothing hides behind a zero."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sampled import DEVICE

from pixeltui.config import Attention, Model
from pixeltui.core import ConditionalPixelCNN, build_model, native
from pixeltui.core.cached import CachedSampler
from pixeltui.core.gpu import depthwise, feed_forward, mixture_loss, pixels, use
from pixeltui.core.gpu.launches import Tile
from pixeltui.core.native import compiled, library

COMPILER = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build_tiny(
    shape: tuple[int, int, int] = (1, 5, 6),
    levels: int = 5,
    num_classes: int = 0,
    *,
    attention: bool = False,
    std: float = 0.4,
    seed: int = 0,
    **options: Any,
) -> ConditionalPixelCNN:
    """A model in evaluation mode, whose every parameter and running statistic is random."""
    # The silu gate is unbounded: under random weights of this size its features dwarf what single precision resolves.
    defaults: dict[str, Any] = {
        "architecture": "two_stream",
        "channels": 8,
        "blocks": 2,
        "first_kernel": 3,
        "mixtures": 3,
        "label_dropout": 0.0,
        "linear_skip": 4,
        "gate": "tanh",
    }
    if attention:
        defaults["attention"] = Attention(after=(1,), heads=2)
    model = build_model(Model(**{**defaults, **options}), shape, levels, num_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # what reaches the head directly is not normed: less of it leaves the mixtures in the range of the levels
            parameter.normal_(0, std / 4 if ".near." in name else std, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, std, generator=generator)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def tiny() -> Callable[..., ConditionalPixelCNN]:
    return build_tiny


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> library.Library:
    """The compiled steps, whatever the installation has."""
    if COMPILER is None or os.name == "nt":
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("native") / "steps.so"
    source = Path(native.__file__).with_name("steps.c")
    options = ["-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *options, "-o", target, source, "-lm", "-lpthread"], check=True)
    return library.Library(str(target))


@pytest.fixture(params=library.VECTORS)
def lanes(request: pytest.FixtureRequest, built: library.Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Each width of vectors that this machine has, in use."""
    if request.param not in built.supported:
        pytest.skip(f"this processor has no vectors of {request.param} floats")
    monkeypatch.setattr(built, "lanes", request.param)
    monkeypatch.setattr(compiled, "load", lambda: built)
    return request.param


@pytest.fixture(name="compiled")
def _compiled(built: library.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "load", lambda: built)


@pytest.fixture
def kernels_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton kernels are used on every device, and none has failed to compile."""
    monkeypatch.setattr(use, "ON", True)
    monkeypatch.setattr(use, "THERE", True)
    monkeypatch.setattr(use, "compiles_for", lambda _: True)
    monkeypatch.setattr(use, "given_up", {})


@pytest.fixture(params=["kernels", "torch"])
def either(request: pytest.FixtureRequest, kernels_on: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """By the kernels, or by what takes their place where they cannot be compiled."""
    if request.param == "kernels":
        pytest.importorskip("triton")
    else:

        def raises() -> Any:
            raise RuntimeError("no compiler")

        for module in (depthwise, feed_forward, mixture_loss):
            monkeypatch.setattr(module, "kernels", raises)
    return request.param


SMALL = Tile(2, 64, 1)


@pytest.fixture
def made() -> Callable[..., ConditionalPixelCNN]:
    """As `tiny`, on the GPU where there is one."""
    return lambda *args, **options: build_tiny(*args, **options).to(DEVICE)


@pytest.fixture
def drew(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kernels are used. The samplers that drew."""
    drew: list[Any] = []
    stream = CachedSampler.stream
    monkeypatch.setattr(use, "ON", True)
    monkeypatch.setattr(use, "compiles_for", lambda _: True)
    monkeypatch.setattr(pixels, "tile_for", lambda _: SMALL)
    monkeypatch.setattr(compiled, "load", lambda: "not built")
    monkeypatch.setattr(CachedSampler, "stream", lambda self: (drew.append(self), stream(self))[1])
    return drew
