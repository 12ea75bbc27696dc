"""examples/slurm.sh, with a loop for srun, which kills its processes at SIGTERM as the real one does."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from several import descendants, found, losses, run_of, settings, wait_for
from tiny import tiny_arguments

from pixeltui import events
from pixeltui.store.summary import summarize

STUBS = {
    "srun": """#!/bin/bash
shift
children=()
trap 'kill -KILL "${children[@]}"' TERM
for rank in 0 1; do SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" & children+=($!); done
echo "${children[@]}" > "$0.processes"
status=0
for child in "${children[@]}"; do
    wait "$child"; while kill -0 "$child" 2>/dev/null; do wait "$child"; done
    wait "$child"; status=$?
done
exit $status
""",
    "scancel": """#!/bin/bash
kill -TERM $(cat "$(dirname "$0")/srun.processes")
""",
    "scontrol": """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "scontrol $*"; fi
""",
}


def test_the_slurm_script_stops_with_a_checkpoint_and_is_queued_again(tiny_npz: Path, tmp_path: Path) -> None:
    for name, text in STUBS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    script = Path(__file__).parents[2] / "examples" / "slurm.sh"
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIXELTUI_RUNS_DIR": str(tmp_path / "runs"),
        "NAME": "run",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_NTASKS": "2",
    }

    def queue(*words: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", str(script), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def warn(job: subprocess.Popen, send: Callable[[], object]) -> int:
        """Sends a warning once the job trains; returns the step that it stopped at."""
        before = max(losses(tmp_path), default=0)
        wait_for(lambda: max(losses(tmp_path), default=0) >= before + 3, job)
        send()
        output, errors = job.communicate(timeout=120)
        assert job.returncode == 143, errors
        assert f"scontrol requeue {os.getpid()}" in output
        return max(losses(tmp_path))

    never = settings("train.steps=100000", "train.eval_every=0", "train.checkpoint_every=0")
    jobs = [queue(*tiny_arguments(tiny_npz), *never)]
    try:
        first = warn(jobs[0], lambda: subprocess.run([tmp_path / "bin" / "scancel"], check=True))
        jobs.append(queue("--preset", "passed over"))
        second = warn(jobs[1], lambda: jobs[1].send_signal(signal.SIGUSR1))  # as with --signal=B:USR1@180
    finally:
        for job in jobs:
            for pid in [job.pid, *descendants(job.pid)] if job.poll() is None else []:
                os.kill(pid, signal.SIGKILL)
    assert [event.step for event in found(tmp_path, events.Started)] == [0, first], "the second job goes on"
    assert [event.step for event in found(tmp_path, events.CheckpointSaved)] == [first, second]
    assert summarize(run_of(tmp_path).path).state == "stopped"
