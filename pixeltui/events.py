"""What a trainer reports (events) and obeys (commands): the one language of every front end.

Events are one JSON object a line in events.jsonl, told apart by `type`; `t` is Unix time in seconds. Likelihoods are in
nats or bits per sub-pixel ("dim"). A float that is not finite is written as null. A field is never renamed or given
another meaning; a new one has a default, so that logs of every version decode. A line with numbers that no run can
have, such as an epoch of 0 steps or a time after the year 9999, is no event: whoever folds events needs no checks.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

EVENTS_VERSION = 1
LARGEST: Final = 1e15
"""of a quantity that events hold"""

State = Literal["training", "paused", "finished", "stopped", "failed"]

Time = Annotated[float, Meta(ge=0, lt=253402300800)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Amount = Annotated[float, Meta(ge=0, le=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    t: Time


class Started(Event, frozen=True, kw_only=True, tag="start"):
    """A process began to train, at `step`; everything that the log holds beyond that step was lost with another."""

    step: Count
    total_steps: Count
    steps_per_epoch: Annotated[int, Meta(ge=1, le=1 << 53)]
    parameters: Count
    device: str
    precision: str
    processes: Count = 1
    resumed: bool = False
    peak_lr: Amount | None = None
    """of the schedule's learning rate"""
    version: int = EVENTS_VERSION


class Step(Event, frozen=True, kw_only=True, tag="step"):
    """Training since the step event before: means of loss, last values of the rest. `step` counts those done."""

    step: Count
    epoch: Amount
    loss: float | None
    """nats/dim"""
    bits_per_dim: float | None
    lr: Amount
    grad_norm: float | None
    """before clipping"""
    images_per_second: Amount
    data_wait: Amount = 0.0
    """share of the time spent waiting for data, 0 to 1"""
    sample_share: Amount = 0.0
    """share of the time spent on live samples, 0 to 1"""
    skipped: Count = 0
    """steps not applied since the start, because loss or gradient was not finite"""


class Evaluated(Event, frozen=True, kw_only=True, tag="eval"):
    """A likelihood over a split. split "train" with weights "raw" is the mean over the epoch's training batches."""

    step: Count
    epoch: Amount
    split: Literal["train", "val", "test"]
    weights: Literal["ema", "raw"]
    images: Count
    bits_per_dim: float | None
    bits_per_dim_se: float | None = None
    """standard error over images"""
    nats_per_dim: float | None
    perplexity: float | None
    """exp(nats_per_dim)"""
    best: bool = False
    """the lowest validation bits/dim so far"""
    checkpoint: str | None = None
    """where the weights are not those in training: the checkpoint that they came from"""
    raw_excess: float | None = None
    """bits/dim that the raw weights take more than the averaged ones, on the same images"""
    raw_images: Count = 0
    """how many images that was measured on, some of the split's"""


class Telemetry(Event, frozen=True, kw_only=True, tag="telemetry"):
    """Every few seconds of training: the device, the process and its machine; None for what cannot be read.

    Shares are 0 to 1 and, like cores_busy, means since the reading before; memory is in bytes.
    """

    step: Count
    gpu_busy: Share | None = None
    gpu_memory: Count | None = None
    """in use by all processes"""
    gpu_memory_total: Count | None = None
    gpu_temperature: Amount | None = None
    """degrees Celsius"""
    gpu_power: Amount | None = None
    """watts"""
    cores_busy: Amount | None = None
    """CPU cores that the process kept busy"""
    cores: Count | None = None
    """CPU cores that it may use"""
    host_busy: Share | None = None
    """share of all of the machine's cores, whoever kept them busy"""
    memory: Count | None = None
    """of the process"""
    host_memory: Count | None = None
    host_memory_total: Count | None = None


class CheckpointSaved(Event, frozen=True, kw_only=True, tag="checkpoint"):
    step: Count
    path: str
    """relative to the run directory"""
    bytes: Count
    seconds: Amount
    best: bool = False


class SampleSaved(Event, frozen=True, kw_only=True, tag="sample"):
    step: Count
    path: str
    """the PNG, relative to the run directory; what produced it is beside it, .json"""
    count: Count


class StateChanged(Event, frozen=True, kw_only=True, tag="state"):
    state: State
    step: Count
    reason: str = ""


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """Something that the user should see. `kind` is for programs: "disk", "damaged", "nonfinite", "config", ..."""

    level: Literal["info", "warning", "error"]
    kind: str
    message: str
    step: Count = 0
    peak_lr: Amount | None = None
    """kind "lr": what the peak of the learning rate is from here on"""


class Acknowledged(Event, frozen=True, kw_only=True, tag="ack"):
    """A command that came through control/ was obeyed or refused."""

    id: str
    command: str
    ok: bool
    message: str = ""
    step: Count = 0


AnyEvent = Started | Step | Evaluated | Telemetry | CheckpointSaved | SampleSaved | StateChanged | Notice | Acknowledged


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command"):
    """Obeyed between two steps."""


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    pass


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    pass


class SaveCheckpoint(Command, frozen=True, kw_only=True, tag="checkpoint"):
    pass


class DrawSample(Command, frozen=True, kw_only=True, tag="sample"):
    """None: the config's value."""

    count: int | None = None
    temperature: float | None = None
    labels: tuple[int, ...] | None = None


class Evaluate(Command, frozen=True, kw_only=True, tag="evaluate"):
    pass


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    """Checkpoint, then end."""

    reason: str = "a command"


class SetLearningRate(Command, frozen=True, kw_only=True, tag="lr"):
    """The peak of the schedule from the next step on, kept across a resume."""

    lr: float


class NoCommand(Command, frozen=True, kw_only=True, tag="?"):
    """What was left in control/ and is none: refused."""

    reason: str


Sent = Pause | Resume | SaveCheckpoint | DrawSample | Evaluate | Stop | SetLearningRate
AnyCommand = Sent | NoCommand


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The newest state of samples being drawn. Not logged: a later one replaces it."""

    step: int
    rows_done: int
    levels: int
    shape: tuple[int, int, int, int]
    """N, C, H, W of `pixels`"""
    pixels: bytes
    """levels, uint8, row-major"""
    labels: tuple[str, ...]
    """names of the classes, N or none"""
