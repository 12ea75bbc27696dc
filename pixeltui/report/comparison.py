"""The report of several runs beside each other."""

import time
from collections.abc import Sequence

from pixeltui.curves.ticks import format_time
from pixeltui.report.chart import COLORS, chart
from pixeltui.report.html import Html, document, join, section, table, tag
from pixeltui.report.lines import likelihood_top, run_lines, x_kind
from pixeltui.report.page import image, settings, state_words, value_text
from pixeltui.report.story import Story
from pixeltui.session.describe import measured
from pixeltui.store.summary import speed
from pixeltui.toml import differences

FIGURES = ("run", "state", "data", "preset", "val, best", "test", "epoch", "step", "parameters", "images/s", "time")
"""val and test in bits/dim"""


def comparison_page(stories: Sequence[Story]) -> str:
    """The whole HTML file."""
    names, now = ", ".join(story.name for story in stories), time.strftime("%Y-%m-%d %H:%M %Z")
    return document(
        f"{len(stories)} runs of pixeltui: {names}",
        tag("header", tag("h1", f"{len(stories)} runs"), tag("p", names, class_="lead")),
        section("Figures", _warning(stories), _figures(stories)),
        section("Bits per dimension", _charts(stories)),
        _configs(stories),
        _samples(stories),
        tag("footer", f"Written {now} from the runs' own files. ", *map(_going_on, stories)),
    )


def _going_on(story: Story) -> str:
    return f"{story.name}: {words} " if (words := state_words(story)) else ""


def _warning(stories: Sequence[Story]) -> Html:
    """Likelihoods of different images do not compare."""
    data = {str(story.meta.get("data", {}).get("checksum")) for story in stories}
    if len(data) == 1:
        return Html()
    return tag("p", tag("strong", "The runs were trained on different data: their bits/dim do not compare."))


def _figures(stories: Sequence[Story]) -> Html:
    lowest = min((s.view.best.bits_per_dim or 0.0 for s in stories if s.view.best), default=None)
    rows = [_row(story, color, lowest) for color, story in enumerate(stories)]
    return table(FIGURES, rows, words=4, class_="figures")


def _row(story: Story, color: int, lowest: float | None) -> list[object]:
    summary, view = story.summary, story.view
    best = view.best is not None and view.best.bits_per_dim == lowest
    return [
        join([tag("i", class_=f"key dots c{color % COLORS}"), story.name]),
        summary.state,
        summary.data or "",
        summary.preset or "",
        tag("span", measured(view.best), class_="best" if best else None) if view.best else "",
        measured(view.test) if view.test else "",
        f"{view.epoch:.1f}",
        f"{view.step:,}",
        "" if summary.parameters is None else f"{summary.parameters:,}",
        speed(summary.images_per_second),
        format_time(story.seconds),
    ]


def _charts(stories: Sequence[Story]) -> Html:
    kind = x_kind(stories)
    by_step, by_time = run_lines(stories, kind), run_lines(stories, "time")
    top = likelihood_top(by_step)
    return join(
        [
            chart("Validation, and training faint", by_step, x_kind=kind, size="tall", top=top),
            chart("The same", by_time, x_kind="time", size="tall", top=top),
        ]
    )


def _configs(stories: Sequence[Story]) -> Html:
    differing = differences([story.config for story in stories])
    if not differing:
        return section("Config", tag("p", "The runs have the same config."))
    header = ("key", *(story.name for story in stories))
    return section(
        "Config keys that differ", table(header, [(key, *map(value_text, v)) for key, v in differing.items()])
    )


def _samples(stories: Sequence[Story]) -> Html:
    newest = [(story, *story.samples[-1]) for story in stories if story.samples]
    figures = (
        tag("figure", image(picture), tag("figcaption", f"{story.name}, step {step:,}", settings(picture)))
        for story, step, picture in newest
    )
    return section("Newest samples", tag("div", *figures, class_="gallery large")) if newest else Html()
