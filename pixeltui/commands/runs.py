"""`pixeltui runs`: the run browser for scripts."""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pixeltui.commands import options
from pixeltui.config import as_dict
from pixeltui.errors import UsageError, UserError, printable
from pixeltui.report.page import value_text
from pixeltui.session.describe import measured
from pixeltui.store.rundir import RunDir, check_tag, find_run
from pixeltui.store.summary import (
    RunSummary,
    age,
    formatted,
    json_document,
    list_runs,
    readable,
    size,
    speed,
    summarize,
)
from pixeltui.store.view import RunView, read_view
from pixeltui.toml import differences, flat

COLUMNS = ("name", "state", "data", "preset", "epoch", "step", "val", "test", "images/s", "parameters", "age", "tags")
COMPARED = ("state", "data", "preset", "epoch", "step", "val, best", "test", "images/s", "parameters")
DROPPED_FIRST = ("preset", "images/s", "epoch", "parameters", "data", "tags", "step", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _action(actions, "list", _list, "every run, newest first (the default)", json=True)
    show = _action(actions, "show", _show, "one run: figures, config, checkpoints", json=True)
    options.add_run(show)
    compare = _action(actions, "compare", _compare, "figures side by side, and the config keys that differ", json=True)
    compare.add_argument("runs", nargs="+", metavar="RUN")
    rename = _action(actions, "rename", _rename, "give a run another name")
    options.add_run(rename)
    rename.add_argument("name")
    tag = _action(actions, "tag", _tag, "add tags to a run")
    options.add_run(tag)
    tag.add_argument("tags", nargs="+", metavar="TAG")
    tag.add_argument("--remove", action="store_true", help="take the tags away")
    note = _action(actions, "note", _note, "write a note to a run")
    options.add_run(note)
    note.add_argument("text")
    delete = _action(actions, "delete", _delete, "move a run to the trash folder, .trash")
    options.add_run(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")
    export = _action(actions, "export", _export, "weights as one safetensors file, with a model card")
    options.add_run(export)
    export.add_argument("--out", type=Path, metavar="FILE.safetensors", help="default: RUN.safetensors")
    options.add_checkpoint(export)
    parser.set_defaults(do=_list, json=False)
    _add_json(parser)


def _action(
    actions: Any, name: str, do: Callable[[argparse.Namespace], int], meaning: str, *, json: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=meaning, description=meaning, allow_abbrev=False)
    parser.set_defaults(do=do)
    options.add_common(parser, hidden=True)
    if json:
        _add_json(parser)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    """SUPPRESS: where `runs` has it, its action does not take it back."""
    help_text = "one JSON document on stdout"
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=help_text)


def run(args: argparse.Namespace) -> int:
    status: int = args.do(args)
    return status


def _list(args: argparse.Namespace) -> int:
    if args.runs_dir.is_file():
        raise UserError(f"{printable(args.runs_dir)} is a file, not a folder of runs: try another --runs-dir")
    runs = list_runs(args.runs_dir.absolute())
    if args.json:
        print(json_document(runs))
    elif not runs:
        print(f"no runs in {args.runs_dir}; a first one in three minutes: pixeltui --no-ui train --preset quick")
    else:
        _table(COLUMNS, [_row(summary) for summary in runs], DROPPED_FIRST)
    return 0


def _row(run: RunSummary) -> list[str]:
    steps = "" if run.step is None else f"{run.step}/{run.total_steps or '?'}"
    return [
        run.name,
        run.state,
        run.data or "",
        run.preset or "",
        formatted(run.epoch, ".1f"),
        steps,
        readable(run.best_val_bits_per_dim, 3),
        readable(run.test_bits_per_dim, 3),
        speed(run.images_per_second),
        size(run.parameters),
        age(run.updated),
        " ".join(run.tags),
    ]


def _table(header: Sequence[str], rows: list[list[str]], droppable: Sequence[str] = ()) -> None:
    """Aligned columns; on a terminal without empty ones and, as far as its width asks for it, `droppable` ones."""
    table = [[printable(cell) for cell in row] for row in [list(header), *rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    shown = list(range(len(header)))
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        shown = [i for i in shown if any(row[i] for row in table[1:])]
        for name in droppable:
            if sum(widths[i] + 2 for i in shown) - 2 > room:
                shown = [i for i in shown if header[i] != name]
    for row in table:
        print("  ".join(row[i].ljust(widths[i]) for i in shown).rstrip())


def shown(run: RunDir) -> dict[str, Any]:
    """What `runs show --json` prints."""
    import msgspec

    locked = run.is_locked()
    view, skipped = read_view(run.events_path)
    summary: dict[str, Any] = msgspec.to_builtins(summarize(run.path, view, locked=locked))
    checkpoints = sorted(path.name for path in run.checkpoints_dir.glob("*.safetensors"))
    meta = run.meta()
    return {
        **summary,
        "note": str(meta.get("note", "")),
        "config": as_dict(run.config(resumed=True)),
        "overrides": meta.get("overrides", []),
        "checkpoints": checkpoints,
        "events": view.count,
        "skipped_lines": skipped,
        "evaluations": msgspec.to_builtins([e for e in view.evaluations if e.weights == "ema"]),
        "command": meta.get("command"),
        "versions": meta.get("versions"),
    }


def _show(args: argparse.Namespace) -> int:
    run = find_run(args.runs_dir, args.run)
    facts = shown(run)
    if args.json:
        print(json_document(facts))
        return 0
    config = facts.pop("config")
    evaluations = facts.pop("evaluations")
    facts["tags"] = " ".join(facts["tags"])
    facts["checkpoints"] = " ".join(facts["checkpoints"])
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in (facts["versions"] or {}).items())
    facts["overrides"] = " ".join(facts["overrides"])
    width = max(map(len, facts))
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{name:<{width}}  {printable(_cell(value))}")
    print("\nconfig")
    for key, value in flat(config).items():
        print(f"  {key} = {printable(json.dumps(value, ensure_ascii=False))}")
    if evaluations:
        print()
        header = ("split", "epoch", "step", "bits/dim", "±", "nats/dim", "perplexity", "best")
        rows = [
            [
                e["split"],
                formatted(e["epoch"], ".2f"),
                str(e["step"]),
                readable(e["bits_per_dim"], 4),
                readable(e["bits_per_dim_se"], 4),
                readable(e["nats_per_dim"], 4),
                readable(e["perplexity"], 3),
                "best" if e["best"] else "",
            ]
            for e in evaluations[-12:]
        ]
        _table(header, rows)
    return 0


def _compare(args: argparse.Namespace) -> int:
    if len(args.runs) < 2:
        raise UsageError("compare takes two runs or more")
    import msgspec

    runs = [find_run(args.runs_dir, reference) for reference in args.runs]
    summaries = [summarize(run.path) for run in runs]
    configs = [flat(as_dict(run.config(resumed=True))) for run in runs]
    differing = differences(configs)
    if args.json:
        print(json_document({"runs": msgspec.to_builtins(summaries), "config": differing}))
        return 0
    if len({str(run.meta().get("data", {}).get("checksum")) for run in runs}) > 1:
        options.warn("the runs were trained on different data: their bits/dim do not compare")
    views = [read_view(run.events_path)[0] for run in runs]
    columns = [_compared(summary, view) for summary, view in zip(summaries, views, strict=True)]
    rows = [list(row) for row in zip(COMPARED, *columns, strict=True)]
    rows.append(["", *("" for _ in runs)])
    rows += [[key, *map(value_text, values)] for key, values in differing.items() if key != "preset"]
    _table(("", *(run.name for run in runs)), rows)
    return 0


def _compared(run: RunSummary, view: RunView) -> list[str]:
    """A column of COMPARED."""
    return [
        run.state,
        run.data or "",
        run.preset or "",
        formatted(run.epoch, ".1f"),
        "" if run.step is None else str(run.step),
        measured(view.best) if view.best else "",
        measured(view.test) if view.test else "",
        speed(run.images_per_second),
        "" if run.parameters is None else f"{run.parameters:,}",
    ]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _rename(args: argparse.Namespace) -> int:
    run = find_run(args.runs_dir, args.run)
    renamed = run.rename(args.name)
    print(f"{printable(run.name)} is {renamed.name} now")
    return 0


def _tag(args: argparse.Namespace) -> int:
    run = find_run(args.runs_dir, args.run)
    for tag in args.tags:
        check_tag(tag)

    def tagged(meta: dict[str, Any]) -> dict[str, Any]:
        old = [str(tag) for tag in meta.get("tags", [])]
        return {"tags": [t for t in old if t not in args.tags] if args.remove else [*dict.fromkeys([*old, *args.tags])]}

    run.change_meta(tagged)
    print(f"{printable(run.name)}: {printable(' '.join(run.meta().get('tags', []))) or 'no tags'}")
    return 0


def _note(args: argparse.Namespace) -> int:
    find_run(args.runs_dir, args.run).update_meta(note=args.text)
    return 0


def _asked(question: str) -> str:
    """The answer; none at an end of the input, as Ctrl-D makes one."""
    try:
        return input(question).strip().lower()
    except EOFError:
        print()
        return ""


def _delete(args: argparse.Namespace) -> int:
    run = find_run(args.runs_dir, args.run, even_damaged=True)
    name = printable(run.name)
    if not args.yes:
        if not sys.stdin.isatty():
            where, found = options.found_by(run, args.runs_dir)
            raise UsageError(
                f"delete asks first, and there is no terminal to ask on: pixeltui {where}runs delete {found} --yes"
            )
        if _asked(f"delete run {name}? [y/N] ") not in ("y", "yes"):
            print("kept")
            return 0
    print(f"{name} moved to {printable(run.delete())}; delete that folder to free its space")
    return 0


def _export(args: argparse.Namespace) -> int:
    run = find_run(args.runs_dir, args.run)
    out = args.out or Path(f"{run.name}.safetensors")
    if out.suffix.lower() != ".safetensors":
        raise UsageError(f"--out {out}: expected a name that ends in .safetensors")
    from pixeltui.train.export import export

    try:
        card = export(run, out, checkpoint=args.checkpoint, weights=args.weights, warn=options.warn)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from None
    print(printable(f"{out}, and how to load it: {card}"))
    return 0
