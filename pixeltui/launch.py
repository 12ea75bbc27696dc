"""What torchrun or srun says, in environment variables, about this process and those beside it. No torch."""

import os
import socket


def several() -> bool:
    """Whether this process is one of several that train one run."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Counted on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def job_id() -> str | None:
    """The same for all processes that one torchrun starts and restarts; None without torchrun."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    # "none" is its default: the process that started this one, and starts it again, then tells one job from another
    return f"{socket.gethostname()}:{os.getppid()}" if name == "none" else name


def attempt() -> int:
    """How often torchrun has started the processes again after one had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
