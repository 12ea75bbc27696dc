"""`pixeltui bench`: what it measures and how it counts; no figure is held to a limit."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from several import descendants, wait_for
from torch.utils.flop_counter import FlopCounterMode

from pixeltui.cli import main
from pixeltui.commands import bench, codec_size, sampling_speed, training_speed
from pixeltui.commands.naive_training import FullMaskedConv2d, naive_copy
from pixeltui.config import Model, load_config
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
    text = bench.as_text(result, "quick")
    assert "extrapolated" in text
    assert "quick" in text


@pytest.mark.usefixtures("_small_images")
def test_figures_that_cannot_be_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(parse("--batch", "1", "--repeats", "1", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    for share, told in ((0.9, False), (1.1, True)):
        result["batches"][0]["share_of_floor"] = share
        assert ("measure on an idle machine" in bench.as_text(result, "quick")) is told


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


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
@pytest.mark.parametrize(("gate", "larger"), [("silu", 1.3), ("none", 1.2)])
def test_the_naive_network_is_the_same_function(architecture: str, gate: str, larger: float) -> None:
    """Ours with cropped kernels, the naive one with full ones and masks: the same likelihoods, or no comparison."""
    torch.manual_seed(0)
    sizes = {"channels": 8, "blocks": 2, "first_kernel": 5, "linear_skip": 2, "mixtures": 10}
    table = Model(architecture=architecture, gate=gate, **sizes)
    model = build_model(table, (3, 7, 6), 256, 3)
    naive = naive_copy(model)
    images, labels = torch.randint(256, (4, 3, 7, 6), dtype=torch.uint8), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(
        naive.eval().log_prob(images, labels), model.eval().log_prob(images, labels), rtol=1e-5, atol=1e-5
    )
    full = [module for module in naive.modules() if isinstance(module, FullMaskedConv2d)]
    assert all(module.weight.shape[2] % 2 == module.weight.shape[3] % 2 == 1 for module in full)
    if architecture == "depthwise":
        larger = 1.04  # 1x1 convolutions, of which masks cut nothing, have most of the weights
    assert sum(p.numel() for p in naive.parameters()) > larger * sum(p.numel() for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_is_measured_beside_the_naive_loop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_speed, "IMAGE", (1, 8, 8))
    monkeypatch.setattr(training_speed, "IMAGES", 256)
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    words = ["train", "--preset", "quick", "--device", "cpu", "--repeats", "1", "--batch", "2"]
    assert bench.run(parser.parse_args([*words, "--json"])) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["parameters"] > 100_000
    assert all(value > 0 for value in result.values() if isinstance(value, float))
    assert result["ratio"] == pytest.approx(result["images_per_second"] / result["naive_images_per_second"])
    assert result["peak_gib"]["ours"] != result["peak_gib"]["naive"], "that of this process, handed down"
    assert "of the matrix rate" in bench.training_text([result], "quick")


def test_a_signal_to_the_whole_group_is_told_once_and_not_as_the_end_of_a_worker() -> None:
    """As from `timeout`, a job scheduler or a shell that ends a pipeline."""
    words = ["train", "--preset", "quick", "--device", "cpu", "--repeats", "1000", "--batch", "2"]
    command = [sys.executable, "-m", "pixeltui", "bench", *words]
    for _ in range(2):
        measures = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            wait_for(lambda process=measures: len(descendants(process.pid)) == 2, measures)
            time.sleep(1)
            os.killpg(measures.pid, signal.SIGTERM)
            _, errors = measures.communicate(timeout=60)
        finally:
            measures.kill()
            measures.communicate()
        assert (measures.returncode, errors) == (143, "pixeltui: terminated\n")


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
def test_a_step_is_three_forward_passes_but_for_what_the_image_would_get(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_speed, "IMAGE", (3, 8, 8))
    monkeypatch.setattr(training_speed, "IMAGES", 64)
    keys = ["model.channels=16", "model.blocks=2", "train.batch_size=4", f"model.architecture={architecture}"]
    sides = training_speed.Sides(load_config(overrides=keys), torch.device("cpu"))
    images, labels = sides.ours.batch(0)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        sides.ours.model(images, labels)
    first = [conv for name, conv in sides.ours.model.trunk.named_modules() if "first" in name or "near." in name]
    of_image = sum(2 * 4 * 8 * 8 * conv.weight.numel() for conv in first if hasattr(conv, "weight"))
    assert training_speed.step_flops(sides) == pytest.approx(3 * counter.get_total_flops() - of_image, rel=0.01)


@pytest.mark.parametrize("architecture", ["single_stack", "two_stream", "depthwise"])
@pytest.mark.parametrize("skip", [0, 5])
@pytest.mark.parametrize(("gate", "inner"), [("silu", 16), ("none", 8)])
def test_multiply_adds_are_those_of_the_live_weights(architecture: str, skip: int, gate: str, inner: int) -> None:
    table = Model(architecture=architecture, channels=8, blocks=2, linear_skip=skip, gate=gate, mixtures=10)
    model = build_model(table, (3, 8, 8), 256, 0)
    row, pixel = sampling_speed.weights(model)
    live = 0
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and parameter.ndim == 4:
            live += parameter.numel()
    masked = [module for module in model.modules() if hasattr(module, "mask")]
    for module in masked:
        live -= int((module.mask == 0).sum()) * module.in_channels * module.out_channels // getattr(module, "groups", 1)
    assert row + pixel == live
    two = architecture == "two_stream"
    block = 8 * inner * 2 + 8 * 8  # the left and the centre tap, and the 1x1 that ends the block
    if architecture == "depthwise":  # a wave has no part that is computed for a row at once
        assert row == 0
        return
    first, head = (8 + skip) * 3 * (4 if two else 3), (8 + skip) * (8 + 100)
    first += (8 + skip) * 4 if two else 0  # the channel of ones
    assert pixel == 2 * block + first + head


def coded(runs: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["--runs-dir", str(runs), "bench", "--json", "codec", "--device", "cpu", *words]) == 0
    result: dict = json.loads(capsys.readouterr().out)
    return result


def test_digits_take_the_bits_that_the_likelihood_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole test split by a model trained in its place, header included."""
    monkeypatch.setattr(codec_size, "STEPS", 30)
    result = coded(tmp_path, capsys)
    assert (result["run"], result["data"], result["images"]) == (None, "digits", 180)
    assert result["decoded_bit_for_bit"] is True
    assert result["bits_per_dim"] < 3.3, "it has learnt something: flat are log2(17)"
    assert result["coded_bits_per_dim"] == pytest.approx(result["bits_per_dim"], rel=1e-4)
    assert result["ratio"] == pytest.approx(1, abs=0.01)
    assert result["file_bits_per_dim"] == pytest.approx(8 * result["file_bytes"] / (180 * 64))
    assert result["png_bits_per_dim"] > result["file_bits_per_dim"]


def test_codec_takes_a_run_or_the_newest_finished_one(finished_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = coded(finished_runs, capsys, "done", "--checkpoint", "last", "--weights", "raw", "--images", "7")
    assert (named["run"], named["checkpoint"], named["weights"]) == ("done", "last.safetensors", "raw")
    assert (named["images"], named["class_bits_per_image"]) == (7, pytest.approx(1.585, abs=1e-3))
    assert main(["--runs-dir", str(finished_runs), "bench", "codec", "--batch", "3"]) == 0
    captured = capsys.readouterr()
    assert "the newest finished one is taken" in captured.err
    assert "decoded bit for bit" in captured.out
    assert "3 images at once" in captured.out


def test_another_process_reads_what_this_one_wrote(finished_runs: Path, tmp_path: Path) -> None:
    from pixeltui.data import load
    from pixeltui.store.rundir import RunDir
    from pixeltui.train.codec import compress
    from pixeltui.train.load import load_model

    run = RunDir.open(finished_runs / "done")
    loaded = load_model(run, device=torch.device("cpu"), warn=pytest.fail)
    train = load(loaded.config.data).train
    (tmp_path / "images.pxt").write_bytes(compress(loaded.model, train.images, train.labels).data)
    program = f"""
import torch
from pathlib import Path
from pixeltui.data import load
from pixeltui.store.rundir import RunDir
from pixeltui.train.codec import decompress
from pixeltui.train.load import load_model
torch.set_num_threads(1)
loaded = load_model(RunDir.open(Path({str(run.path)!r})), device=torch.device("cpu"), warn=print)
train = load(loaded.config.data).train
read = decompress(loaded.model, Path({str(tmp_path / "images.pxt")!r}).read_bytes(), train.labels)
assert torch.equal(read, train.images)
print("read", len(read))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == f"read {len(train)}\n", done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "done"], "unrecognized arguments: done"),
        (["train", "--images", "3"], "unrecognized arguments: --images 3"),
        (["codec", "--preset", "quick"], "unrecognized arguments: --preset"),
        (["codec", "--batch", "1,2"], "expected a whole number of at least 1, got '1,2'"),
    ],
)
def test_what_is_for_another_kind(words: list[str], message: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--runs-dir", str(tmp_path), "bench", *words])
    assert message in capsys.readouterr().err


def test_images_that_come_back_changed_are_an_error(
    finished_runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_size, "decompress", lambda model, data, labels, progress: torch.zeros(10, 1, 6, 5))
    assert main(["--runs-dir", str(finished_runs), "bench", "codec", "done"]) == 1
    assert "not those that were written" in capsys.readouterr().err


def test_without_a_kind_everything_about_speed_is_measured_in_turn(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for kind in bench.OF_SPEED:
        monkeypatch.setattr(bench, f"_{kind}", lambda args: ({"kind": args.kind, "repeats": args.repeats}, args.kind))
    assert main(["bench", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree == {kind: {"kind": kind, "repeats": 3} for kind in ("train", "sample", "ui")}
    assert main(["bench"]) == 0
    assert capsys.readouterr().out == "train\n\nsample\n\nui\n"


def test_codec_asks_for_its_library_before_anything_else(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    assert main(["bench", "codec", "no-such-run"]) == 1
    assert "pip install 'pixeltui[codec]'" in capsys.readouterr().err
