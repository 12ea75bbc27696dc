"""Signals as commands to the trainer."""

import signal

import pytest

from pixeltui.events import Stop
from pixeltui.session import inbox
from pixeltui.session.inbox import SAME_PRESS_SECONDS, Signals


def test_a_second_sigint_ends_at_once_but_not_one_that_came_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """`timeout -s INT` sends two, and so do the terminal and a program that passes Ctrl-C on."""
    clock = [100.0]
    monkeypatch.setattr(inbox.time, "monotonic", lambda: clock[0])
    numbers = (*inbox.STOP_SIGNALS, signal.SIGUSR1, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    signals = Signals()
    signals.install()
    try:
        signal.raise_signal(signal.SIGINT)
        clock[0] += SAME_PRESS_SECONDS / 2
        signal.raise_signal(signal.SIGINT)
        assert signals.take() == [Stop(reason="SIGINT")]
        clock[0] += SAME_PRESS_SECONDS
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
