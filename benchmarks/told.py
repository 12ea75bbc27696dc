"""What a benchmark says, on the terminal and in a file."""

import os
from pathlib import Path

import torch


def tell(lines: list[str], out: Path | None) -> None:
    """Prints the lines, and writes them to `out`, below what machine they are of."""
    machine = f"torch {torch.__version__}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    text = "\n".join([machine, *lines])
    print(text)
    if out is not None:
        out.write_text(text + "\n")
