"""The figures of the state strip."""

from dataclasses import replace

from pixeltui.curves.ticks import format_rate
from pixeltui.events import Telemetry
from pixeltui.store.summary import readable, size, speed
from pixeltui.ui.watch import Watch
from pixeltui.ui.widgets.state_strip import Item

STATE_COLORS = {
    "training": "good",
    "paused": "warn",
    "finished": "accent",
    "stopped": "warn",
    "failed": "bad",
    "crashed": "bad",
    "damaged": "bad",
}
STATE_MARKS = {
    "training": "●",
    "paused": "⏸",
    "finished": "✔",
    "stopped": "■",
    "failed": "✖",
    "crashed": "✖",
    "damaged": "?",
}
RECENT = 40
WAITS_LONG = 0.1
"""share of the time spent waiting for data from which it is worth a colour"""
MEMORY_FULL = 0.92


def duration(seconds: float) -> str:
    """ "42 s", "3:07", "2:05:00", "4 d 7 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    if whole < 100 * 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def seconds_left(watch: Watch) -> float | None:
    """At the pace of the newest step events since the last pause, with what evaluations and samples took among them."""
    steps, started = watch.view.steps, watch.view.started
    if started is None or watch.state not in ("training", "paused") or not steps:
        return None
    recent = [s for s in steps[-RECENT:] if s.t >= watch.view.trains_since]
    if len(recent) < 2:
        return None
    took, done = recent[-1].t - recent[0].t, recent[-1].step - recent[0].step
    # A clock that was set back in between tells nothing.
    return (started.total_steps - recent[-1].step) * took / done if done > 0 and took > 0 else None


def items(watch: Watch) -> list[Item]:
    """Most important first where there is no room for all."""
    view, started, config = watch.view, watch.view.started, watch.config
    state = watch.state
    if watch.session.status:
        return [Item("status", "", f"◌ {watch.session.status} …", 0, color="warn")]
    found = [Item("state", "", f"{STATE_MARKS[state]} {state}", 0, width=10, color=STATE_COLORS[state])]
    if watch.share_read is not None:
        found.append(Item("read", "", f"◌ reading its log {watch.share_read:.0%}", 0, width=21, color="warn"))
    if started is None:
        return found
    epochs = started.total_steps / max(started.steps_per_epoch, 1)
    found.append(Item("epoch", "epoch", f"{view.epoch:.1f}/{_epochs(epochs)}", 1))
    found.append(Item("step", "step", f"{view.step}/{started.total_steps}", 2))
    if (left := seconds_left(watch)) is not None:
        found.append(Item("left", "left", duration(left), 1, width=5))
    step = view.steps[-1] if view.steps else None
    if step is not None:
        found.append(Item("bits", "train", "nan" if step.bits_per_dim is None else readable(step.bits_per_dim, 3), 1))
    if view.best is not None and view.best.bits_per_dim is not None:
        found.append(Item("best", "best val", readable(view.best.bits_per_dim, 3), 0, color="good"))
    if view.test is not None and view.test.bits_per_dim is not None:
        found.append(Item("test", "test", readable(view.test.bits_per_dim, 3), 1, color="accent"))
    if view.images_per_second is not None:
        found.append(Item("speed", "images/s", speed(view.images_per_second), 2, width=4))
    if step is not None:
        found.append(Item("lr", "lr", format_rate(step.lr), 3))
    if config is not None and config.train.ema_decay:
        decay = config.train.ema_decay
        found.append(Item("ema", "EMA", f"{decay:g}, {1 / (1 - decay):.0f} steps", 5))
        if (excess := view.raw_excess) is not None:
            found.append(Item("excess", "raw − EMA", _difference(excess), 3))
    if step is not None:
        if step.skipped:
            found.append(Item("skipped", "skipped", str(step.skipped), 1, color="bad"))
        color = "warn" if step.data_wait >= WAITS_LONG else "text"
        found.append(Item("wait", "data wait", f"{step.data_wait:.0%}", 4, width=2, color=color))
        if step.sample_share >= 0.005:
            found.append(Item("samples", "sampling", f"{step.sample_share:.0%}", 7, width=3))
    if view.telemetry is not None:
        readings = machine(view.telemetry)
        if not watch.session.alive:
            readings = [replace(item, label=f"last {item.label}", color="muted") for item in readings]
        found += readings
    if step is not None and step.grad_norm is not None:
        found.append(Item("grad", "grad", f"{step.grad_norm:.2f}", 8))
    found.append(Item("device", "", f"{started.device} {started.precision}", 9, color="muted"))
    found.append(Item("size", "", f"{size(started.parameters)} parameters", 10, color="muted"))
    return found


def machine(telemetry: Telemetry) -> list[Item]:
    """Device, process and host, as far as there are readings."""
    found = []
    t = telemetry
    gpu = [f"{t.gpu_busy:>4.0%}"] if t.gpu_busy is not None else []
    if t.gpu_memory is not None and t.gpu_memory_total:
        gpu.append(f"{_gib(t.gpu_memory)}/{_gib(t.gpu_memory_total)} GiB")
    gpu += [f"{t.gpu_temperature:.0f} °C"] if t.gpu_temperature is not None else []
    gpu += [f"{t.gpu_power:.0f} W"] if t.gpu_power is not None else []
    if gpu:
        found.append(Item("gpu", "GPU", " ".join(gpu), 4))
    if t.cores_busy is not None and t.cores:
        found.append(Item("cores", "CPU", f"{t.cores_busy:.1f}/{t.cores}", 6))
    if t.memory is not None:
        total = f"/{_gib(t.host_memory_total)}" if t.host_memory_total else ""
        full = t.host_memory is not None and t.host_memory_total and t.host_memory > MEMORY_FULL * t.host_memory_total
        found.append(Item("memory", "RAM", f"{_gib(t.memory)}{total} GiB", 6, color="warn" if full else "text"))
    if t.host_busy is not None:
        found.append(Item("host", "host", f"{t.host_busy:.0%}", 7, width=4))
    return found


def _epochs(count: float) -> str:
    """ "50", "1.4", "0.007"."""
    if count.is_integer():
        return f"{count:.0f}"
    return f"{count:.1f}" if count >= 0.1 else f"{count:.1g}"


def _difference(value: float) -> str:
    if abs(value) >= 10:
        return f"{value:+.1g}"
    return f"{round(value, 3) + 0.0:+.3f}"  # -0.0 becomes 0.0


def _gib(count: float) -> str:
    """As tools for GPUs count memory."""
    return f"{count / 2**30:.1f}" if count < 10 * 2**30 else f"{count / 2**30:.0f}"
