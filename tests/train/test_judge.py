"""Samples beside real images: copies are seen, and the Fréchet distance is the library's."""

import io
import sys
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixeltui.data import DataSet, Split
from pixeltui.errors import UserError
from pixeltui.train import frechet, judge
from pixeltui.train.nearest import nearest


@pytest.fixture
def data() -> DataSet:
    """Noise: no image is near another."""
    images = torch.randint(256, (120, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    splits = [Split(images[part], None) for part in (slice(80), slice(80, 100), slice(100, 120))]
    return DataSet("noise", *splits, 256, (), "")


def test_as_many_images_of_each_as_there_are(data: DataSet) -> None:
    held_out, train = judge.comparable(data, "test", 10)
    assert len(held_out) == len(train) == 10
    held_out, train = judge.comparable(data, "val", 1000)
    assert len(held_out) == len(train) == 20
    assert torch.equal(held_out.images, data.val.images)


def test_copies_are_counted(data: DataSet) -> None:
    samples = data.val.images.clone()
    samples[:5] = data.train.images[[7, 3, 70, 7, 0]]
    samples[4] = samples[4].flip(-1)
    found = judge.copies(samples, data.test.images, data, mirrored=True)
    assert found.samples.indices[:5, 0].tolist() == [7, 3, 70, 7, 0]
    figures = found.figures()
    assert (figures["copies"], figures["held_out_copies"], figures["samples_least"]) == (5, 0, 0)
    assert figures["close_share"] >= 0.25
    assert figures["samples_median"] == pytest.approx(figures["held_out_median"], rel=0.05)
    assert judge.copies(samples, data.test.images, data, mirrored=False).figures()["copies"] == 4
    own = judge.copies(data.test.images, data.test.images, data, mirrored=False).figures()
    assert own["close_share"] == pytest.approx(0.05), "one of twenty is at or below their 1 % quantile"


def test_the_nearest_pairs_come_first_in_the_picture(data: DataSet) -> None:
    samples = data.val.images.clone()
    samples[11] = data.train.images[33]
    found = nearest(samples, data.train.images, levels=256)
    with Image.open(io.BytesIO(judge.copies_png(samples, found, data, most=6))) as picture:
        sheet = torch.from_numpy(np.array(picture.convert("RGB")))
    scale, gap = 12, 4
    first = sheet[gap : gap + 8 * scale : scale, gap : gap + 8 * scale : scale]
    left = 2 * gap + 8 * scale
    second = sheet[gap : gap + 8 * scale : scale, left : left + 8 * scale : scale]
    assert torch.equal(first.movedim(-1, 0), samples[11])
    assert torch.equal(second, first)


def test_training_images_are_as_near_as_samples_get(data: DataSet) -> None:
    noise = torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    found = judge.wasserstein(noise, data.test.images, data.train.images[:20])
    assert found["samples"]["mean"] < 2 * found["train"]["mean"]
    dark = judge.wasserstein(noise // 2, data.test.images, data.train.images[:20])
    assert dark["samples"]["mean"] > 3 * found["train"]["mean"]
    assert dark["train"] == found["train"]


@pytest.fixture
def _mean_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose features are an image's mean colours, in the place of Inception."""
    from pixeltui.data.torchvision_sets import import_datasets

    import_datasets()
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class MeanColours(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("colours",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "colours"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return (x.float().mean(dim=(2, 3)),)

    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, "mean-colours", MeanColours)
    monkeypatch.setattr(frechet, "EXTRACTOR", "mean-colours")


@pytest.mark.usefixtures("_mean_colours")
def test_frechet_distance_of_a_shift_is_its_square(data: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    frechet.prepare()
    images = data.train.images // 2
    shift = torch.tensor([3, 0, 4], dtype=torch.uint8)[:, None, None]
    assert frechet.frechet_distance(images + shift, images, levels=256) == pytest.approx(25, abs=0.01)
    grey = data.train.images[:, :1] // 16
    shifted = frechet.frechet_distance(grey + 1, grey, levels=17)
    assert shifted == pytest.approx(3 * (255 / 16) ** 2, rel=0.01), "levels as 0 to 255, grey as three channels"
    assert judge.frechet(data.test.images, data.val.images, data)["samples"] > 0
    assert capsys.readouterr().out == ""


def test_what_the_frechet_distance_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixeltui.data.torchvision_sets import import_datasets

    import_datasets()
    library = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    def no_network(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(library, "load_state_dict_from_url", no_network)
    with pytest.raises(UserError, match=r"cannot be had.*weights-inception-2015-12-05-6726825d.pth into .*checkpoints"):
        frechet.prepare()
    monkeypatch.setitem(sys.modules, "torch_fidelity.registry", None)
    with pytest.raises(UserError, match=r"pip install 'pixeltui\[fid\]'"):
        frechet.prepare()
