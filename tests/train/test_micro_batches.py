"""Micro-batches: the same training, however many there are and whoever takes them."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness import start

from pixeltui.config import Config
from pixeltui.core import build_model
from pixeltui.data import load as load_data
from pixeltui.train.precision import Precision
from pixeltui.train.processes import Processes
from pixeltui.train.update import Updater

Make = Callable[..., Config]


def test_micro_batches_give_the_same_training(tiny_config: Make, tmp_path: Path) -> None:
    draws = ("model.dropout=0.2", "model.label_dropout=0.5", "data.augmentations.random_crop=1")
    common = ("train.steps=6", "train.precision=fp32", *draws)
    _, whole, _ = start(tiny_config(*common), tmp_path / "a")
    _, parts, _ = start(tiny_config(*common, "train.accumulate=4"), tmp_path / "b")
    assert list(parts.losses().values()) == pytest.approx(list(whole.losses().values()), abs=1e-5)


class OneOf(Processes):
    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count


@pytest.mark.parametrize(
    ("batch_size", "count", "accumulate"), [(48, 8, 4), (64, 6, 8), (64, 3, 16), (25, 2, 5), (9, 4, 9), (16, 1, 4)]
)
def test_processes_share_each_micro_batch_and_none_has_more_to_do(
    tiny_config: Make, batch_size: int, count: int, accumulate: int
) -> None:
    config = tiny_config(f"train.batch_size={batch_size}")
    data = load_data(config.data)
    model = build_model(config, data.image_shape, data.levels, data.num_classes)
    parts = []
    for rank in range(count):
        updater = Updater(config, model, copy.deepcopy(model), data, Precision("fp32", torch.device("cpu")))
        updater.processes, updater.accumulate = OneOf(rank, count), accumulate
        parts.append(updater._parts)
        assert updater.share_size == pytest.approx(batch_size / count, abs=2)
    together = [sorted(place for part in each for place in part) for each in zip(*parts, strict=True)]
    assert [place for each in together for place in each] == list(range(batch_size))
    assert len(together) == min(accumulate, batch_size // count)
    assert max(map(len, together)) - min(map(len, together)) <= 1
