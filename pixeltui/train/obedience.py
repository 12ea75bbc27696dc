"""What a trainer was told: commands queue as they come and are carried out between two steps."""

import time

from pixeltui import events
from pixeltui.curves.ticks import format_rate
from pixeltui.events import AnyCommand
from pixeltui.train import state
from pixeltui.train.live import LiveSampler
from pixeltui.train.processes import Inbox
from pixeltui.train.report import Reporter
from pixeltui.train.saving import Saver
from pixeltui.train.scoring import Scorer


class Orders:
    """The commands that came and are not carried out yet, and whether one of them was to stop."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.queue: list[tuple[str, AnyCommand]] = []
        self.stop: events.Stop | None = None

    def receive(self) -> None:
        self.queue += self._inbox.take()

    def stop_waits(self) -> bool:
        """Asked inside long work, which is given up for a Stop."""
        self.receive()
        return self.stop is not None or any(isinstance(command, events.Stop) for _, command in self.queue)


class Obedience:
    """Carries out orders."""

    def __init__(
        self,
        orders: Orders,
        progress: state.Progress,
        saver: Saver,
        scorer: Scorer,
        samples: LiveSampler,
        report: Reporter,
    ) -> None:
        self._orders = orders
        self._progress = progress
        self._saver = saver
        self._scorer = scorer
        self._samples = samples
        self._report = report
        self._paused = False

    def obey(self) -> None:
        """Carries out what waits, and waits itself while paused."""
        orders = self._orders
        while True:
            orders.receive()
            while orders.queue and not orders.stop:
                command_id, command = orders.queue.pop(0)
                self._report.acknowledge(command_id, command, self._carry_out(command))
            if orders.stop or not self._paused:
                return
            self._saver.poll()
            with self._report.clock.elsewhere():
                if self._samples.busy:
                    self._samples.advance(bounded=False)
                else:
                    time.sleep(0.05)

    def refuse(self, reason: str) -> None:
        """What still waits."""
        while self._orders.queue:
            command_id, command = self._orders.queue.pop(0)
            self._report.acknowledge(command_id, command, reason)

    def _carry_out(self, command: AnyCommand) -> str:
        """Why the command was refused, or ""."""
        match command:
            case events.Pause():
                self._paused = True
                self._report.state("paused", "asked to pause")
            case events.Resume():
                self._paused = False
                self._report.state("training", "asked to go on")
            case events.SaveCheckpoint():
                return "" if self._saver.write(wait=True) else "the checkpoint could not be written"
            case events.DrawSample():
                if refusal := self._samples.refusal(command):
                    return refusal
                self._samples.ask(command)
            case events.Evaluate():
                return "" if self._scorer.validate() else "given up, for the run stops"
            case events.SetLearningRate(lr=lr):
                if not 0 < lr <= events.LARGEST:
                    return f"expected a learning rate over 0, at most {events.LARGEST:g}, got {lr}"
                self._progress.lr = lr
                if self._saver.good:
                    self._saver.write(wait=True, anew=True)  # a run that is killed goes on with it
                message = f"peak learning rate {format_rate(lr, 6)} from step {self._progress.step} on"
                self._report.notice("info", "lr", message, peak_lr=lr)
            case events.Stop():
                self._orders.stop = command
            case events.NoCommand(reason=reason):
                return f"no command: {reason}"
        return ""
