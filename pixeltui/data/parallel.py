"""Decoding many image files: in this process where they are few, else in one process for each core.

The processes are started as programs of their own and talk over pipes: no fork of a process that runs threads, no
second import of the user's main module, and they end by themselves when this process does, however it ends.
"""

import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixeltui.data.images import decode, mixed_sizes
from pixeltui.errors import UserError

if TYPE_CHECKING:
    from pixeltui.data.sets import Progress  # brings torch, which the workers do without

CHUNK = 256  # files
PARALLEL_FROM = 4096  # files: below, starting processes takes longer than they save
MAX_WORKERS = 16
Images = NDArray[np.uint8]
PROGRAM = "from pixeltui.data.parallel import serve; serve()"


def decode_all(paths: list[str], progress: "Progress | None" = None, workers: int | None = None) -> Images:
    """uint8 [N, H, W, C] of files of one size, as `images.decode`; workers: processes, by default chosen by N."""
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    if workers is None:
        workers = min(_cores(), MAX_WORKERS, len(chunks)) if len(paths) >= PARALLEL_FROM else 1
    parts: list[Images] = []
    with ExitStack() as stack:
        results = map(decode, chunks) if workers <= 1 else _in_processes(stack, workers, chunks)
        for chunk, part in zip(chunks, results, strict=True):
            if parts and part.shape[1:3] != parts[0].shape[1:3]:
                raise mixed_sizes(paths[0], parts[0][0], chunk[0], part[0])
            parts.append(part)
            if progress:
                progress(min(len(parts) * CHUNK, len(paths)), len(paths))
    channels = max(part.shape[3] for part in parts)
    return np.concatenate([p if p.shape[3] == channels else p.repeat(channels, axis=3) for p in parts])


class _Worker:
    """A process that decodes lists of files."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for this process, which ends the worker by closing its pipe
        )

    def decode(self, paths: list[str]) -> Images:
        assert self.process.stdin
        assert self.process.stdout
        try:
            pickle.dump(paths, self.process.stdin)
            self.process.stdin.flush()
            reply: Images | str = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):  # it died, of too little memory for instance
            return decode(paths)
        if isinstance(reply, str):
            raise UserError(reply)
        return reply

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def serve() -> None:
    """The worker's side: lists of paths on stdin, an array or a message for each on stdout, until stdin ends."""
    while True:
        try:
            paths = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            reply: Images | str = decode(paths)
        except UserError as error:
            reply = str(error)
        pickle.dump(reply, sys.stdout.buffer, protocol=5)
        sys.stdout.buffer.flush()


def _in_processes(stack: ExitStack, count: int, chunks: list[list[str]]) -> Iterator[Images]:
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for _ in range(count):
        worker = _Worker()
        stack.callback(worker.close)
        idle.put(worker)

    def run(chunk: list[str]) -> Images:
        worker = idle.get()
        try:
            return worker.decode(chunk)
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(count)
    stack.callback(threads.shutdown, cancel_futures=True)
    return threads.map(run, chunks)


def _cores() -> int:
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
