"""Cuts real connections in mid-training, again and again, and attaches to what is left.

    python benchmarks/hangup_ssh.py --times 20 [--ways ssh,killed,tmux,nohup,stop] [--transcript FILE]

ssh: the console in a real ssh session to this machine, whose client dies. killed: a terminal that is destroyed. tmux: a
tmux server that is killed. nohup: a headless run whose terminal goes. stop: as ssh, with --on-hangup stop.

After each cut the process that trained must be the same and go on at full speed, on no terminal, its output in the
run's log; `pixeltui attach` from two new terminals at once must show the run, and its keys must work: pause, go on,
checkpoint. Needs sshd and tmux; starts an sshd of its own on a free port of the loopback, with keys made for it.
"""

import argparse
import contextlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pixeltui.errors import UserError
from pixeltui.events import Acknowledged
from pixeltui.store.files import holder, is_locked
from pixeltui.store.rundir import RunDir
from pixeltui.store.view import RunView

SECONDS = 90.0
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=$]*[a-zA-Z]|\][^\x07]*\x07|[P_].*?\x1b\\|.)", re.DOTALL)
ENVIRONMENT = {
    name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ
}


class Story:
    """What happened, with seconds, on stdout and in a file."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a") if path else None
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:7.2f} s  {text}"
        print(line, flush=True)
        if self._file:
            print(line, file=self._file, flush=True)


class Terminal:
    """A program on a pseudo-terminal of 100x30, read by nobody until it is asked for."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="30", TEXTUAL_ANIMATIONS="none")
            os.execvp(command[0], command)
        self.seen = ""

    def read(self) -> str:
        """What was drawn since the last call."""
        fresh = b""
        while select.select([self.handle], [], [], 0.05)[0]:
            try:
                data = os.read(self.handle, 65536)
            except OSError:
                break
            fresh += data
            if not data:
                break
        text = ESCAPES.sub("", fresh.decode(errors="replace"))
        self.seen = (self.seen + text)[-200_000:]
        return text

    def until(self, met: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not met():
            self.read()
            if time.monotonic() > deadline:
                raise SystemExit(f"not seen: {what}; the terminal's last words: {self.seen[-1500:]!r}")

    def press(self, keys: str) -> None:
        os.write(self.handle, keys.encode())

    def close(self) -> None:
        """The terminal is gone, as when its window is closed."""
        with contextlib.suppress(OSError):
            os.close(self.handle)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[list[str]]:
    """An sshd of our own; yields the client's command."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = (
        ("Port", port),
        ("ListenAddress", "127.0.0.1"),
        ("HostKey", folder / "host"),
        ("AuthorizedKeysFile", folder / "authorized"),
        ("PidFile", folder / "pid"),
        ("StrictModes", "no"),
        ("UsePAM", "no"),
        ("PasswordAuthentication", "no"),
        ("PermitRootLogin", "prohibit-password"),
    )
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in settings))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    with (folder / "sshd.log").open("w") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
        words = [word for option in options for word in ("-o", option)]
        wait(lambda: "listening" in (folder / "sshd.log").read_text(), "sshd")
        yield ["ssh", "-tt", "-i", str(folder / "user"), "-p", str(port), *words, "127.0.0.1"]
    finally:
        server.terminate()
        server.wait()


class Cutter:
    """One run after the other, each cut in another way."""

    def __init__(self, folder: Path, ssh: list[str], story: Story) -> None:
        self.folder, self.ssh, self.story = folder, ssh, story
        self.runs = folder / "runs"

    def program(self, *words: str) -> str:
        exports = "".join(f"export {name}='{value}'; " for name, value in ENVIRONMENT.items())
        return f"{exports}exec {sys.executable} -m pixeltui --runs-dir {self.runs} {' '.join(words)}"

    def train(self, name: str, *words: str, ui: bool = True) -> str:
        settings = "train.steps=1000000 train.eval_every=0 train.checkpoint_every=0 model.channels=8 model.blocks=1"
        sets = " ".join(f"--set {setting}" for setting in f"{settings} log.every=10 sample.every=0".split())
        head = [] if ui else ["--no-ui"]
        return self.program(*head, "train", "--preset", "quick", sets, "--name", name, *words)

    def begin(self, name: str, way: str) -> tuple[Terminal, RunDir]:
        """The run, trained in the way to be cut, once its first steps are done."""
        sockets = str(self.folder / f"tmux-{name}")
        command = {
            "ssh": [*self.ssh, self.train(name)],
            "stop": [*self.ssh, self.train(name, "--on-hangup", "stop")],
            "killed": ["sh", "-c", self.train(name)],
            "tmux": ["tmux", "-S", sockets, "-f", "/dev/null", "new-session", f'sh -c "{self.train(name)}"'],
            "nohup": [*self.ssh, f'nohup sh -c "{self.train(name, ui=False)}"'],
        }[way]
        terminal, run = Terminal(command), RunDir(self.runs / name)
        terminal.until(lambda: view(run).step >= 20, f"{name}: the first steps")
        return terminal, run

    def cut(self, terminal: Terminal, name: str, way: str) -> None:
        if way == "tmux":
            subprocess.run(["tmux", "-S", str(self.folder / f"tmux-{name}"), "kill-server"], check=True)
        elif way in ("ssh", "stop", "nohup"):
            os.kill(terminal.pid, signal.SIGKILL)
        terminal.close()

    def once(self, name: str, way: str) -> None:
        terminal, run = self.begin(name, way)
        pid = int(holder(run.path)["pid"])
        before, speed = view(run).step, steps_per_cpu_second(run, pid)
        terminal.read()
        lines = [line.strip() for line in re.split(r"[\r\n]+|  {3,}", terminal.seen) if "step" in line]
        shown = f"; its screen: {lines[-1][-70:]}" if lines else ""
        self.story.tell(f"{name}: {way}, process {pid} at step {before}, {speed:.0f} steps a CPU second{shown}")
        self.cut(terminal, name, way)
        if way == "stop":
            wait(lambda: not is_locked(run.path), f"{name}: its end")
            last = view(run)
            assert last.last_state == "stopped", last.last_state
            assert last.checkpoints[-1].step == last.step
            self.story.tell(f"{name}: cut; stopped at step {last.step}, checkpoint written ({last.reason})")
            return
        at = view(run).step
        wait(lambda: view(run).step > at + 100, f"{name}: steps after the cut")
        assert int(holder(run.path)["pid"]) == pid, "another process"
        assert is_locked(run.path)
        after = steps_per_cpu_second(run, pid)
        assert after > speed / 2, (speed, after)
        files = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (0, 1, 2)]
        assert not any(file.startswith("/dev/pts") for file in files), files
        self.story.tell(
            f"{name}: cut; process {pid} trains on at step {view(run).step}, {after:.0f} steps a CPU second; "
            f"stdin, stdout, stderr: {', '.join(Path(file).name for file in files)}"
        )
        self.attach(run, name)
        assert int(holder(run.path)["pid"]) == pid
        os.kill(pid, signal.SIGTERM)
        wait(lambda: not is_locked(run.path), f"{name}: its end")
        assert view(run).last_state == "stopped"
        assert "Traceback" not in run.log_path.read_text()

    def attach(self, run: RunDir, name: str) -> None:
        """Two terminals at once, one over ssh; every command by its key."""
        attach = self.program("attach", name)
        terminals = [Terminal([*self.ssh, attach]), Terminal(["sh", "-c", attach])]
        for terminal in terminals:
            terminal.until(lambda t=terminal: name in t.seen and "bits/dim" in t.seen, f"{name}: the console again")
        first, second = terminals
        for terminal, key, what in (
            (first, "p", lambda: view(run).last_state == "paused"),
            (second, "p", lambda: view(run).last_state == "training"),
            (second, "w", lambda: bool(view(run).checkpoints)),
        ):
            self.press_until(terminal, key, what, name)
        acknowledged = [e for e in run.read_events()[0] if isinstance(e, Acknowledged)]
        assert acknowledged
        assert all(event.ok for event in acknowledged)
        for terminal in terminals:
            terminal.press("q")
            terminal.until(lambda t=terminal: is_over(t.pid), f"{name}: attach ends")
            terminal.close()
        told = ", ".join(f"{e.command} at step {e.step}" for e in acknowledged)
        self.story.tell(f"{name}: attached from two terminals; acknowledged: {told}; detached, training goes on")

    def press_until(self, terminal: Terminal, key: str, met: Callable[[], bool], name: str) -> None:
        """Once: a key is not repeated, for what it does could be undone."""
        time.sleep(0.5)
        terminal.press(key)
        terminal.until(met, f"{name}: what {key} does")


def view(run: RunDir) -> RunView:
    try:
        return RunView().fold(run.read_events()[0])
    except UserError:
        return RunView()


def steps_per_cpu_second(run: RunDir, pid: int) -> float:
    """Of the process, over two seconds: a core that spins beside training, or training that waits, shows in it."""
    step, cpu = view(run).step, cpu_seconds(pid)
    time.sleep(2.0)
    return (view(run).step - step) / max(cpu_seconds(pid) - cpu, 1e-3)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_over(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        if time.monotonic() > deadline:
            raise SystemExit(f"not seen: {what}")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--ways", default="ssh,killed,tmux,nohup,stop")
    parser.add_argument("--transcript", type=Path)
    args = parser.parse_args()
    ways = args.ways.split(",")
    story, good = Story(args.transcript), 0
    with tempfile.TemporaryDirectory() as temporary, ssh_server(Path(temporary)) as ssh:
        cutter = Cutter(Path(temporary), ssh, story)
        for number in range(args.times):
            way = ways[number % len(ways)]
            try:
                cutter.once(f"run-{number}", way)
                good += 1
            except (AssertionError, SystemExit, OSError) as error:
                story.tell(f"run-{number}: {way}: FAILED: {type(error).__name__} {error}")
                with contextlib.suppress(OSError, KeyError):
                    os.kill(int(holder(cutter.runs / f"run-{number}")["pid"]), signal.SIGKILL)
    story.tell(f"{good} of {args.times} connections cut without losing a run")
    return 0 if good == args.times else 1


if __name__ == "__main__":
    sys.exit(main())
