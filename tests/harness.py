"""A trainer in this process, with its events in a list and its commands at chosen steps."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pixeltui import events
from pixeltui.config import Config, dump_config
from pixeltui.data import load
from pixeltui.events import AnyCommand, AnyEvent, Frame
from pixeltui.store.rundir import RunDir
from pixeltui.train.trainer import Outcome, Trainer


class ListSink:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.frames: list[Frame] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)

    def frame(self, frame: Frame) -> None:
        self.frames.append(frame)

    def sync(self) -> None:
        pass

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def losses(self) -> dict[int, float | None]:
        return {event.step: event.loss for event in self.of(events.Step)}


Script = Mapping[int | Callable[[ListSink], bool], list[AnyCommand]]


class ScriptedInbox:
    """Gives each command once the sink has seen that many steps, or what the function asks for."""

    def __init__(self, sink: ListSink, script: Script) -> None:
        self._sink = sink
        self._script = dict(script)

    def take(self) -> list[tuple[str, AnyCommand]]:
        done = max(self._sink.losses(), default=0)
        due = [when for when in self._script if (when <= done if isinstance(when, int) else when(self._sink))]
        return [(f"id-{when}", command) for when in due for command in self._script.pop(when)]


def start(
    config: Config,
    folder: Path,
    *,
    script: Script | None = None,
    resume: bool = False,
    sets_lr: bool = False,
    prepare: Callable[[Trainer], None] = lambda trainer: None,
) -> tuple[Outcome, ListSink, Trainer]:
    """Trains in the run directory folder/run, which is made where it is not to be resumed."""
    run = RunDir.open(folder / "run") if resume else RunDir.create(folder, "run", dump_config(config), {})
    sink = ListSink()
    trainer = Trainer(config, load(config.data), run, sink, ScriptedInbox(sink, script or {}))
    prepare(trainer)
    return trainer.run(resume=resume, sets_lr=sets_lr), sink, trainer
