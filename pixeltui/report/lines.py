"""The lines of a report's charts, from a run's points."""

import math
from collections.abc import Sequence

from pixeltui.curves.points import METRICS, Points
from pixeltui.curves.series import OPENING, Smoother
from pixeltui.curves.ticks import XKind, format_value
from pixeltui.report.chart import Line
from pixeltui.report.story import Story

SMOOTHED_SHARE = 0.02
"""of a curve's points that a smoothed one looks back over"""


def x_kind(stories: Sequence[Story]) -> XKind:
    """Epochs, by which runs of any batch size compare; steps for less than two of them."""
    return "epoch" if all(story.view.epoch >= 2 for story in stories) else "step"


def xs_of(story: Story, points: Points, kind: XKind) -> Sequence[float]:
    if kind == "time":
        return points.seconds
    return points.steps if kind == "step" else [step / story.curves.steps_per_epoch for step in points.steps]


def one_curve(story: Story, name: str, kind: XKind, color: int) -> list[Line]:
    """A metric of training; smoothed, with the raw one faint behind it, where single steps are noisy."""
    metric, points = METRICS[name], story.curves.points.get(f"{name}/train")
    if points is None:
        return []
    xs = xs_of(story, points, kind)
    if not metric.smooth:
        return [Line(name="newest", xs=xs, ys=points.ys, color=color, note=_last(points.ys))]
    smoothed = smoothed_ys(points.ys, log=metric.log)
    return [
        Line(name="raw", xs=xs, ys=points.ys, color=color, style="faint"),
        Line(name="smoothed", xs=xs, ys=smoothed, color=color, note=_last(smoothed)),
    ]


def likelihood_lines(story: Story, kind: XKind) -> list[Line]:
    """bits/dim in training, raw and smoothed, of validation and test with standard errors."""
    train = story.curves.points.get("bits/train")
    lines = []
    if train is not None:
        xs, smoothed = xs_of(story, train, kind), smoothed_ys(train.ys)
        lines = [
            Line(name="training batches", xs=xs, ys=train.ys, style="faint"),
            Line(name="training, smoothed", xs=xs, ys=smoothed, note=_last(smoothed)),
        ]
    return [*lines, *(_scored(story, split, kind, color) for split, color in (("val", 1), ("test", 2)))]


def run_lines(stories: Sequence[Story], kind: XKind) -> list[Line]:
    """Of each run its validation bits/dim, with the smoothed training loss faint behind it."""
    lines = []
    for color, story in enumerate(stories):
        train, val = (story.curves.points.get(f"bits/{split}") for split in ("train", "val"))
        if train is not None:
            xs, ys = xs_of(story, train, kind), smoothed_ys(train.ys)
            lines.append(Line(name=f"{story.name}, training", xs=xs, ys=ys, color=color, style="faint"))
        if val is not None:
            xs, errors = xs_of(story, val, kind), {e.step: e.bits_per_dim_se for e in story.view.evaluated("val")}
            lines.append(
                Line(
                    name=story.name,
                    xs=xs,
                    ys=val.ys,
                    errors=[errors.get(int(step)) for step in val.steps],
                    color=color,
                    style="dots",
                    note=_last(val.ys),
                )
            )
    return lines


def likelihood_top(lines: Sequence[Line]) -> float | None:
    """What a chart has to reach up to, so that the fall of the first steps does not flatten the rest.

    The lowest point of each line is in it, also of a run that ended in the opening of another.
    """
    end = max((line.xs[-1] for line in lines if line.xs), default=0.0)
    later = [
        y
        for line in lines
        if line.style != "faint"
        for x, y in zip(line.xs, line.ys, strict=True)
        if y is not None and y == y and x >= OPENING * end
    ]
    lowest = (min((y for y in line.ys if y is not None and y == y), default=None) for line in lines)
    return max([*later, *(y for y in lowest if y is not None)], default=None)


def _scored(story: Story, split: str, kind: XKind, color: int) -> Line:
    scored = story.view.evaluated(split)
    ys = [result.bits_per_dim for result in scored]
    return Line(
        name={"val": "validation", "test": "test"}[split],
        xs=[result.step if kind == "step" else result.step / story.curves.steps_per_epoch for result in scored],
        ys=ys,
        errors=[result.bits_per_dim_se for result in scored],
        color=color,
        style="dots",
        note=_last(ys),
    )


def smoothed_ys(ys: Sequence[float], *, log: bool = False) -> list[float | None]:
    """An exponential moving average over a share of the points, so that runs of any length look alike."""
    smoother = Smoother(1 - 1 / max(1.0, SMOOTHED_SHARE * len(ys)))
    if not log:
        return smoother(ys)
    logs = smoother(math.log(y) if y > 0 else None for y in ys)
    return [None if y is None else math.exp(y) for y in logs]


def _last(ys: Sequence[float | None]) -> str:
    last = ys[-1] if len(ys) else None
    return format_value(last) if last is not None and last == last else ""
