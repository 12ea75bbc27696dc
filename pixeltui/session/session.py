"""What the console knows of a run that trains: one protocol for this process, another one, and runs that are over."""

from typing import Protocol

from pixeltui.events import AnyCommand, AnyEvent, Frame
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir


class Session(Protocol):
    """Asked a few times a second by the console; nothing here blocks, and nobody calls the console."""

    @property
    def run(self) -> RunDir | None:
        """None until the run's directory is there."""

    @property
    def read_only(self) -> bool:
        """Whether commands are pointless: the run is over, or one only looks on."""

    @property
    def looks_on(self) -> bool:
        """Whether nothing is to be done to the run, whatever its state."""

    @property
    def alive(self) -> bool:
        """Whether some process trains."""

    @property
    def local(self) -> bool:
        """Whether that is this process: leaving it needs a question."""

    @property
    def past(self) -> EventReader | None:
        """The run's log until now, which may be long; None where there is none, or it has been read."""

    @property
    def status(self) -> str:
        """What is being done before the first event: "loading digits 30 %"; "" from then on."""

    def poll(self) -> list[AnyEvent]:
        """The events since the last call, at the first those of the past that nobody has read."""

    def send(self, command: AnyCommand) -> None:
        """Leaves a command, to be obeyed between two steps. Raises UserError where it cannot."""

    def latest_frame(self) -> Frame | None:
        """The newest state of samples being drawn; None once they are in the run's samples folder."""

    def close(self) -> None:
        """The console looks away; training goes on."""
