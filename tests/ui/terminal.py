"""A program on a pseudo-terminal and what a person would see there, through pyte."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

# Sequences that pyte does not know and would print as text.
_UNKNOWN = re.compile(rb"\x1b\[[<>=?][0-9;]*[a-zA-Z]|\x1b\[[0-9;]*\$[a-z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)


def run_program(
    code: str, environ: dict[str, str], done: Callable[[pyte.Screen], bool], columns: int = 80, rows: int = 24
) -> tuple[pyte.Screen, bytes]:
    """Run Python code until `done`, and on until it has been quiet for a moment: the screen and all of the output."""
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH", "LANG")}
    fd, inner = pty.openpty()
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=keep | environ, start_new_session=True
    )
    os.close(inner)
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    output, pending = b"", b""
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if not select.select([fd], [], [], 0.3)[0]:
                if done(screen):
                    return screen, output
                continue
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            output += data
            pending += data
            cut = pending.rfind(b"\x1b")  # what follows may be half of a sequence
            cut = len(pending) if cut < 0 or len(pending) - cut > 64 else cut
            stream.feed(_UNKNOWN.sub(b"", pending[:cut]))
            pending = pending[cut:]
        text = "\n".join(line.rstrip() for line in screen.display)
        raise AssertionError(f"the program did not get there: {text}\n{output[-2000:]!r}")
    finally:
        process.kill()
        process.wait()
        os.close(fd)


def program(body: str) -> str:
    """Code of an app: `body` is the body of compose, with the widgets of images imported and `noise` at hand."""
    lines = "\n".join("        " + line for line in body.splitlines())
    here = str(Path(__file__).parent)
    return f"""
import random, sys
sys.path.insert(0, {here!r})
from pixeltui.ui.colors import use_depth
use_depth("auto")
from textual.app import App
from pixeltui.ui.widgets.images import ImageTile
from pixeltui.ui.widgets.gallery import Gallery, Picture

def noise(width, height, seed=0):
    return random.Random(seed).randbytes(3 * width * height)

class Program(App):
    CSS = "Screen {{ background: #101820; }}"
    def compose(self):
{lines}

Program().run()
"""
