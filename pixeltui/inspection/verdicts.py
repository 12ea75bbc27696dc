"""What was found, in words and as one JSON document: is it the mask, the model or the sampler that is wrong?"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from pixeltui.core.inspect import Causality, Leak, SamplerCheck
from pixeltui.core.inspect.causality import MOVES, SUM
from pixeltui.inspection.findings import Findings
from pixeltui.train.evaluate import mean_and_se


@dataclass(frozen=True)
class Verdict:
    right: bool
    line: str

    def __str__(self) -> str:
        return self.line


@dataclass(frozen=True)
class Mean:
    """Of images, with its standard error; None where one image tells nothing of it."""

    mean: float
    se: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.se is None else f" ± {self.se:.3f}")


def mean_bits(bits: Tensor) -> Mean:
    """bits/dim of images, from [N, ...]."""
    return Mean(*mean_and_se(bits.double().flatten(1).mean(1)))


def channel_names(channels: int) -> tuple[str, ...]:
    return ("R", "G", "B") if channels == 3 else ("grey",)


def verdicts(found: Findings) -> dict[str, Verdict]:
    """By "mask", "model" and "sampler"."""
    channels = found.images.shape[1]
    return {
        "mask": mask_verdict(found.causality, channels),
        "model": model_verdict(found.causality, found.sample_bits, found.bits),
        "sampler": sampler_verdict(found.sampler, found.causality, channels),
    }


def mask_verdict(causality: Causality, channels: int) -> Verdict:
    if causality.leak is not None:
        return Verdict(False, f"leaks: {describe(causality.leak, channels)}")
    return Verdict(
        True,
        f"right: changing all that comes after moves nothing before by more than {causality.moved:.1e} nats "
        f"({causality.cuts} of {causality.sub_pixels} places; gradients at {causality.gradient_cuts} agree)",
    )


def model_verdict(causality: Causality, sample_bits: Tensor, bits: Tensor) -> Verdict:
    """sample_bits, bits: of the model's own samples and of images, as in Findings."""
    sums = f"levels sum to 1 within {causality.sum_error:.1e} ({causality.sums} sub-pixels)"
    if not causality.normed:
        return Verdict(False, f"wrong: {sums}, over {SUM:.0e}: bits/dim mean nothing")
    return Verdict(
        True, f"right: {sums}; its own samples take {mean_bits(sample_bits)} bits/dim, images {mean_bits(bits)}"
    )


def sampler_verdict(sampler: SamplerCheck, causality: Causality, channels: int) -> Verdict:
    compared = f"{sampler.compared} sub-pixels of {sampler.images} images"
    if not sampler.follows:
        where = "" if sampler.first_off is None else f", first at {place(sampler.first_off, channels)}"
        return Verdict(False, f"wrong: other levels than the naive loop draws from the same noise{where} ({compared})")
    if not causality.causal:
        return Verdict(True, f"right: the naive loop's levels from the same noise ({compared}); the mask is to blame")
    if not sampler.agrees:
        apart = max(sampler.apart or 0.0, sampler.forced_off)
        return Verdict(False, f"wrong: distributions are up to {apart:.1e} apart from those that are scored")
    how = "computed row by row" if sampler.apart is None else f"distributions within {sampler.apart:.1e} of the scored"
    return Verdict(True, f"right: the naive loop's levels from the same noise ({compared}); {how}")


def place(at: tuple[int, int, int], channels: int) -> str:
    row, column, channel = at
    return f"{channel_names(channels)[channel]} at row {row}, column {column}"


def describe(leak: Leak, channels: int) -> str:
    """ "B at row 3, column 4 tells on G at row 3, column 4 (a later channel of the same pixel), by 0.2 nats" """
    (row, column, _), (to_row, to_column, _) = leak.later, leak.earlier
    if leak.later == leak.earlier:
        return f"the distribution of {place(leak.later, channels)} hangs on its own level, by {leak.moved:.1e} nats"
    if (row, column) == (to_row, to_column):
        how = "a later channel of the same pixel"
    elif row == to_row:
        how = f"{column - to_column} to the right"
    else:
        how = f"{row - to_row} row{'s' * (row - to_row != 1)} below"
    return (
        f"{place(leak.later, channels)} tells on {place(leak.earlier, channels)} ({how}), by {leak.moved:.1e} nats "
        f"where {MOVES:.0e} are allowed"
    )


def report(found: Findings, about: dict[str, Any], files: list[str]) -> dict[str, Any]:
    """The document of `inspect --json`, described in docs/INSPECT.md. about: run, checkpoint, data."""
    names = channel_names(found.images.shape[1])
    said = verdicts(found)
    field = found.field
    return {
        **about,
        "images": len(found.images),
        "samples": len(found.samples),
        "verdicts": {name: asdict(verdict) for name, verdict in said.items()},
        "causality": {**asdict(found.causality), "causal": found.causality.causal, "channels": list(names)},
        "sampler": asdict(found.sampler),
        "bits_per_dim": _bits(found.bits, names),
        "samples_bits_per_dim": _bits(found.sample_bits, names),
        "bits_map": [_rounded(channel) for channel in found.bits.mean(0)],
        "receptive_field": {
            "row": field.row,
            "column": field.column,
            "reach": asdict(field.reach),
            "effective": asdict(field.effective),
            "pixels": int(field.support.sum()),
            "earlier_pixels": field.row * field.support.shape[1] + field.column,
            "blind_spot": len(field.blind),
            "later_pixels": field.outside,
            "magnitude": _rounded(field.magnitude, 8),
        },
        "layers": [asdict(layer) for layer in found.layers],
        "files": files,
        "seconds": round(found.seconds, 2),
    }


def _bits(bits: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    by_channel = {name: asdict(mean_bits(bits[:, channel : channel + 1])) for channel, name in enumerate(names)}
    return {**asdict(mean_bits(bits)), "channels": by_channel, "per_image": _rounded(bits.flatten(1).mean(1))}


def _rounded(values: Tensor, digits: int = 4) -> Any:
    """Nested lists, short enough to read."""
    if values.ndim > 1:
        return [_rounded(row, digits) for row in values]
    return [round(value, digits) for value in values.tolist()]
