"""The processes that train one run together, as torchrun or srun started them: what they share and how they agree.

Rank 0 is the one writer: it alone makes the run, saves, samples and reports. Decisions go over gloo, between CPUs, so
that none waits for a GPU; gradients over NCCL where the processes have GPUs. Every method is a collective: all call it,
at the same place of the loop.
"""

import contextlib
import datetime
import inspect
import pickle
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from pixeltui import launch
from pixeltui.errors import UserError
from pixeltui.events import AnyCommand
from pixeltui.train.batch_norm import SharedBatchNorm2d
from pixeltui.train.meeting import meet

T = TypeVar("T")
LOST = "another of the run's processes has ended; its own last line says why"
LONGEST_WAIT = datetime.timedelta(hours=2)
"""for another process: it may be loading data, or writing to a slow disk"""


class ToldElsewhere(UserError):
    """Another process says what is wrong; this one ends with the same status and says nothing."""

    def __init__(self, exit_status: int) -> None:
        super().__init__("")
        self.exit_status = exit_status


class Inbox(Protocol):
    """Gives what the trainer shall do: (id to acknowledge or "", command), oldest first."""

    def take(self) -> Sequence[tuple[str, AnyCommand]]: ...


class Processes:
    """One process, which agrees with itself."""

    rank = 0
    count = 1
    local_rank = 0
    start = ""
    """the same whenever one torchrun starts them, and another of another torchrun's; "" where that is not known"""

    @property
    def again(self) -> bool:
        """Whether torchrun had started them before."""
        return launch.attempt() > 0

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def agree(self, value: T) -> T:
        """Rank 0's value; that of the others is passed over."""
        return value

    def gather(self, value: T) -> list[T]:
        """The value of each rank, in order."""
        return [value]

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return value

    def sum(self, tensor: Tensor) -> Tensor:
        """In place; the tensor is on a CPU or on the process's GPU."""
        return tensor

    def share(self, total: int, turn: int = 0) -> slice:
        """The part of 0..total-1 that is this process's: contiguous, of sizes that differ by 1 at most, and at another
        turn another's, so that of many small totals none has more."""
        place = (self.rank + turn) % self.count
        return slice(place * total // self.count, (place + 1) * total // self.count)

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model, whose gradients become the mean over processes in each backward pass."""
        return model

    def in_turn(self, work: Callable[[], T]) -> T:
        """Does `work` in rank 0 first, then in the first process of every other machine, then in the rest: what one
        downloads or decodes the next finds. Where one raises UserError, all do, and one says it."""
        return work()

    def each(self, work: Callable[[], T]) -> T:
        """Does `work` everywhere at once; where one raises UserError, all do, and one says it."""
        return work()


ALONE = Processes()


class ManyProcesses(Processes):
    """Those of torch's default process group."""

    def __init__(self, start: str, meetings: int) -> None:
        """meetings: before this one, as the first process knows."""
        self.start = start
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._again = self.agree(meetings > 0 or launch.attempt() > 0)
        self.local_rank = launch.local_rank()

    @property
    def again(self) -> bool:
        return self._again

    def agree(self, value: T) -> T:
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: T) -> list[T]:
        box: list[Any] = [None] * self.count
        # all_gather_object would use the GPU: the bytes go over gloo, padded to the longest.
        own = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        lengths = torch.zeros(self.count, dtype=torch.int64)
        lengths[self.rank] = len(own)
        dist.all_reduce(lengths)
        padded = torch.zeros(int(lengths.max()), dtype=torch.uint8)
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        for rank, (part, length) in enumerate(zip(parts, lengths.tolist(), strict=True)):
            box[rank] = pickle.loads(part[:length].numpy().tobytes())
        return box

    def any(self, value: bool) -> bool:
        flag = torch.tensor(int(value))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def sum(self, tensor: Tensor) -> Tensor:
        dist.all_reduce(tensor)
        return tensor

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            if device.type == "cuda":
                model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            else:
                SharedBatchNorm2d.convert(model)
        # Gradients lie as is fastest for the layer that they are of, and are copied together wherever they lie.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        # Buffers are alike everywhere: masks, and statistics of the whole batch. torch 2.13 renames the argument.
        known = inspect.signature(DistributedDataParallel).parameters
        as_they_are: dict[str, Any] = {
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
        }
        return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None, **as_they_are)

    def in_turn(self, work: Callable[[], T]) -> T:
        turn = 0 if self.rank == 0 else 1 if self.local_rank == 0 else 2
        results = [self._attempt(work if turn == now else None) for now in range(3)]
        return next(result for now, result in enumerate(results) if now == turn)  # type: ignore[return-value]

    def each(self, work: Callable[[], T]) -> T:
        return self._attempt(work)  # type: ignore[return-value]

    def _attempt(self, work: Callable[[], T] | None) -> T | None:
        result, error = None, None
        try:
            result = work() if work else None
        except UserError as caught:
            error = caught
        statuses = self.gather(None if error is None else error.exit_status)
        failed = [(rank, status) for rank, status in enumerate(statuses) if status is not None]
        if failed:
            first, status = failed[0]
            raise error if error is not None and first == self.rank else ToldElsewhere(status)
        return result


class AgreedInbox:
    """Every process takes the same commands at the same step: all that came to any of them, rank 0's first."""

    def __init__(self, inbox: Inbox, processes: Processes) -> None:
        self._inbox = inbox
        self._processes = processes

    def take(self) -> Sequence[tuple[str, AnyCommand]]:
        own = list(self._inbox.take())
        if not self._processes.any(bool(own)):
            return []
        return [command for commands in self._processes.gather(own) for command in commands]


def is_lost(error: RuntimeError) -> bool:
    """Whether the error is that another process has ended, or no longer answers."""
    return isinstance(error, dist.DistError) or (dist.is_initialized() and "gloo" in str(error))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that the environment speaks of, connected; UserError where they do not find one another."""
    if not launch.several():
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, rank, count = next(rendezvous("env://", timeout=LONGEST_WAIT))
        start = store.compare_set("pixeltui/start", "", secrets.token_hex(8)).decode()
        own, meetings = meet(store, rank, count, LONGEST_WAIT)
        dist.init_process_group(backend, store=own, rank=rank, world_size=count, timeout=LONGEST_WAIT)
    except (ValueError, RuntimeError, dist.DistError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(
            f"the processes did not find one another: {reason}; start them with torchrun, or with RANK, WORLD_SIZE, "
            "LOCAL_RANK, MASTER_ADDR and MASTER_PORT"
        ) from None
    try:
        yield ManyProcesses(start, meetings)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise ToldElsewhere(1) if rank else UserError(LOST) from None
    finally:
        dist.destroy_process_group()
