"""Where runs are kept, unless a command says otherwise. Imports next to nothing: the arguments of all commands ask."""

import os
from pathlib import Path


def default_runs_dir() -> Path:
    return Path(os.environ.get("PIXELTUI_RUNS_DIR", "runs"))
