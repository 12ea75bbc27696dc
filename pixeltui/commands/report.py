"""`pixeltui report`: a run, or several beside each other, as one HTML file."""

import argparse
from pathlib import Path

from pixeltui.errors import UsageError, UserError, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's name, a unique prefix of it, or its path")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="default: RUN-report.html; of several runs comparison.html"
    )


def run(args: argparse.Namespace) -> int:
    if args.out is not None and args.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {args.out}: expected a name that ends in .html")
    from pixeltui.report import comparison_page, read_story, run_page
    from pixeltui.store.files import write_atomic
    from pixeltui.store.rundir import find_run

    stories = [read_story(find_run(args.runs_dir, reference)) for reference in args.runs]
    page = run_page(stories[0]) if len(stories) == 1 else comparison_page(stories)
    out: Path = args.out or Path("comparison.html" if len(stories) > 1 else f"{stories[0].name}-report.html")
    content = page.encode(errors="replace")
    try:
        write_atomic(out, content)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from None
    names = ", ".join(story.name for story in stories)
    print(f"report of {printable(names)}: {printable(out)}, {len(content) / 1e3:,.0f} kB, for any browser, offline too")
    return 0
