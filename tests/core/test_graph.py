"""What a CUDA graph records of a row, as far as a machine without one can tell."""

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sampled import Fast, features_by_row, last, random_images

from pixeltui.core import ConditionalPixelCNN, kept
from pixeltui.core.by_row import RowSampler
from pixeltui.core.cached import CachedSampler
from pixeltui.core.layers import LayerNorm, silu_gate
from pixeltui.core.native import compiled
from pixeltui.core.packed import PackedAttention
from pixeltui.core.parts import scale_levels
from pixeltui.core.rows import StackWeights
from pixeltui.core.sampler import Settings, fast_sampler, naive_sample_stream

Tiny = Callable[..., ConditionalPixelCNN]


@pytest.fixture
def attention_on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention as on a GPU: it reads its place from the device's memory."""
    made = PackedAttention.__init__

    def on_device(self: PackedAttention, *args: Any) -> None:
        made(self, *args)
        self.on_device = True

    monkeypatch.setattr(PackedAttention, "__init__", on_device)


@pytest.mark.usefixtures("attention_on_device")
@torch.no_grad()
def test_attention_that_reads_its_place_from_the_device_is_the_same(tiny: Tiny) -> None:
    model = tiny((3, 6, 5), 8, attention=True)
    images = random_images(model, 2)
    full = model.trunk(scale_levels(images, 8), None)
    by_row = features_by_row(model, images, None, (1,))
    drawn = [0, 2, 3, 4, 5]
    torch.testing.assert_close(by_row[:, :, drawn], full[:, :, drawn], atol=1e-4, rtol=1e-4)


HEADS = list(itertools.product(Fast.HEADS, (True, False)))
WITH = [
    (norm, head, in_order)
    for norm, (head, in_order), _ in zip(
        itertools.cycle(Fast.NORMS),
        itertools.cycle(HEADS),
        range(max(len(HEADS), len(Fast.NORMS))),
        strict=False,
    )
]
"""every norm and every head: what is computed of one does not hang on the other"""


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize(("norm", "head", "channel_autoregressive"), WITH)
@pytest.mark.usefixtures("attention_on_device")
@torch.no_grad()
def test_a_row_never_waits_for_the_device(
    tiny: Tiny, architecture: str, norm: str, head: str, channel_autoregressive: bool
) -> None:
    """What a CUDA graph records, on a device without values: reading one there, or mixing devices, raises."""
    options = {"head": head, "channel_autoregressive": channel_autoregressive, "norm": norm, "attention": True}
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[:2], known[2, 0] = True, True
    model = tiny((3, 4, 6), 256, 3, architecture=architecture, **options).to("meta")
    kept = {"given": torch.zeros(3, 3, 4, 6, dtype=torch.uint8), "known": known}
    for wish in ({}, {**kept, "labels": [0, 1, 2], "guidance": 2.0, "temperature": 0.9, "top_p": 0.9}):
        sampler = fast_sampler(model, Settings(3, seed=0, **wish))
        assert sampler is not None
        sampler.fill(0, 2)
        sampler._steps([True] * 6)
        assert sampler.row.is_meta
    with pytest.raises((RuntimeError, NotImplementedError)):
        sampler.row.tolist()


def test_steps_that_draw_every_column_keep_what_is_known(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph is the same for every row: it draws all columns, known or not."""
    steps = RowSampler._steps
    monkeypatch.setattr(compiled, "load", lambda: "not built")
    monkeypatch.setattr(RowSampler, "_steps", lambda self, wanted: steps(self, [True] * len(wanted)))
    model = tiny((3, 5, 4), 8)
    given, known = random_images(model, 2), torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)) < 0.6
    naive = last(naive_sample_stream(model, 2, seed=1, given=given, known=known))
    assert torch.equal(last(model.sample_stream(2, seed=1, given=given, known=known)), naive)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """As on a device that records graphs: padded batches, samplers that are kept. The samplers that drew."""
    drew: list[Any] = []
    stream = CachedSampler.stream
    monkeypatch.setattr(kept, "records", lambda _: True)
    monkeypatch.setattr(compiled, "load", lambda: "not built")
    monkeypatch.setattr(CachedSampler, "stream", lambda self: (drew.append(self), stream(self))[1])
    return drew


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("head", [*Fast.HEADS, "any"])
def test_a_kept_sampler_draws_with_the_weights_of_now(
    tiny: Tiny, recording: list[Any], monkeypatch: pytest.MonkeyPatch, architecture: str, head: str
) -> None:
    options = {"architecture": architecture, "head": "categorical" if head == "any" else head, "attention": True}
    model, other = (tiny((3, 5, 4), 8, 3, seed=seed, **options) for seed in range(2))
    if head == "any":
        monkeypatch.setattr(type(model.head), "incremental", lambda _: None)
    given, known = random_images(model, 3), torch.zeros(5, 4, dtype=torch.bool)
    known[:2] = True
    wishes: list[dict[str, Any]] = [{"labels": [0, 2, 1]}, {"given": given, "known": known, "guidance": 2.0}]
    for wish in wishes:
        for labels in ([0, 2, 1], [1, 1, 0]):
            own = {**wish, "labels": labels}
            assert torch.equal(model.sample(3, seed=1, **own), last(naive_sample_stream(model, 3, seed=1, **own)))
    assert [recording.index(one) for one in recording] == [0, 0, 2, 2], "one for each kind of request"
    model.load_state_dict(other.state_dict())
    for wish in wishes:
        own = {"labels": [0, 2, 1], **wish}
        assert torch.equal(model.sample(3, seed=1, **own), last(naive_sample_stream(other, 3, seed=1, **own)))
    assert recording[4:] == [recording[0], recording[2]]


@pytest.mark.parametrize("options", [{}, {"kernel": 5}, {"norm": "batch", "gate": "none"}], ids=str)
@pytest.mark.parametrize("architecture", ["single_stack", "two_stream"])
def test_blocks_begin_a_row_together(
    tiny: Tiny, recording: list[Any], monkeypatch: pytest.MonkeyPatch, architecture: str, options: dict[str, Any]
) -> None:
    init = StackWeights.__init__
    monkeypatch.setattr(StackWeights, "__init__", lambda self, *args: (init(self, *args), self.put_together())[0])
    model = tiny((3, 5, 4), 8, 3, architecture=architecture, **options)
    drawn = model.sample(2, labels=[2, 0], seed=1)
    assert recording[0].trunk.stack.above
    assert torch.equal(drawn, last(naive_sample_stream(model, 2, labels=[2, 0], seed=1)))


def test_two_streams_of_a_kind_share_nothing(tiny: Tiny, recording: list[Any]) -> None:
    model = tiny((3, 5, 4), 8)
    expected = [last(naive_sample_stream(model, 2, seed=seed)) for seed in range(2)]
    stopped = model.sample_stream(2, seed=0)
    next(stopped)
    streams = [model.sample_stream(2, seed=seed) for seed in range(2)]
    *_, ((first, _), (second, _)) = zip(*streams, strict=True)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])
    assert len(set(map(id, recording))) == 3
    stopped.close()
    assert torch.equal(model.sample(2, seed=1), expected[1])
    assert recording[-1] is recording[0], "one that was left in the middle begins anew"


def test_batches_come_in_few_sizes_and_images_do_not_hang_on_them(tiny: Tiny, recording: list[Any]) -> None:
    asked = (1, 2, 3, 5, 16, 33, 64, 65, 129, 256)
    assert [kept.size_for(n) for n in asked] == [1, 4, 4, 32, 32, 64, 64, 128, 192, 256]
    model = tiny((1, 4, 5), 8, 3)
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2]
    whole = model.sample(9, labels, guidance=2.0, seed=4)
    for batch in range(1, 9):
        drawn = model.sample(batch, labels[:batch], guidance=2.0, seed=4)
        assert torch.equal(drawn, whole[:batch])
    assert {one.request.images.shape[0] for one in recording} == {1, 4, 32}
    assert len(set(map(id, recording))) == 3
    for _ in range(2):
        for temperature in range(1, 9):
            model.sample(1, temperature=float(temperature))
    assert len(kept._idle[model]) == kept.MOST, "what is kept is bounded"


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_sampler_that_failed_is_not_kept(
    tiny: Tiny, recording: list[Any], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error

    model = tiny((1, 4, 5), 8)
    with monkeypatch.context() as patch:
        patch.setattr(RowSampler, "_steps", fail)
        with pytest.raises(error):
            model.sample(1)
    model.sample(1)
    assert recording[0] is not recording[1]


def test_kept_samplers_go_with_their_model(tiny: Tiny, recording: list[Any]) -> None:
    model = tiny((1, 4, 5), 8)
    model.sample(1)
    gone = weakref.ref(model)
    recording.clear()
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("architecture", list(Fast.ARCHITECTURES))
@pytest.mark.parametrize("change", ["gate", "block", "attention", "head", "norm"])
def test_a_kept_sampler_is_of_no_use_to_a_model_with_other_parts(
    tiny: Tiny, recording: list[Any], architecture: str, change: str
) -> None:
    model: Any = tiny((3, 4, 3), 8, architecture=architecture, attention=True, norm="layer", gate="tanh")
    model.sample(2, seed=1)
    if change == "gate":
        for block in model.trunk.blocks:
            block.gate_name, block.gate = "silu", silu_gate
    elif change == "block":
        del model.trunk.blocks[-1]
    elif change == "attention":
        model.trunk.attention["1"] = torch.nn.Identity()
    elif change == "head":
        model.head = tiny((3, 4, 3), 8, head="categorical", architecture=architecture).head
    else:
        for part in list(model.trunk.blocks):
            for name, child in list(part.named_children()):
                if isinstance(child, LayerNorm):
                    setattr(part, name, torch.nn.Identity())
    assert torch.equal(model.sample(2, seed=1), last(naive_sample_stream(model, 2, seed=1)))
    assert recording[0] is not recording[1]
