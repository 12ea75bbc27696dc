"""What `auto` means: when a network is compiled, and what becomes of one that cannot be; TF32."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from harness import start
from torch import Tensor, nn

from pixeltui.config import Config
from pixeltui.train import precision
from pixeltui.train.precision import STEPS_WORTH_COMPILING, compile_for, set_up

pytestmark = pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # of torch's own compiler

CUDA = torch.device("cuda")
"""as told to compile_for; the networks here are on the CPU"""


@pytest.fixture(autouse=True)
def triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Is there, as far as auto can tell; nothing has been compiled yet; what auto tells torch ends with the test."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(precision, "find_spec", lambda name, *_: name)
    torch.compiler.reset()
    with torch._dynamo.config.patch(suppress_errors=False):
        yield


def chosen(choice: bool | str = "auto", device: str = "cuda", steps: int = 10**6, deterministic: bool = False) -> bool:
    return compile_for(nn.Identity(), choice, torch.device(device), steps=steps, deterministic=deterministic)


def test_auto_compiles_long_runs_on_a_gpu(monkeypatch):
    assert chosen()
    assert not chosen(device="cpu")
    assert not chosen(steps=STEPS_WORTH_COMPILING - 1)
    assert not chosen(deterministic=True)
    monkeypatch.setattr(precision, "find_spec", lambda name, *_: None)
    assert not chosen()


def test_auto_leaves_several_processes_as_they_are(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not chosen()


def test_the_user_has_the_last_word():
    assert chosen(True, device="cpu", steps=1, deterministic=True)
    assert not chosen(False)
    assert chosen("auto")
    assert chosen(True)
    assert not torch._dynamo.config.suppress_errors, "an earlier run's auto is over"


def tf32() -> tuple[bool, bool]:
    """Of matrix products and of convolutions: switches that can be read without a GPU."""
    return torch.get_float32_matmul_precision() != "highest", torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("name", ["auto", "fp32", "bf16", "fp16"])
def test_fp32_is_not_tf32_and_what_stays_in_it_beside_other_formats_is(name: str) -> None:
    set_up(name, deterministic=False)
    assert tf32() == (name != "fp32",) * 2
    set_up(name, deterministic=True)
    assert tf32() == (False, False)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_run_in_fp32_is_not_in_tf32(name: str, tiny_config: Callable[..., Config], tmp_path: Path) -> None:
    start(tiny_config("train.steps=1", "train.deterministic=false", f"train.precision={name}"), tmp_path)
    assert tf32() == (name != "fp32",) * 2


@pytest.fixture
def no_compiler() -> Iterator[None]:
    with torch._inductor.config.patch({"cpp.cxx": ("/no/such/compiler",)}):
        yield


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sin(self.weight * images)


def test_a_network_that_auto_cannot_compile_is_computed_as_it_is(no_compiler):
    network, images = Network(), torch.rand(2, 4)
    expected = network(images)
    assert compile_for(network, "auto", CUDA, steps=10**6, deterministic=False)
    found = network(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    found.sum().backward()
    assert network.weight.grad is not None


def test_a_network_that_was_to_be_compiled_and_cannot_be_is_an_error(no_compiler):
    network = Network()
    assert compile_for(network, True, torch.device("cpu"), steps=1, deterministic=False)
    with pytest.raises(RuntimeError, match="compiler"):
        network(torch.rand(2, 4))
