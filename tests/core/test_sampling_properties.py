"""Whatever the config, the request and the way of computing, a level is the inverse, at its noise, of the full
forward's distribution given the image that was drawn: the image is the naive loop's, wherever float rounding falls."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sampled import last
from torch import Tensor

from pixeltui import registry
from pixeltui.core import ConditionalPixelCNN
from pixeltui.core.native import compiled as compiled_steps
from pixeltui.core.parts import scale_levels
from pixeltui.core.sampler import Request, Settings, _checked

Tiny = Callable[..., ConditionalPixelCNN]
NEAR = 1e-4

CONFIGS = st.fixed_dictionaries(
    {
        "architecture": st.sampled_from(list(registry.ARCHITECTURES)),
        "head": st.sampled_from(list(registry.HEADS)),
        "norm": st.sampled_from([name for name in registry.NORMS if name != "none"]),
        "gate": st.sampled_from(list(registry.GATES)),
        "attention": st.booleans(),
        "channel_autoregressive": st.booleans(),
        "kernel": st.sampled_from([1, 3, 5]),
        "first_kernel": st.sampled_from([3, 5, 7]),
        "linear_skip": st.sampled_from([0, 4]),
        "blocks": st.integers(1, 3),
        "dropout": st.sampled_from([0.0, 0.3]),
        "label_dropout": st.sampled_from([0.0, 0.5]),
    }
)
SIZES = st.sampled_from([(1, 1), (1, 6), (6, 1), (5, 7), (4, 4), (8, 3)])


@st.composite
def requests(draw: st.DrawFn, shape: tuple[int, int, int], levels: int, classes: int) -> Settings:
    batch = draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    given_images = known = None
    if draw(st.booleans()):
        given_images = torch.randint(0, levels, (batch, *shape), generator=generator, dtype=torch.uint8)
        if draw(st.booleans()):
            given_images = given_images.transpose(2, 3).contiguous().transpose(2, 3)
        masks = (shape[1:], (batch, 1, *shape[1:]), (batch, *shape))
        known = torch.rand(draw(st.sampled_from(masks)), generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.95]))
        first = draw(st.integers(0, shape[1]))
        known[..., first : draw(st.integers(first, shape[1])), :] = True
    labels = draw(st.none() | st.lists(st.integers(0, max(classes - 1, 0)), min_size=batch, max_size=batch))
    return Settings(
        batch,
        labels,
        temperature=draw(st.sampled_from([1.0, 1.0, 0.7, 1e-300])),
        top_p=draw(st.sampled_from([1.0, 1.0, 1e-6])),
        guidance=draw(st.sampled_from([1.0, 1.0, 0.0, 2.5])),
        seed=draw(st.integers(0, 999)),
        given=given_images,
        known=known,
    )


@torch.no_grad()
def check(model: ConditionalPixelCNN, request: Request, images: Tensor) -> None:
    """Each level that was drawn against the full forward of the image that came of it."""
    copies = 2 if request.guided else 1
    x = scale_levels(images, model.levels).repeat(copies, 1, 1, 1).to(next(model.parameters()).dtype)
    features = model.trunk(x, request.labels)
    cold = request.temperature < 1e-3 or request.top_p < 1e-3
    for row in range(images.shape[2]):
        for column in range(images.shape[3]):
            for channel in range(images.shape[1]):
                earlier = images[:, :channel, row, column].long().repeat(copies, 1)
                log_probs = model.head.level_log_probs(features[:, :, row, column], earlier).float()
                if request.guided:
                    own, other = log_probs.chunk(2)
                    log_probs = (other + request.guidance * (own - other)).log_softmax(1)
                drawn = images[:, channel, row, column].long()[:, None]
                free = ~request.known[:, channel, row, column]
                noise = request.noise[:, channel, row, column]
                if cold:
                    off = log_probs.max(dim=1).values - log_probs.gather(1, drawn)[:, 0]
                else:
                    probs = torch.softmax(log_probs.double() / request.temperature, dim=1)
                    upto = probs.cumsum(1).gather(1, drawn)[:, 0]
                    off = torch.maximum(upto - probs.gather(1, drawn)[:, 0] - noise, noise - upto)
                assert bool((off[free] < (1e-3 if cold else NEAR)).all()), (row, column, channel, off)


@pytest.mark.parametrize("compiled", [False, True])
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_level_is_the_one_that_the_model_says(
    tiny: Tiny, request: pytest.FixtureRequest, compiled: bool, data: st.DataObject
) -> None:
    config, size = data.draw(CONFIGS), data.draw(SIZES)
    shape = (data.draw(st.sampled_from([1, 3])), *size)
    levels, classes = data.draw(st.sampled_from([2, 17, 256])), data.draw(st.sampled_from([0, 3]))
    wish = data.draw(requests(shape, levels, classes))
    model = tiny(shape, levels, classes, std=0.3, **config)
    if data.draw(st.sampled_from([False, False, True])):
        model = model.double()
    checked = _checked(model, wish)
    kept = checked.images.clone()
    model.train(data.draw(st.booleans()))
    built: Any = request.getfixturevalue("built") if compiled else "not built"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_steps, "load", lambda: built)
        names = ("labels", "temperature", "top_p", "guidance", "seed", "given", "known")
        own = {name: getattr(wish, name) for name in names}
        images = last(model.sample_stream(wish.batch_size, **own))
        labels = own.pop("labels")
        first = {name: own.pop(name) for name in ("given", "known")}
        alone = {name: None if value is None else value[:1] for name, value in first.items()}
        if first["known"] is not None and first["known"].ndim == 2:
            alone["known"] = first["known"]
        alone_image = last(model.sample_stream(1, labels and labels[:1], **own, **alone))
    assert torch.equal(images[checked.known], kept[checked.known]), "bit for bit"
    check(model.eval(), checked, images)
    check(model, _checked(model, Settings(1, labels and labels[:1], **own, **alone)), alone_image)
