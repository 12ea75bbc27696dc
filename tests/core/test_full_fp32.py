"""torch's switches for TF32, which can be turned without a GPU."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch.backends import cudnn

from pixeltui.core.full_fp32 import full_fp32

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def switches() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32


@pytest.fixture(autouse=True)
def as_in_training() -> Iterator[None]:
    before = switches()
    torch.set_float32_matmul_precision("high")
    cudnn.allow_tf32 = True
    yield
    torch.set_float32_matmul_precision(before[0])
    cudnn.allow_tf32 = before[1]


def test_no_tf32_inside_and_the_switches_as_they_were_outside() -> None:
    def fails_inside() -> None:
        with full_fp32(CUDA):
            assert switches() == ("highest", False)
            with full_fp32(CUDA):
                assert switches() == ("highest", False)
            assert switches() == ("highest", False)
            raise KeyError

    with pytest.raises(KeyError):
        fails_inside()
    assert switches() == ("high", True)


def test_the_last_of_several_threads_puts_the_switches_back() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with full_fp32(CUDA):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(60)
    with full_fp32(CUDA):
        pass
    assert switches() == ("highest", False)
    leave.set()
    thread.join()
    assert switches() == ("high", True)


def test_autocast_is_off_inside_and_a_cpu_leaves_the_switches_alone() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), full_fp32(CPU):
        assert switches() == ("high", True)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_samples_and_likelihoods_of_a_gpu_are_those_of_the_cpu() -> None:
    from pixeltui.config import load_config
    from pixeltui.core import build_model

    torch.manual_seed(0)
    model = build_model(load_config(preset="pixelcnn", overrides=["model.channels=32", "model.blocks=2"]), (3, 16, 16))
    model.eval()
    images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    labels = torch.arange(4)
    expected = model.log_prob(images, labels)
    drawn = model.sample(4, labels=labels, seed=3)
    model.cuda()
    torch.testing.assert_close(model.log_prob(images.cuda(), labels.cuda()).cpu(), expected, atol=1e-4, rtol=0)
    assert (model.sample(4, labels=labels, seed=3).cpu() != drawn).float().mean() < 0.01
