"""`pixeltui doctor`: what this machine and this terminal offer, and a remedy where something is missing."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

from pixeltui import registry
from pixeltui.config import Data
from pixeltui.errors import UserError

MIN_COLUMNS, MIN_LINES = 80, 24
LOW_SPACE = 2 << 30  # bytes: a few checkpoints of the large preset
GIB = 1 << 30
OPTIONAL = {
    "nvidia-ml-py": ("pixeltui[gpu]", "GPU use, temperature and power"),
    "tensorboard": ("pixeltui[tensorboard]", "event files for TensorBoard"),
}


@dataclass(frozen=True)
class Check:
    """One finding; `remedy` says what to do where it is not "ok". "fail": training is impossible."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", default=Data().root, metavar="DIR", help="where downloads are kept (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    checks = examine(args.runs_dir, Path(args.root).expanduser())
    if args.json:
        print(json.dumps({"checks": [asdict(check) for check in checks], "can_train": can_train(checks)}, indent=2))
    elif sys.stdout.isatty():
        _print_table(checks)
    else:
        _print_plain(checks)
    return 0 if can_train(checks) else 1


def can_train(checks: list[Check]) -> bool:
    return all(check.status != "fail" for check in checks)


def examine(runs_dir: Path, root: Path) -> list[Check]:
    """Every check, in the order in which they are shown. None of them raises or leaves anything behind."""
    groups: dict[str, Callable[[], Iterator[Check]]] = {
        "python": _versions,
        "torchvision": _torchvision,
        "device": _devices,
        "compiler": _compiler,
        "kernels": _kernels,
        "sampling": _sampling,
        "terminal": _terminal,
        "data": lambda: _data(root),
        "runs": lambda: _runs(runs_dir),
        "packages": lambda: map(_optional, OPTIONAL),
    }
    return [check for name, group in groups.items() for check in _safely(name, group)]


def _safely(name: str, group: Callable[[], Iterator[Check]]) -> list[Check]:
    try:
        return list(group())
    except Exception as error:  # a finding like any other: the remaining checks go on
        return [Check(name, "warn", f"could not be examined: {error}", "mend what failed above, or report it as a bug")]


def _versions() -> Iterator[Check]:
    yield Check("python", "ok", f"{sys.version.split()[0]} ({sys.executable})")
    try:
        import torch
    except Exception as error:
        yield Check("torch", "fail", f"cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    yield Check("torch", "ok", torch.__version__)


def _torchvision() -> Iterator[Check]:
    remedy = "pip install --upgrade torch torchvision; digits, folders and .npz work without it"
    try:
        version = metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        yield Check("torchvision", "warn", "not installed", remedy)
        return
    try:
        from pixeltui.data.torchvision_sets import import_datasets

        import_datasets()
    except (UserError, ImportError) as error:
        yield Check("torchvision", "warn", f"{version}: {error}", remedy)
        return
    yield Check("torchvision", "ok", version)


def _devices() -> Iterator[Check]:
    import torch

    from pixeltui.train.precision import pick_precision

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = f"cuda:{index}, {torch.cuda.get_device_name(index)}"
            yield Check("device", "ok", f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free")
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        yield Check("precision", "ok", "bf16, fp16, fp32" if bf16 else "fp16, fp32 (no bf16 on this GPU)")
    else:
        cause = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        remedy = (
            "with an NVIDIA GPU, install a CUDA build of torch: https://pytorch.org/get-started/locally"
            if torch.version.cuda is None
            else "with an NVIDIA GPU, look at `nvidia-smi` and CUDA_VISIBLE_DEVICES"
        )
        yield Check("device", "warn", f"CPU with {cores} cores; {cause}", f"{remedy}; --preset quick is made for CPUs")
        bf16 = pick_precision("auto", torch.device("cpu")).name == "bf16"
        yield Check("precision", "ok", "bf16, fp32" if bf16 else "fp32 (no bf16 on this processor)")
    yield _memory()


def _memory() -> Check:
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(rows[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return Check("memory", "ok", "unknown on this system")
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    return Check("memory", "ok", found) if free > 2 * GIB else Check("memory", "warn", found, "end other programs")


def _compiler() -> Iterator[Check]:
    import torch

    compiler = next((name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None)
    triton = util.find_spec("triton") is not None
    if compiler is None:
        remedy = "install g++, or train.compile = false"
        yield Check("compiler", "warn", "no C++ compiler: torch.compile will not work", remedy)
    elif torch.cuda.is_available() and not triton:
        yield Check("compiler", "warn", f"{compiler}, but no triton", "pip install triton, or train.compile = false")
    else:
        yield Check("compiler", "ok", f"{compiler}{' and triton' if triton else ''} for torch.compile")


def _kernels() -> Iterator[Check]:
    """Tries one, as training would."""
    import torch

    from pixeltui.core.gpu import mixture_loss, use
    from pixeltui.train.precision import pick_device

    device = pick_device("auto")
    slower = "training and sampling on the GPU are slower"
    if not use.compiles_for(device):
        yield Check("kernels", "ok", "made for NVIDIA GPUs, not used here")
    elif not use.ON:
        yield Check("kernels", "warn", f"turned off: {slower}", "unset PIXELTUI_TRITON")
    elif not use.THERE:
        yield Check("kernels", "warn", f"no triton: {slower}", "pip install triton")
    else:
        params, pixel = torch.zeros(1, 10, 1, 1, device=device), torch.zeros(1, 3, 1, 1, device=device)
        mixture_loss.log_prob(params, pixel, 1, 1 / 255, -7.0, 7.0)
        if why := use.why_not():
            remedy = "install a C compiler such as gcc and Python's headers; ~/.triton is to be writable"
            yield Check("kernels", "warn", f"cannot be used ({why}): {slower}", remedy)
        else:
            yield Check("kernels", "ok", "Triton's, for training and sampling")


def _sampling() -> Iterator[Check]:
    from pixeltui.core.native.library import TURNED_OFF, load

    library = load()
    if isinstance(library, str):
        remedy = "install a C compiler such as gcc, then in pixeltui's source pip install --force-reinstall --no-deps ."
        if library == TURNED_OFF:
            remedy = "unset PIXELTUI_COMPILED"
        yield Check("sampling", "warn", f"in torch, on a CPU up to 4 times slower: compiled steps {library}", remedy)
    else:
        yield Check("sampling", "ok", f"compiled steps, vectors of {library.lanes} floats")


def _terminal() -> Iterator[Check]:
    from pixeltui.ui.colors import detect_depth

    if not sys.stdout.isatty():
        yield Check("terminal", "ok", "stdout is no terminal, so without colours and size: plain lines, no console")
        return
    color = detect_depth(os.environ)
    found: str = "24-bit" if color == "truecolor" else color
    if color in ("256", "16"):
        yield Check("colours", "warn", found, "if it shows 24-bit colours, export COLORTERM=truecolor")
    elif color == "none":
        yield Check("colours", "warn", found, "for colours unset NO_COLOR, and set TERM to what the terminal is")
    else:
        yield Check("colours", "ok", found)
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding != "utf8":
        yield Check("encoding", "warn", encoding or "unknown", "export LC_ALL=C.UTF-8 to see half blocks")
    size = shutil.get_terminal_size()
    found = f"{size.columns}x{size.lines}"
    small = size.columns < MIN_COLUMNS or size.lines < MIN_LINES
    remedy = f"enlarge it to {MIN_COLUMNS}x{MIN_LINES} for the console" if small else ""
    yield Check("size", "warn" if small else "ok", found, remedy)


def _data(root: Path) -> Iterator[Check]:
    from pixeltui.data.torchvision_files import SETS, on_disk

    there = [name for name in registry.DATASETS if name not in SETS or on_disk(name, root)]
    missing = [name for name in registry.DATASETS if name not in there]
    remedy = f"`pixeltui data NAME` downloads {', '.join(missing)} into {root}" if missing else ""
    yield Check("data", "ok", f"{', '.join(there)} on disk", remedy)
    yield _space("data.root", root, "another folder: --set data.root=DIR", "warn")


def _runs(runs_dir: Path) -> Iterator[Check]:
    yield _space("runs", runs_dir, "another folder: --runs-dir DIR", "fail")


def _space(name: str, path: Path, remedy: str, unwritable: Literal["warn", "fail"]) -> Check:
    """Whether files can be made in a folder, or, where it does not exist yet, the folder itself."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not there.is_dir() or not _takes_files(there):
        return Check(name, unwritable, f"cannot write to {path}", f"make {there} a writable folder, or use {remedy}")
    free = shutil.disk_usage(there).free
    found = f"{path} is writable, {free / GIB:.1f} GiB free"
    return Check(name, "ok", found) if free > LOW_SPACE else Check(name, "warn", found, f"make room, or use {remedy}")


def _takes_files(folder: Path) -> bool:
    """Tried, as permissions do not tell of read-only disks, nor root of /proc."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _optional(package: str) -> Check:
    extra, purpose = OPTIONAL[package]
    try:
        return Check(package, "ok", f"{metadata.version(package)}: {purpose}")
    except metadata.PackageNotFoundError:
        return Check(package, "ok", f"not installed: no {purpose}", f"pip install '{extra}'")


def _print_plain(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        remedy = f" -> {check.remedy}" if check.remedy else ""
        print(f"{check.status:<5} {check.name:<{width}}  {check.found}{remedy}")


def _print_table(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table.grid(padding=(0, 2))
    for check in checks:
        found: Any = Text(check.found)
        if check.remedy:
            found.append(f"\n{check.remedy}", style="dim" if check.status == "ok" else styles[check.status])
        table.add_row(Text(check.status, style=styles[check.status]), Text(check.name, style="bold"), found)
    Console().print(table)
    if not can_train(checks):
        Console().print(Text("Training is not possible until what failed is mended.", style=styles["fail"]))
