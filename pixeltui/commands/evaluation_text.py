"""What `pixeltui eval` found, in words."""

from typing import Any

from pixeltui.commands.options import counted
from pixeltui.store.summary import readable


def as_text(report: dict[str, Any]) -> str:
    weights = f"{report['checkpoint']} (step {report['step']}, {report['weights']} weights)"
    part = "all of it" if report["split"] == "all" else f"{report['split']} split"
    lines = [
        f"{report['run']}: {weights}",
        f"{report['data']}, {part}, {counted(report['images'], 'image')}",
        *_likelihood(report),
    ]
    if "raw" in report:
        raw = report["raw"]
        lines += [
            f"raw weights {_with_se(raw['bits_per_dim'], raw['bits_per_dim_se'])} bits/dim, "
            f"{_with_se(report['raw_minus_ema'], report['raw_minus_ema_se'], sign=True)} against the averaged ones"
        ]
    if "classification" in report:
        lines += _classification(report["classification"])
    if "samples" in report:
        lines += _samples(report["samples"])
    return "\n".join(lines)


def _with_se(value: float, se: float | None, *, sign: bool = False) -> str:
    plus = "+" if sign and value >= 0 else ""
    return plus + readable(value, 4) + ("" if se is None else f" ± {readable(se, 4)}")


def _likelihood(report: dict[str, Any]) -> list[str]:
    def figure(name: str, unit: str) -> str:
        se = report[f"{name}_se"]
        return f"{unit:<12}{readable(report[name], 4):>9}" + ("" if se is None else f" ± {readable(se, 4)}")

    lines = [
        figure("bits_per_dim", "bits/dim"),
        figure("nats_per_dim", "nats/dim"),
        figure("perplexity", "perplexity"),
    ]
    tables = {"per_channel": "bits/dim of each channel", "per_class": "bits/dim of each class"}
    for table, title in tables.items():
        figures = report[table]
        if len(figures) > 1 or (figures and table == "per_class"):
            width = max(map(len, figures))
            ses = report[f"{table}_se"]
            lines.append(title)
            lines += [f"  {name:<{width}}  {_with_se(bits, ses[name])}" for name, bits in figures.items()]
    return lines


def _classification(found: dict[str, Any]) -> list[str]:
    return [
        f"as a classifier by Bayes' rule: {found['accuracy']:.2%} ± {found['accuracy_se']:.2%} right, "
        f"{found['chance']:.2%} by always naming the commonest class; "
        f"{found['label_bits']:.3f} bits a label; p(image) over all classes {found['bits_per_dim']:.4f} bits/dim"
    ]


def _samples(found: dict[str, Any]) -> list[str]:
    nearest = found["nearest"]
    lines = [
        f"{found['images']} samples at temperature {found['temperature']:g}, top-p {found['top_p']:g}, guidance "
        f"{found['guidance']:g}, beside as many held-out images",
        "  sliced Wasserstein distance of patches to the held-out ones, and of as many training images",
    ]
    for size, distance in found["wasserstein"]["samples"].items():
        lines.append(f"    {size:<8}{distance:8.4f}  {found['wasserstein']['train'][size]:8.4f}")
    lines += [
        "  nearest training image (root mean squared difference, 1: black against white)",
        f"    samples   median {nearest['samples_median']:.4f}, least {nearest['samples_least']:.4f}",
        f"    held out  median {nearest['held_out_median']:.4f}, least {nearest['held_out_least']:.4f}",
        f"    {nearest['close_share']:.1%} of the samples are nearer than all but 1 % of the held-out images; "
        f"{nearest['copies']} are copies of a training image, {nearest['held_out_copies']} of the held-out images are",
    ]
    if "nearest_png" in found:
        lines.append(f"    the nearest pairs: {found['nearest_png']}")
    if "frechet" in found:
        samples, held_out = found["frechet"]["samples"], found["frechet"]["held_out"]
        lines.append(
            f"  Fréchet Inception distance to the training images {samples:.2f}, of held-out ones {held_out:.2f}"
        )
        if found["images"] < 10_000:
            lines.append("    of so few images both are far too large; published figures take 10,000 and more")
    return lines
