"""What a benchmark says, on the terminal and in the file that its first argument names."""

import os
import sys
from pathlib import Path

import torch


def tell(lines: list[str]) -> None:
    """Prints and writes the lines, below what machine they are of."""
    machine = f"torch {torch.__version__}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    text = "\n".join([machine, *lines])
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n")
