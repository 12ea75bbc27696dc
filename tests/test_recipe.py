"""CONTRIBUTING's recipe, followed once: a head, an architecture, a norm, a gate and a data set, each one
registration away from being trained, scored, sampled and checked for leaks by what is there already; and a chart, one
line away from console and report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from leaks import check, moves
from tiny import TINY
from torch import Tensor, nn

from pixeltui import registry
from pixeltui.cli import main
from pixeltui.config import Data, Model
from pixeltui.core import MaskedConv2d, build_model
from pixeltui.core.parts import Head, Trunk, fp32, nearest_levels
from pixeltui.core.sampler import naive_sample_stream
from pixeltui.curves.points import METRICS, Curves, Metric
from pixeltui.data.sets import Arrays, Progress, Source
from pixeltui.events import Step
from pixeltui.store.rundir import RunDir
from pixeltui.ui.curves import Drawn


class StepHead(Head):
    """Half of the probability at each end, shifted by the features: the smallest head that can learn something."""

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(image_channels, levels)
        self.out = nn.Conv2d(channels, image_channels, 1)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        params: Tensor = self.out(features)
        return params

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self._every(params).gather(2, nearest_levels(x, self.levels)[:, :, None]).squeeze(2)

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        return self._every(self.out(features[:, :, None, None]))[:, earlier.shape[1], :, 0, 0]

    def _every(self, params: Tensor) -> Tensor:
        with fp32(params.device):
            slope = torch.linspace(-1, 1, self.levels, device=params.device)[:, None, None]
            return (params.float()[:, :, None] * slope).log_softmax(dim=2)


class OneLayer(Trunk):
    """A masked convolution and nothing else."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__()
        self.channels, self.rows_above = model.channels, 1
        self.conv = MaskedConv2d("A", image_channels, model.channels, 3)
        self.norm = registry.resolve(registry.NORMS[model.norm])(model.channels)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        features: Tensor = self.norm(self.conv(x))
        return features


class Halve(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def soft_gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * b.sigmoid().square()


def stripes(config: Data, progress: Progress | None = None) -> Source:
    """Rows that alternate between two levels, some of them upside down."""
    images = np.zeros((60, 1, 4, 5), np.uint8)
    images[:30, :, ::2] = 2
    images[30:, :, 1::2] = 2
    return Source(name="stripes", where="stripes", train=Arrays(images), levels=3)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.HEADS, "step", f"{__name__}:StepHead")
    monkeypatch.setitem(registry.ARCHITECTURES, "one_layer", f"{__name__}:OneLayer")
    monkeypatch.setitem(registry.NORMS, "halve", f"{__name__}:Halve")
    monkeypatch.setitem(registry.GATES, "soft", f"{__name__}:soft_gate")
    monkeypatch.setitem(registry.DATASETS, "stripes", f"{__name__}:stripes")


PARTS = ("model.head=step", "model.architecture=one_layer", "model.norm=halve", "data.name=stripes")


def test_they_are_trained_scored_and_sampled_by_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*TINY, *PARTS, "train.steps=40", "train.lr=0.1", "train.ema_decay=0.5"]
    words = [word for override in overrides for word in ("--set", override)]
    assert main(["--no-ui", "--runs-dir", str(tmp_path), "train", "--preset", "quick", *words, "--name", "a"]) == 0
    capsys.readouterr()
    assert main(["--runs-dir", str(tmp_path), "eval", "a", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bits_per_dim"] < 1.2, "of 1.58 for a model that knows nothing"
    out = tmp_path / "a.npz"
    assert main(["--runs-dir", str(tmp_path), "sample", "a", "-n", "6", "--out", str(out)]) == 0
    assert np.load(out)["images"].shape == (6, 4, 5, 1)
    monkeypatch.delitem(registry.HEADS, "step")
    capsys.readouterr()
    assert main(["--runs-dir", str(tmp_path), "sample", "a", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "expected head to be one of categorical, dmol, got 'step'; a part of your own has to be registered" in said
    assert len(said.splitlines()) == 1


def test_a_chart_is_in_the_report_and_in_the_console(
    finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a field that step events have: a curve that the log was never asked for until now."""
    monkeypatch.setitem(METRICS, "waiting", Metric("waiting for data", "data_wait", smooth=False))
    out = tmp_path / "page.html"
    assert main(["--runs-dir", str(finished_runs), "report", "done", "--out", str(out)]) == 0
    assert "waiting for data, by " in out.read_text()
    events = RunDir.open(finished_runs / "done").read_events()[0]
    curves = Curves()
    curves.fold(events)
    (series,) = Drawn(curves, "waiting").series
    assert len(series) == sum(isinstance(event, Step) for event in events) == 10


GATES = [{"gate": "soft"}, {"gate": "soft", "architecture": "single_stack"}]


@pytest.mark.parametrize(
    "part", [{"head": "step"}, {"architecture": "one_layer"}, {"norm": "halve", "gate": "tanh"}, *GATES]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_they_pass_the_leak_test(part: dict[str, str], channels: int) -> None:
    model = random_model(Model(channels=8, blocks=2, channel_autoregressive="head" not in part, **part), channels)
    check(model, moves(model), in_order="head" not in part, least=1e-9)


def test_a_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that lets the pixel itself through."""
    model = random_model(Model(channels=8, architecture="one_layer"), 1)
    monkeypatch.setattr(model.trunk.conv, "mask", torch.ones(2, 3))
    with pytest.raises(AssertionError):
        check(model, moves(model), in_order=True, least=1e-9)


@pytest.mark.parametrize("part", [{"head": "step"}, {"architecture": "one_layer"}, {"norm": "halve"}, *GATES])
def test_they_are_sampled_as_by_the_naive_loop(part: dict[str, str]) -> None:
    model = random_model(Model(channels=8, blocks=2, **part), 3)
    images = model.sample(3, seed=1)
    *_, (naive, _) = naive_sample_stream(model, 3, seed=1)
    assert torch.equal(images, naive)


def random_model(config: Model, channels: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = build_model(config, (channels, 4, 5), 5, 3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # what reaches the head directly is not normed: less of it leaves the mixtures in the range of the levels
            parameter.normal_(0, 0.1 if ".near." in name else 0.4, generator=generator)
    return model.eval()
