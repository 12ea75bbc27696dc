"""What `bench ui` says of its figures."""

from typing import Any

from pixeltui.commands.console_speed import EVENTS, RUNS


def as_text(result: dict[str, Any]) -> str:
    """A line a figure, and how they were measured."""
    training, keys, sent = result["training"], result["keys"], result["bytes_per_second"]
    paint, many, long = result["first_paint_ms"], result["thousand_runs"], result["million_events"]
    scroll = many["scroll"]
    lines = [
        (
            "images/s, console over headless",
            f"{training['ratio']:.3f}",
            f"{training['images_per_second']:.1f} over "
            f"{training['headless_images_per_second']:.1f}; "
            + " ".join(f"{ratio:.3f}" for ratio in training["ratios"]),
        ),
        ("key to paint while it trains", f"{keys['median_ms']:.0f} ms", f"99 %: {keys['p99_ms']:.0f} ms"),
        (
            "bytes a second, live",
            f"{sent['live']:,.0f}",
            f"--low-bandwidth: {sent['low_bandwidth']:,.0f}; paused: {sent['paused']:,.0f}",
        ),
        (
            "first paint, run browser",
            f"{paint['runs']:.0f} ms",
            f"attach {paint['attach']:.0f}, train {paint['train']:.0f}",
        ),
        (
            f"{RUNS:,} runs listed",
            f"{many['listed_ms']:.0f} ms",
            f"again {many['listed_again_ms']:.0f}; first paint {many['first_paint_ms']:.0f}",
        ),
        ("a row down among them", f"{scroll['median_ms']:.0f} ms", f"99 %: {scroll['p99_ms']:.0f} ms"),
        (
            f"{EVENTS:,} events, drawn",
            f"{long['drawn_ms']:.0f} ms",
            f"whole {long['whole_ms']:.0f}; attach from the shell "
            f"{long['attach_drawn_ms']:.0f}, {long['attach_whole_ms']:.0f}",
        ),
    ]
    head = f"console, {result['size']}, {result['preset']} trains on {result['device']}, {result['cores']} cores"
    return "\n".join([head, *(f"{what:<32}  {figure:>10}  {more}" for what, figure, more in lines), result["method"]])
