"""The first listing of the browser, by a process that is forked before textual is imported."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = """
import os, signal, sys
from pathlib import Path
from pixeltui.ui.listing import Listing
from pixeltui.ui.run_list import RunList

runs = Path(sys.argv[1])
listing = Listing(runs)
assert "textual" not in sys.modules
there = RunList(runs, listing.take)
assert [run.name for run in there.reload()] == ["junk", "one"]
here = RunList(runs)
here.reload()
assert there.known == here.known, "stamps too: nothing is read twice"
(runs / "two").mkdir()
assert [run.name for run in there.reload()] == ["junk", "one", "two"]

killed = Listing(runs)
os.kill(killed._child, signal.SIGKILL)
assert len(RunList(runs, killed.take).reload()) == 3, "read here instead"
print("done")
"""


def test_it_is_what_the_browser_would_read_itself(tiny_train: Callable[..., int], tmp_path: Path) -> None:
    assert tiny_train("--name", "one", "--set", "train.steps=2") == 0
    runs = tmp_path / "runs"
    (runs / "junk").mkdir()
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(runs)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr
