"""The garbage collector of a console's process."""

import gc

import pytest

from pixeltui.ui import collector


def test_all_objects_are_looked_at_only_while_nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_threshold()
    full: list[float] = []
    now = [0.0]
    monkeypatch.setattr(collector.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(collector.gc, "collect", lambda: full.append(now[0]))
    one = collector.Collector()
    try:
        one.spare()
        assert gc.get_freeze_count() > 10_000
        one.look(idle=600.0)
        now[0] = 2 * collector.EVERY_SECONDS
        one.look(idle=0.5)
        assert full == []
        one.look(idle=5.0)
        one.look(idle=5.0)
        assert full == [now[0]]
    finally:
        one.close()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
