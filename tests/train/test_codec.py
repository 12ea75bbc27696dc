"""Images through the coder: the same bit for bit, in as many bits as the model's likelihood says."""

import math
import sys
from collections.abc import Callable

import pytest
import torch
from sampled import Fast
from torch import Tensor

from pixeltui import registry
from pixeltui.config import Attention, Model
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.core.parts import Head, Trunk
from pixeltui.core.sequence import distributions
from pixeltui.errors import UserError
from pixeltui.train.codec import MAGIC, NotDecoded, _varint, compress, decompress

Build = Callable[..., ConditionalPixelCNN]


@pytest.fixture
def tiny() -> Build:
    """Models with random weights whose distributions are far from flat."""

    def build(
        shape: tuple[int, int, int] = (3, 5, 4), levels: int = 16, classes: int = 3, **options: object
    ) -> ConditionalPixelCNN:
        torch.manual_seed(0)
        table = {"channels": 8, "blocks": 2, "first_kernel": 3, "mixtures": 3, "linear_skip": 4, "gate": "tanh"}
        model = build_model(Model(**{**table, **options}), shape, levels, classes)  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        return model.eval()

    return build


def images_of(model: ConditionalPixelCNN, count: int, labels: Tensor | None = None) -> Tensor:
    """Drawn from the model, every fourth made of noise: what it holds for likely, and what not."""
    images = model.sample(count, labels=labels, seed=1)
    noise = torch.randint(model.levels, images.shape, dtype=torch.uint8)
    return torch.where(torch.arange(count)[:, None, None, None] % 4 == 3, noise, images)


def bits(model: ConditionalPixelCNN, images: Tensor, labels: Tensor | None = None) -> float:
    """By one forward of the whole images, as `eval` has it."""
    with torch.no_grad():
        return -float(model.log_prob(images, labels).double().sum()) / math.log(2)


@pytest.mark.parametrize("architecture", list(registry.ARCHITECTURES))
@pytest.mark.parametrize("head", Fast.HEADS)
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_every_model_decodes_what_it_encoded(
    tiny: Build, architecture: str, head: str, in_order: bool, norm: str
) -> None:
    attention = Attention(after=(1,), heads=2) if norm == "layer" else Attention()
    parts = {"architecture": architecture, "head": head, "norm": norm, "attention": attention}
    model = tiny(channel_autoregressive=in_order, **parts)
    labels = torch.arange(40) % 3
    images = images_of(model, 40, labels)
    written = compress(model, images, labels, batch_size=16)
    assert torch.equal(decompress(model, written.data, labels), images)
    assert written.ideal_bits == pytest.approx(bits(model, images, labels), rel=1e-4)
    body = 8 * (len(written.data) - written.header_bytes)
    assert 0 <= body - written.ideal_bits < 64 + 1e-3 * written.ideal_bits, "two words, and rounding to 2^-24"
    assert 8 * len(written.data) < 1.05 * written.ideal_bits


def test_the_number_of_threads_changes_nothing(tiny: Build) -> None:
    """Products of 64 images x 32 columns are large enough to be shared."""
    model = tiny((3, 4, 32), channels=64, blocks=1)
    images = images_of(model, 64)
    torch.set_num_threads(2)
    try:
        written = compress(model, images)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(decompress(model, written.data), images)
    assert written == compress(model, images)


def test_grey_images_of_two_levels_and_no_classes(tiny: Build) -> None:
    model = tiny((1, 1, 7), levels=2, classes=0, first_kernel=5)
    images = images_of(model, 300)
    written = compress(model, images)
    assert torch.equal(decompress(model, written.data), images)
    assert len(written.data) < 300


def test_without_labels_it_is_the_unconditional_model(tiny: Build) -> None:
    model = tiny(label_dropout=0.5).train()  # a model in training hides labels at random, and must not here
    labels = torch.zeros(8, dtype=torch.int64)
    images = images_of(model, 8, labels)
    for given in (None, labels):
        written = compress(model, images, given)
        assert torch.equal(decompress(model, written.data, given), images)
        assert written.ideal_bits == pytest.approx(bits(model.eval(), images, given), rel=1e-4)
        model.train()


class PlainTrunk(Trunk):
    """Features are the sum of the pixels to the left and of the row above; no `incremental`."""

    channels, rows_above = 2, 1

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        left = torch.cumsum(x, 3) - x
        above = torch.nn.functional.pad(x.sum(3, keepdim=True).expand_as(x), (0, 0, 1, 0))[:, :, :-1]
        return torch.cat([left, above], dim=1) * self.scale

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.7))


class PlainHead(Head):
    """Level 1 of 2 by a logistic of the features; no `incremental`."""

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        return features.sum(1, keepdim=True)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(params * x.sign())

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(features.sum(1, keepdim=True) * torch.tensor([-1.0, 1.0]))


def test_parts_that_offer_nothing_incremental() -> None:
    model = ConditionalPixelCNN(PlainTrunk(), PlainHead(1, 2), (1, 6, 5), 2, 0)
    images = torch.randint(2, (50, 1, 6, 5), dtype=torch.uint8)
    written = compress(model, images, batch_size=7)
    assert torch.equal(decompress(model, written.data), images)
    assert written.ideal_bits == pytest.approx(bits(model, images), rel=1e-5)
    assert 8 * len(written.data) < written.ideal_bits + 64 + 8 * written.header_bytes


@pytest.mark.parametrize("head", list(registry.HEADS))
@pytest.mark.parametrize("in_order", [True, False])
def test_a_model_that_trains_on_does_not_change_what_has_begun(tiny: Build, head: str, in_order: bool) -> None:
    model = tiny(head=head, channel_autoregressive=in_order)
    expected = next(distributions(model, 2))
    begun = distributions(model, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert torch.equal(next(begun), expected)


def test_what_was_not_written_so_is_not_read(tiny: Build) -> None:
    model, labels = tiny(), torch.tensor([0, 1, 2, 0])
    images = images_of(model, 4, labels)
    data = compress(model, images, labels).data
    changed = bytearray(data)
    changed[-9] ^= 1
    for wrong in (b"", data[:3], data[:9], b"JPEG" + data[4:], data[:-8], bytes(changed)):
        with pytest.raises(NotDecoded):
            decompress(model, wrong, labels)
    with pytest.raises(NotDecoded, match="4 images in the file, 3 labels"):
        decompress(model, data, labels[:3])
    for other in (labels.flip(0).roll(1), None):
        with pytest.raises(NotDecoded):
            decompress(model, data, other)
    with torch.no_grad():
        model.head.out.bias += 0.1
    with pytest.raises(NotDecoded):
        decompress(model, data, labels)


def test_claims_of_size_are_not_believed(tiny: Build) -> None:
    model = tiny((1, 8, 8), levels=17)
    words = b"\0\0\0\0" * 2
    for count, batch_size in ((1 << 34, 1 << 34), (1 << 34, 1), (20_000_000, 64), (1, 1025), (1, 1 << 34)):
        header = MAGIC + _varint(count) + _varint(batch_size)
        with pytest.raises(NotDecoded, match=f"{count:,} images, {batch_size:,} at once, are not in"):
            decompress(model, header + words)
    with pytest.raises(ValueError, match="batch size from 1 to 1024"):
        compress(model, images_of(model, 2), batch_size=1025)


def test_as_many_images_as_can_be_in_a_file_are_read(tiny: Build) -> None:
    """Of a model that is sure of them: 100,000 sub-pixels in a word."""
    model = tiny((1, 1, 100), levels=2, classes=0, head="categorical")
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.zero_()
        model.head.out.bias[0] = 100.0
    images = torch.zeros(1000, 1, 1, 100, dtype=torch.uint8)
    written = compress(model, images, batch_size=1000)
    assert len(written.data) - written.header_bytes == 4
    assert torch.equal(decompress(model, written.data), images)


def test_images_that_are_not_the_models(tiny: Build) -> None:
    model = tiny()
    for images in (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), torch.zeros(2, 3, 5, 4), images_of(model, 2) + 16):
        with pytest.raises(ValueError, match="expected"):
            compress(model, images)


def test_a_missing_library_is_named(tiny: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(UserError, match=r"pip install 'pixeltui\[codec\]'"):
        compress(tiny(), images_of(tiny(), 1))


def test_progress_counts_rows(tiny: Build) -> None:
    seen: list[tuple[int, int]] = []
    compress(tiny(), images_of(tiny(), 5), batch_size=3, progress=lambda *place: seen.append(place))
    assert seen == [(3 * row, 25) for row in range(1, 6)] + [(15 + 2 * row, 25) for row in range(1, 6)]
