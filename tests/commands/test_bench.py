import argparse
import json

import pytest

from pixeltui.commands import bench, sampling_speed
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
        parser.parse_args(["train"])
    assert "invalid choice: 'train' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream"])
def test_multiply_adds_are_those_of_the_live_weights(architecture: str) -> None:
    model = build_model(Model(architecture=architecture, channels=8, blocks=2), (3, 8, 8), 256, 0)
    row, pixel = sampling_speed.weights(model)
    live = 0
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and parameter.ndim == 4:
            live += parameter.numel()
    masked = [module for module in model.modules() if hasattr(module, "mask")]
    live -= sum(int((module.mask == 0).sum()) * module.in_channels * module.out_channels for module in masked)
    assert row + pixel == live
    block = 8 * 16 * 2 + 8 * 8  # the left and the centre tap, and the 1x1 that ends the block
    first, head = 8 * 3 * (3 if architecture == "single_stack" else 4), 8 * 8 + 8 * 100
    first += 8 * 4 if architecture == "two_stream" else 0  # the channel of ones
    assert pixel == 2 * block + first + head
