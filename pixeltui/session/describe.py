"""Events in words."""

from pixeltui.curves.ticks import format_rate
from pixeltui.errors import printable
from pixeltui.events import AnyEvent, CheckpointSaved, Evaluated, Notice, SampleSaved, Started, StateChanged, Step
from pixeltui.store.summary import readable, speed


def describe(event: AnyEvent, total_steps: int) -> str:
    """One line for people, without what could steer a terminal; "" for an event that needs none."""
    return printable(_words(event, total_steps))


def _words(event: AnyEvent, total_steps: int) -> str:
    match event:
        case Started():
            resumed = f", resumed at step {event.step}" if event.resumed else ""
            if event.step >= event.total_steps:
                resumed += ", the end: to train longer, resume with a larger train.epochs or train.steps"
            return (
                f"{event.parameters:,} parameters on {event.device} in {event.precision}, "
                f"{event.total_steps} steps, {event.steps_per_epoch} an epoch{resumed}"
            )
        case Step():
            return (
                f"step {event.step}/{total_steps}  epoch {event.epoch:.2f}  loss {figure(event.loss)} nats/dim  "
                f"{figure(event.bits_per_dim)} bits/dim  lr {format_rate(event.lr)}  "
                f"{speed(event.images_per_second)} images/s"
            )
        case Evaluated():
            images = f"{event.images} image{'s' * (event.images != 1)}"
            best = "  best so far" if event.best else ""
            return (
                f"{event.split:<5} epoch {event.epoch:.2f}  {measured(event)} bits/dim  "
                f"{figure(event.nats_per_dim)} nats/dim  perplexity {figure(event.perplexity)}  "
                f"({images}, {event.weights} weights){best}"
            )
        case CheckpointSaved():
            return f"checkpoint {event.path}, {event.bytes / 1e6:.1f} MB in {event.seconds:.2f} s"
        case SampleSaved():
            return f"samples {event.path}"
        case Notice():
            return f"{event.level}: {event.message}"
        case StateChanged(state="paused" | "training") if event.reason not in ("started", "resumed"):
            return f"{event.state}: {event.reason}"
    return ""


def measured(result: Evaluated) -> str:
    """bits/dim with its standard error: "1.7284 ± 0.0192"."""
    return figure(result.bits_per_dim) + (
        "" if result.bits_per_dim_se is None else f" ± {readable(result.bits_per_dim_se, 4)}"
    )


def figure(value: float | None) -> str:
    return "not finite" if value is None else readable(value, 4)
