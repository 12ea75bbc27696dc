"""`pixeltui data [NAME|PATH]`: which data sets there are, or what one is."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixeltui import registry
from pixeltui.commands.halfblocks import render, terminal_color, terminal_columns
from pixeltui.config import Data

if TYPE_CHECKING:
    from pixeltui.data import DataSet, Split

PREVIEW_LINES = 16
PATH_FORMS = {
    "FOLDER": "images as FOLDER/CLASS/*.png or FOLDER/*.png; optionally under train/, val/ and test/",
    "FILE.npz": "images (or train_images) uint8 [N, H, W, C] or [N, H, W]; labels int [N]; val_images, ...",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME|PATH", help="a data set, a folder of images or a .npz")
    parser.add_argument(
        "--root", default=Data().root, metavar="DIR", help="where downloads are kept (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    if args.name is None:
        _show_list(Path(args.root).expanduser(), args.json)
    else:
        _show_one(Data(name=args.name, root=args.root), args.json)
    return 0


def _show_list(root: Path, as_json: bool) -> None:
    states = {name: _state(name, root) for name in registry.DATASETS}
    if as_json:
        sets = [{"name": name, "state": state} for name, state in states.items()]
        print(json.dumps({"root": str(root.absolute()), "data_sets": sets, "paths": PATH_FORMS}, indent=2))
        return
    for name, state in states.items():
        print(f"{name:<16}{state}")
    for form, meaning in PATH_FORMS.items():
        print(f"{form:<16}{meaning}")
    print(f"\nDownloads are kept in {root}. `pixeltui data NAME` downloads a set and shows it.")


def _state(name: str, root: Path) -> str:
    from pixeltui.data.torchvision_files import SETS, on_disk

    if name not in SETS:
        return "built in"
    return "on disk" if on_disk(name, root) else "to download"


def _show_one(config: Data, as_json: bool) -> None:
    from pixeltui.commands.progress import bar
    from pixeltui.data import load

    with bar(f"loading {config.name}") as progress:
        data = load(config, progress=progress)
    for notice in data.notices:
        print(notice, file=sys.stderr)
    facts = describe(data)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    _print_facts(facts)
    print(f"\n{preview(data)}")


def describe(data: "DataSet") -> dict[str, Any]:
    """The data set in JSON's types."""
    return {
        "name": data.name,
        "shape": list(data.image_shape),
        "levels": data.levels,
        "classes": list(data.classes),
        "images": {name: len(split) for name, split in data.splits.items()},
        "class_counts": {name: _class_counts(data, split) for name, split in data.splits.items()},
        "checksum": data.checksum,
    }


def preview(data: "DataSet") -> str:
    """The first training images, class after class, as half blocks as wide as the terminal."""
    _, height, width = data.image_shape
    columns = terminal_columns()
    per_row = max(1, (columns + 1) // (width + 1))
    rows = max(1, PREVIEW_LINES // ((height + 1) // 2 + 1))
    indices = _round_robin(data, per_row * rows)
    return render(data.train.images[indices].numpy(), data.levels, columns, terminal_color())


def _round_robin(data: "DataSet", count: int) -> list[int]:
    """Indices of the first training image of each class, then the second of each, ..."""
    labels = data.train.labels
    if labels is None:
        return list(range(min(count, len(data.train))))
    seen = [0] * data.num_classes
    ranked = []
    for index, label in enumerate(labels.tolist()):
        ranked.append((seen[label], label, index))
        seen[label] += 1
    return [index for _, _, index in sorted(ranked)[:count]]


def _class_counts(data: "DataSet", split: "Split") -> dict[str, int]:
    if split.labels is None:
        return {}
    counts = split.labels.bincount(minlength=data.num_classes).tolist()
    return dict(zip(data.classes, counts, strict=True))


def _print_facts(facts: dict[str, Any]) -> None:
    from pixeltui.errors import printable

    channels, height, width = facts["shape"]
    print(f"name      {printable(facts['name'])}")
    print(f"shape     {width}x{height}, {'grey' if channels == 1 else 'colour'} ({channels} x {height} x {width})")
    print(f"levels    {facts['levels']}")
    print("images    " + ", ".join(f"{count:,} {name}" for name, count in facts["images"].items()))
    print(f"checksum  {facts['checksum']}")
    if not facts["classes"]:
        print("classes   none: unlabelled")
        return
    names = [printable(name) for name in facts["classes"]]
    width = max(len(name) for name in [*names, "class"])
    print(f"\n{'class':<{width}}" + "".join(f"{name:>10}" for name in facts["class_counts"]))
    for name, key in zip(names, facts["classes"], strict=True):
        print(f"{name:<{width}}" + "".join(f"{counts[key]:>10,}" for counts in facts["class_counts"].values()))
