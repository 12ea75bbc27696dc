"""The report of one run."""

import base64
import json
import math
import time
from collections.abc import Iterator

from pixeltui.curves.points import METRICS
from pixeltui.curves.ticks import format_time
from pixeltui.events import Evaluated
from pixeltui.report.chart import chart
from pixeltui.report.html import Html, details, document, join, section, table, tag
from pixeltui.report.lines import likelihood_lines, likelihood_top, one_curve, x_kind
from pixeltui.report.story import Picture, Story
from pixeltui.session.describe import measured
from pixeltui.store.summary import speed

MOST_NOTICES = 50
SETTINGS = ("weights", "temperature", "temperatures", "top_p", "guidance", "seed")


def run_page(story: Story) -> str:
    """The whole HTML file."""
    return document(
        f"{story.name}: a run of pixeltui",
        _head(story),
        _tiles(story),
        _newest(story),
        section("Curves", _charts(story)),
        _evaluations(story),
        _gallery("Samples over time", [(_when(story, step), picture) for step, picture in story.samples[:-1]]),
        _gallery("Temperature sweeps", _named(story, sweeps=True), class_="gallery large"),
        _gallery("Other images", _named(story, sweeps=False)),
        _config(story),
        _environment(story),
        _repeat(story),
        _notices(story),
        tag("footer", f"Written {time.strftime('%Y-%m-%d %H:%M %Z')} from the run's own files. {state_words(story)}"),
    )


def state_words(story: Story) -> str:
    if story.summary.state in ("training", "paused"):
        return "The run goes on: the figures are those of that moment."
    return ""


def _head(story: Story) -> Html:
    data = story.meta.get("data", {})
    shape = "x".join(str(size) for size in data.get("image_shape", ()))
    facts = [
        f"{data.get('name', 'unknown data')}, {shape} (channels, height, width), {data.get('levels', '?')} levels",
        f"preset {story.summary.preset}",
        f"begun {(story.summary.created or 'at an unknown time').replace('T', ' ').replace('Z', ' UTC')}",
    ]
    if story.summary.tags:
        facts.append(f"tags: {', '.join(story.summary.tags)}")
    note = str(story.meta.get("note", ""))
    return tag(
        "header",
        tag("h1", story.name, " ", tag("span", story.summary.state, class_="state")),
        tag("p", "; ".join(facts), class_="lead"),
        tag("p", note) if note else "",
        tag("p", f"It failed: {story.view.reason}", class_="failed") if story.summary.state == "failed" else "",
        tag("p", "Its process ended without a word; it can be resumed.") if story.summary.state == "crashed" else "",
    )


def _tiles(story: Story) -> Html:
    view, summary = story.view, story.summary
    tiles = []
    if view.best is not None:
        tiles.append((measured(view.best), f"bits/dim, best validation (epoch {view.best.epoch:.1f})"))
    if view.test is not None:
        tiles.append((measured(view.test), f"bits/dim, test ({view.test.images} images)"))
    steps = f"{view.step:,} of {summary.total_steps:,}" if summary.total_steps else f"{view.step:,}"
    tiles.append((steps, f"steps; epoch {view.epoch:.1f}"))
    if summary.parameters is not None:
        tiles.append((f"{summary.parameters:,}", "parameters"))
    if story.seconds:
        at = f", {speed(summary.images_per_second)} images/s" if summary.images_per_second else ""
        tiles.append((format_time(story.seconds), f"of training{at}"))
    return tag("div", *(tag("div", tag("b", a), tag("span", b), class_="tile") for a, b in tiles), class_="tiles")


def _newest(story: Story) -> Html:
    if not story.samples:
        return Html()
    step, picture = story.samples[-1]
    figure = tag("figure", image(picture), tag("figcaption", _when(story, step), settings(picture)), class_="newest")
    return section("Newest samples", figure)


def _when(story: Story, step: int) -> str:
    return f"step {step:,}, epoch {step / story.curves.steps_per_epoch:.1f}"


def image(picture: Picture) -> Html:
    encoded = base64.b64encode(picture.png).decode()
    source = f"data:image/png;base64,{encoded}"
    return tag("img", src=source, width=picture.width, height=picture.height, alt=f"samples, {picture.name}")


def settings(picture: Picture) -> str:
    """What produced it, behind the time."""
    found = {name.replace("_", "-"): picture.settings[name] for name in SETTINGS if name in picture.settings}
    return "".join(f"; {name} {_in_words(value)}" for name, value in found.items())


def _in_words(value: object) -> str:
    return ", ".join(map(value_text, value)) if isinstance(value, list) else value_text(value)


def value_text(value: object) -> str:
    """As TOML and people write it: text without quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else json.dumps(value, default=str)


def _charts(story: Story) -> Html:
    kind = x_kind([story])
    small = (
        chart(metric.title, one_curve(story, name, kind, color), x_kind=kind, log=metric.log)
        for color, (name, metric) in enumerate(METRICS.items())
        if not metric.of_evaluation
    )
    lines = likelihood_lines(story, kind)
    tall = chart("bits/dim", lines, x_kind=kind, size="tall", top=likelihood_top(lines))
    if not tall:
        return tag("p", "No step was logged yet.", class_="soft")
    return join([tall, tag("div", *small, class_="charts")])


def _evaluations(story: Story) -> Html:
    """The newest of each split and weights first of all, then every one of them."""
    every = story.view.evaluations
    if not every:
        return Html()
    newest = {(e.split, e.weights): e for e in every}
    shown = sorted([*newest.values(), *([story.view.best] if story.view.best else [])], key=lambda e: (e.split, e.step))
    header = ("split", "weights", "epoch", "step", "images", "bits/dim", "nats/dim", "perplexity", "")
    rows = [_evaluation(e, story) for e in dict.fromkeys(shown)]
    return section(
        "Likelihood",
        tag("p", "± one standard error over images. Split train with raw weights: the mean over the epoch's batches."),
        table(header, rows, words=2, class_="figures"),
        details(
            f"All {len(every)} evaluations",
            table(header, (_evaluation(e, story) for e in every), words=2, class_="figures"),
        ),
    )


def _evaluation(e: Evaluated, story: Story) -> list[object]:
    nats_se = None if e.bits_per_dim_se is None else e.bits_per_dim_se * math.log(2)
    best = e is story.view.best
    return [
        e.split,
        e.weights,
        f"{e.epoch:.2f}",
        f"{e.step:,}",
        f"{e.images:,}",
        tag("span", measured(e), class_="best" if best else None),
        _with_error(e.nats_per_dim, nats_se),
        # The standard error of exp(nats), to first order.
        _with_error(e.perplexity, None if nats_se is None or e.perplexity is None else nats_se * e.perplexity),
        "best" if best else "",
    ]


def _with_error(value: float | None, error: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}" + ("" if error is None else f" ± {error:.4f}")


def _named(story: Story, *, sweeps: bool) -> list[tuple[str, Picture]]:
    """What was kept with the run: a row of images for each temperature, or anything else."""
    return [(picture.name, picture) for picture in story.pictures if ("temperatures" in picture.settings) is sweeps]


def _gallery(title: str, pictures: list[tuple[str, Picture]], class_: str = "gallery") -> Html:
    if not pictures:
        return Html()
    figures = (
        tag("figure", image(picture), tag("figcaption", caption, settings(picture))) for caption, picture in pictures
    )
    return section(title, tag("div", *figures, class_=class_))


def _config(story: Story) -> Html:
    rows = [(key, value_text(ours), value_text(preset)) for key, (preset, ours) in story.changed.items()]
    overrides = story.meta.get("overrides", [])
    return section(
        "Config",
        table(("key", "this run", f"preset {story.summary.preset}"), rows)
        if rows
        else tag("p", f"The preset {story.summary.preset}, nothing changed."),
        tag("p", f"Set when the run was resumed: {' '.join(map(str, overrides))}") if overrides else "",
        details("Every key, as TOML", tag("pre", story.config_toml)),
    )


def _environment(story: Story) -> Html:
    return section("Environment", table((), _environment_rows(story)))


def _environment_rows(story: Story) -> Iterator[tuple[str, str]]:
    meta, started = story.meta, story.view.started
    for name, version in meta.get("versions", {}).items():
        yield str(name), str(version)
    yield "platform", str(meta.get("platform", "unknown"))
    yield "device", str(started.device if started is not None else meta.get("device", "unknown"))
    if started is not None:
        yield "precision", started.precision
        yield "processes", str(started.processes)
    git = meta.get("git", {})
    if "commit" in git:
        changed = ", with changes" if git.get("changes") in (True, "true") else ""
        yield "git commit of the folder it was started in", f"{git['commit']}{changed}"
    data = meta.get("data", {})
    yield "data", str(data.get("name", "unknown"))
    images = ", ".join(f"{count} {split}" for split, count in data.get("images", {}).items())
    yield "images", images or "unknown"
    yield "classes", ", ".join(map(str, data.get("classes", ()))) or "none"
    yield "sha-256 of the data", str(data.get("checksum", "unknown"))


def _repeat(story: Story) -> Html:
    version = story.meta.get("versions", {}).get("pixeltui", "")
    return section(
        "How to repeat it",
        tag("p", f"With pixeltui {version}, the same data (its checksum is above) and the TOML above as config.toml:"),
        tag("pre", "pixeltui --no-ui train --config config.toml"),
        tag("p", "It was started by:"),
        tag("pre", str(story.meta.get("command", "unknown"))),
        tag("p", "On the CPU, and on CUDA with train.deterministic = true, the losses come out bit for bit the same."),
    )


def _notices(story: Story) -> Html:
    rows: list[tuple[object, ...]] = [
        (time.strftime("%Y-%m-%d %H:%M", time.localtime(n.t)), n.level, n.step, n.message)
        for n in story.view.notices[-MOST_NOTICES:]
    ]
    if story.skipped_lines:
        rows.append(("", "warning", "", f"lines of the log that were no events, passed over: {story.skipped_lines}"))
    return section("Notices", table(("time", "level", "step", "message"), rows)) if rows else Html()
