"""Where an axis has its ticks, and how their values are written."""

from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import Final, Literal

XKind = Literal["step", "epoch", "time"]

TINY: Final = 1e-3
"""Values under it are written with an exponent."""
HUGE: Final = 1e12
"""as are values from it on"""
TINY_RATE: Final = 1e-2
"""as people write learning rates: 3e-3"""

_TIME_STEPS = (
    *(1, 2, 5, 10, 20, 30),
    *(60 * m for m in (1, 2, 5, 10, 20, 30)),
    *(3600 * h for h in (1, 2, 4, 6, 12)),
    *(86400 * d for d in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
)


def nice_step(span: float, count: int) -> float:
    """Smallest 1, 2 or 5 times a power of ten that cuts the span into at most `count` parts."""
    raw = span / max(1, count)
    power = 10.0 ** floor(log10(raw))
    for factor in (1, 2, 5):
        if factor * power >= raw * (1 - 1e-9):
            return factor * power
    return 10 * power


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """At most `count` + 1 multiples of a 1-2-5 step within [low, high]."""
    if not low < high:
        return [low]
    return _multiples(low, high, nice_step(high - low, count))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    # Dividing by a whole number keeps 0.3 from turning into 0.30000000000000004.
    return [i / round(1 / step) if step < 1 else i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Powers of ten within [low, high] (both positive), with 2 and 5 times them where these fit; at most
    about `count` of them. Linear ticks for less than a factor of three."""
    if high / low < 3:
        return [tick for tick in linear_ticks(low, high, count) if tick > 0]
    first, last = floor(log10(low)), ceil(log10(high))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**power for power in range(first, last + 1) for f in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= max(2, count):
            return ticks
    every = ceil(len(ticks) / max(2, count))
    return [10.0**power for power in range(first, last + 1) if power % every == 0 and low <= 10.0**power <= high]


def time_ticks(low: float, high: float, count: int) -> list[float]:
    """Round times within [low, high] seconds."""
    step = next((s for s in _TIME_STEPS if (high - low) / s <= count), None)
    if step is None or high - low < 1:
        return linear_ticks(low, high, count)
    return [float(t) for t in _multiples(low, high, step)]


def format_time(seconds: float) -> str:
    """ "45s", "3m20", "1h20", "2d04h"; at most two units, the smaller one without its name."""
    if seconds < 0:
        return "-" + format_time(-seconds)
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def format_value(value: float, digits: int = 4) -> str:
    """A value on its own: significant digits, no exponent where a few digits do."""
    if not isfinite(value):
        return "nan" if value != value else ("inf" if value > 0 else "-inf")
    size = abs(value)
    if size and (size < TINY or size >= 1e6):
        mantissa, _, exponent = f"{value:.{max(0, digits - 2)}e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    if size >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{max(0, digits - 1 - (floor(log10(size)) if size else 0))}f}" if size < 10**digits else str(value)


def format_rate(rate: float, digits: int = 3) -> str:
    """A learning rate, wherever one is told: "0.02", "3e-3", "3.04e-7"."""
    rounded = float(f"{rate:.{digits}g}")
    return _exponent(rounded) if 0 < rounded < TINY_RATE or rounded >= 1e6 else f"{rounded:g}"


def format_ticks(ticks: list[float], tiny: float = TINY) -> list[str]:
    """Labels of one axis, all with the same number of decimals, thousands as k and M where every label stays exact.

    tiny: where all of them are smaller they have exponents, as they have beyond G.
    """
    if not ticks:
        return []
    size = max(abs(t) for t in ticks)
    if 0 < size < tiny or size >= HUGE:
        return _exponents(ticks)
    gaps = [abs(b - a) for a, b in pairwise(ticks) if a != b]
    step = min(gaps, default=size or 1.0)
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 10 * unit or (size >= unit and (unit > 1e3 or step >= unit)):
            return ["0" if t == 0 else f"{_plain(t / unit, step / unit)}{suffix}" for t in ticks]
    return [_plain(t, step) for t in ticks]


def _plain(value: float, step: float) -> str:
    decimals = max(0, -floor(log10(step) + 1e-9)) if step > 0 else 0
    return f"{value:.{min(decimals, 9)}f}"


def _exponents(ticks: list[float]) -> list[str]:
    """With as many decimals as the longest one of the same exponent."""
    parts = [_exponent(t).split("e") for t in ticks]
    decimals = {e: max(len(m.partition(".")[2]) for m, other in parts if other == e) for _, e in parts}
    return ["0" if t == 0 else f"{float(m):.{decimals[e]}f}e{e}" for t, (m, e) in zip(ticks, parts, strict=True)]


def _exponent(value: float) -> str:
    mantissa, _, exponent = f"{value:.6e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_log_ticks(ticks: list[float], tiny: float = TINY) -> list[str]:
    """Labels of a log axis: each value by itself, short. tiny: smaller ones have an exponent."""
    labels = []
    for tick in ticks:
        if tick >= 1e4 or tick < tiny:
            labels.append(_exponent(tick))
        else:
            labels.append(f"{tick:.10f}".rstrip("0").rstrip("."))
    return labels


def x_ticks(low: float, high: float, width: int, kind: XKind) -> tuple[list[float], list[str]]:
    """Ticks of a horizontal axis of `width` cells, about one every dozen cells, and their labels."""
    count = max(2, width // 12)
    if kind == "time":
        ticks = time_ticks(low, high, count)
        return ticks, [format_time(t) if t else "0" for t in ticks]
    ticks = linear_ticks(low, high, count)
    if kind == "step":
        ticks = [t for t in ticks if t == round(t)]
    return ticks, format_ticks(ticks)


def y_ticks(low: float, high: float, height: int, log: bool, tiny: float = TINY) -> tuple[list[float], list[str]]:
    """Ticks of a vertical axis of `height` cells, at most one every 2.2 cells, and their labels.

    Closer ones where there would be no two: one alone gives no scale. tiny: see format_ticks.
    """
    place = log_ticks if log else linear_ticks
    count = max(2, height * 5 // 11)
    ticks = place(low, high, count)
    while len(ticks) < 2 and low < high and count < height:
        count += 1
        ticks = place(low, high, count)
    return ticks, format_log_ticks(ticks, tiny) if log and high / low >= 3 else format_ticks(ticks, tiny)
