"""Follow a run from another process, by its log alone: no torch, no lock, nothing that could disturb it.

python examples/watch_a_run.py runs/NAME
"""

import argparse
import time
from pathlib import Path

from pixeltui.errors import UserError
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import RunView


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="its directory")
    args = parser.parse_args()

    try:
        run = RunDir.open(args.run)
    except UserError as error:
        parser.error(str(error))
    reader, view, told = EventReader(run.events_path), RunView(), -1
    while True:
        view.fold(reader.read_new())
        if view.step != told and view.steps:
            newest, told = view.steps[-1], view.step
            best = "" if view.best is None else f", best validation {view.best.bits_per_dim:.4f}"
            print(f"step {newest.step}  {newest.bits_per_dim:.4f} bits/dim{best}")
        if view.state(locked=run.is_locked()) not in ("training", "paused"):
            break
        time.sleep(1)
    print(f"{run.name}: {view.state(locked=False)}")
    if view.test is not None:
        print(f"test {view.test.bits_per_dim:.4f} ± {view.test.bits_per_dim_se:.4f} bits/dim")


if __name__ == "__main__":
    main()
