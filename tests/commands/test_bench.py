import argparse
import json

import pytest
import torch

from pixeltui.commands import bench, sampling_speed, training_speed
from pixeltui.commands.naive_training import FullMaskedConv2d, naive_copy
from pixeltui.config import Model
from pixeltui.core import build_model
from pixeltui.errors import UsageError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(["sample", "--preset", "quick", "--device", "cpu", "--repeats", "1", *words])


@pytest.fixture
def _small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling_speed, "IMAGE", (1, 8, 6))


@pytest.mark.usefixtures("_small_images")
def test_json_is_one_document_with_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(parse("--batch", "1,2", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["image"] == "8x6x1"
    assert [row["batch"] for row in result["batches"]] == [1, 2]
    for row in result["batches"]:
        assert all(value > 0 for value in row.values())
        assert row["ratio"] == pytest.approx(row["images_per_second"] / row["naive_images_per_second"])
        assert row["share_of_floor"] < 1


@pytest.mark.usefixtures("_small_images")
def test_the_table_says_what_is_extrapolated(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(parse("--batch", "2")) == 0
    text = capsys.readouterr().out
    assert "extrapolated" in text
    assert "quick" in text


@pytest.mark.parametrize("batch", ["none", "0", "1,,2"])
def test_batch_sizes_that_cannot_be(batch: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        bench.run(parse("--batch", batch))


def test_other_kinds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["trian"])
    assert "invalid choice: 'trian' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream"])
def test_the_naive_network_is_the_same_function(architecture: str) -> None:
    """Ours with cropped kernels, the naive one with full ones and masks: the same likelihoods, or no comparison."""
    torch.manual_seed(0)
    table = Model(architecture=architecture, channels=8, blocks=2, first_kernel=5, linear_skip=2)
    model = build_model(table, (3, 7, 6), 256, 3)
    naive = naive_copy(model)
    images, labels = torch.randint(256, (4, 3, 7, 6), dtype=torch.uint8), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(
        naive.eval().log_prob(images, labels), model.eval().log_prob(images, labels), rtol=1e-5, atol=1e-5
    )
    full = [module for module in naive.modules() if isinstance(module, FullMaskedConv2d)]
    assert all(module.weight.shape[2] % 2 == module.weight.shape[3] % 2 == 1 for module in full)
    assert sum(p.numel() for p in naive.parameters()) > 1.3 * sum(p.numel() for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_is_measured_beside_the_naive_loop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_speed, "IMAGE", (1, 8, 8))
    monkeypatch.setattr(training_speed, "IMAGES", 256)
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    words = ["train", "--preset", "quick", "--device", "cpu", "--repeats", "1", "--batch", "8"]
    assert bench.run(parser.parse_args([*words, "--json"])) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["parameters"] > 100_000
    assert all(value > 0 for value in result.values() if isinstance(value, float))
    assert result["ratio"] == pytest.approx(result["images_per_second"] / result["naive_images_per_second"])
    assert result["peak_gib"]["ours"] != result["peak_gib"]["naive"], "that of this process, handed down"
    assert "of the matrix rate" in bench.training_text([result], "quick")


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream"])
@pytest.mark.parametrize("skip", [0, 5])
def test_multiply_adds_are_those_of_the_live_weights(architecture: str, skip: int) -> None:
    model = build_model(Model(architecture=architecture, channels=8, blocks=2, linear_skip=skip), (3, 8, 8), 256, 0)
    row, pixel = sampling_speed.weights(model)
    live = 0
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and parameter.ndim == 4:
            live += parameter.numel()
    masked = [module for module in model.modules() if hasattr(module, "mask")]
    live -= sum(int((module.mask == 0).sum()) * module.in_channels * module.out_channels for module in masked)
    assert row + pixel == live
    block = 8 * 16 * 2 + 8 * 8  # the left and the centre tap, and the 1x1 that ends the block
    first, head = (8 + skip) * 3 * (3 if architecture == "single_stack" else 4), (8 + skip) * (8 + 100)
    first += (8 + skip) * 4 if architecture == "two_stream" else 0  # the channel of ones
    assert pixel == 2 * block + first + head
