"""Event files that TensorBoard reads, beside the run's own log."""

from typing import Any

from pixeltui.errors import UserError
from pixeltui.events import AnyEvent, Evaluated, Step
from pixeltui.store.rundir import RunDir


class TensorBoardWriter:
    """Scalars of step and evaluation events, under tensorboard/ in the run. Raises UserError without tensorboard."""

    def __init__(self, run: RunDir) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("log.tensorboard needs tensorboard: pip install 'pixeltui[tensorboard]'") from None
        self._writer: Any = SummaryWriter(str(run.tensorboard_dir))

    def emit(self, event: AnyEvent) -> None:
        match event:
            case Step():
                scalars = {
                    "train/nats_per_dim": event.loss,
                    "train/bits_per_dim": event.bits_per_dim,
                    "train/lr": event.lr,
                    "train/grad_norm": event.grad_norm,
                    "train/images_per_second": event.images_per_second,
                }
            case Evaluated():
                name = f"{event.split}_{event.weights}"
                scalars = {f"{name}/bits_per_dim": event.bits_per_dim, f"{name}/nats_per_dim": event.nats_per_dim}
            case _:
                return
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, event.step, walltime=event.t)

    def close(self) -> None:
        self._writer.close()
