"""The event log: what is read, what is passed over, what a fold makes of it."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixeltui import events
from pixeltui.store import log as log_module
from pixeltui.store.log import LONGEST_LINE, EventReader, glance
from pixeltui.store.view import RunView


def step(number: int, **changes) -> events.Step:
    fields = dict(epoch=1.0, loss=1.0, bits_per_dim=1.44, lr=0.1, grad_norm=1.0, images_per_second=9.0)
    return events.Step(t=float(number), step=number, **{**fields, **changes})


def evaluated(number: int, bits: float, **changes) -> events.Evaluated:
    fields = dict(epoch=1.0, split="val", weights="ema", images=3, nats_per_dim=bits * 0.69, perplexity=2.0)
    return events.Evaluated(t=float(number), step=number, bits_per_dim=bits, **{**fields, **changes})


def started(number: int) -> events.Started:
    return events.Started(
        t=0.0, step=number, total_steps=9, steps_per_epoch=3, parameters=1, device="cpu", precision="fp32"
    )


def line(event: events.AnyEvent) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def read(path: Path, content: bytes) -> tuple[list, int]:
    path.write_bytes(content)
    reader = EventReader(path)
    return reader.read_new(), reader.skipped


GARBAGE = {
    "cut in half": line(step(7))[:40] + b"\n",
    "not utf-8": b'{"type":"notice","t":1,"level":"info","kind":"x","message":"\xff\xfe"}\n',
    "no json": b"hello\n",
    "unknown type": b'{"type":"party","t":1}\n',
    "no type": b'{"t":1}\n',
    "wrong type": line(step(7)).replace(b'"step":7', b'"step":"seven"'),
    "a megabyte": b'{"type":"notice","message":"' + b"x" * (LONGEST_LINE + 5) + b'"}\n',
    "nested": b"[" * 100_000 + b"\n",
    "null bytes": b"\0" * 500 + b"\n",
    "other bits": b"\x80\x81\x82\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_bad_line_is_passed_over_and_counted(garbage: bytes, tmp_path: Path) -> None:
    found, skipped = read(tmp_path / "log", line(step(1)) + garbage + line(step(2)))
    assert [event.step for event in found] == [1, 2]
    assert skipped == 1


def test_every_event_survives_the_round_trip(tmp_path: Path) -> None:
    sent = [
        started(0),
        step(1, loss=None),
        evaluated(2, 1.5),
        events.Notice(t=1.0, level="warning", kind="disk", message="a\x1b[31m\n\u2028b"),
        events.StateChanged(t=1.0, state="paused", step=2),
        events.Acknowledged(t=1.0, id="x", command="stop", ok=True),
        events.CheckpointSaved(t=1.0, step=2, path="p", bytes=3, seconds=0.1),
        events.SampleSaved(t=1.0, step=2, path="p", count=4),
    ]
    assert read(tmp_path / "log", b"".join(map(line, sent))) == (sent, 0)


def test_a_log_is_followed_and_a_line_without_its_end_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = EventReader(path)
    assert reader.read_new() == []
    whole = line(step(2))
    path.write_bytes(line(step(1)) + whole[:10])
    assert [e.step for e in reader.read_new()] == [1]
    with path.open("ab") as file:
        file.write(whole[10:] + line(step(3)))
    assert [e.step for e in reader.read_new()] == [2, 3]
    assert reader.read_new() == []
    assert reader.skipped == 0
    path.write_bytes(line(step(9)))
    assert [e.step for e in reader.read_new()] == [9], "a shorter log is another log"


def test_an_endless_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    reader = EventReader(path)
    assert reader.read_new() == []
    assert len(reader._rest) <= LONGEST_LINE
    with path.open("ab") as file:
        file.write(b"\n" + line(step(1)))
    assert [e.step for e in reader.read_new()] == [1]
    assert reader.skipped == 1


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    found, skipped = read(tmp_path_factory.getbasetemp() / "fuzzed-events.jsonl", content + b"\n" + line(step(1)))
    assert found[-1].step == 1
    assert skipped <= content.count(b"\n") + 1


def test_fold_keeps_what_counts() -> None:
    view = RunView().fold([started(0), step(1), evaluated(3, 2.0), step(4), evaluated(6, 1.5, best=True)])
    view.fold([evaluated(6, 1.7, split="test"), events.StateChanged(t=9.0, state="finished", step=6)])
    assert view.best is not None
    assert view.best.step == 6
    assert view.test is not None
    assert view.test.bits_per_dim == 1.7
    assert view.step == 6
    assert view.epoch == 2.0
    assert view.state(locked=False) == "finished"
    assert view.count == 7


def test_fold_drops_what_was_lost_with_an_earlier_process() -> None:
    view = RunView().fold(
        [started(0), *map(step, range(1, 8)), evaluated(6, 1.0), started(4), step(5), evaluated(4, 2.0)]
    )
    view.fold([evaluated(4, 2.1)])
    assert [e.step for e in view.steps] == [1, 2, 3, 4, 5]
    assert [(e.step, e.bits_per_dim) for e in view.evaluations] == [(4, 2.1)]


def test_the_peak_of_the_learning_rate_is_the_last_that_was_told() -> None:
    changed = events.Notice(t=1.0, level="info", kind="lr", message="", step=1, peak_lr=0.2)
    other = events.Notice(t=1.0, level="info", kind="disk", message="", step=1)
    begun = [msgspec.structs.replace(started(number), peak_lr=0.1) for number in (0, 1)]
    assert RunView().fold([begun[0], changed, other]).peak_lr == 0.2
    assert RunView().fold([begun[0], changed, begun[1]]).peak_lr == 0.1, "a change that was lost with its process"
    assert RunView().fold([started(0), other]).peak_lr is None, "of an older log"


def test_lines_of_older_logs_are_events(tmp_path: Path) -> None:
    old = line(started(0)) + line(events.Notice(t=1.0, level="info", kind="lr", message="peak learning rate 3e-05"))
    bare = old.replace(b',"peak_lr":null', b"")
    assert bare != old
    assert [type(event) for event in read(tmp_path / "log", bare)[0]] == [events.Started, events.Notice]


def test_states() -> None:
    def state(*found: events.AnyEvent, locked: bool) -> str:
        return RunView().fold(found).state(locked=locked)

    paused = events.StateChanged(t=1.0, state="paused", step=0)
    assert state(started(0), locked=True) == "training"
    assert state(started(0), locked=False) == "crashed"
    assert state(started(0), paused, locked=True) == "paused"
    assert state(started(0), paused, locked=False) == "crashed"
    assert state(locked=False) == "damaged"
    assert state(locked=True) == "training"


LINE = line(step(1))


@pytest.mark.parametrize(
    "odd",
    [
        LINE[:-1] + LINE,
        LINE.replace(b",", b",\n", 1),
        b"\n  \n",
        LINE.replace(b"step", b"st\xffp", 1),
        LINE[:-2] + b"\n",
        LINE[:-1] + b"\r\n",
        LINE.replace(b'"type"', b'"x":{}\n,"type"') + LINE[:-1] + LINE,
    ],
)
def test_lines_read_together_are_those_read_one_by_one(tmp_path: Path, odd: bytes) -> None:
    content = 3 * LINE + odd + 2 * LINE
    one_by_one = log_module.decode_lines(content.split(b"\n"))
    found, skipped = read(tmp_path / "log", content)
    assert len(found) in (len(one_by_one), content.count(b"\n"))
    assert found == one_by_one
    assert skipped == sum(bool(part.strip()) for part in content.split(b"\n")) - len(one_by_one)


def test_a_glance_at_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "GLANCES", 200)
    path = tmp_path / "log"
    junk = b"x" * 5000 + b"\n" + b"\xff\xfe\n"
    lines = [line(started(0)), *(line(step(number)) for number in range(1, 5000)), line(evaluated(5000, 2.0))]
    path.write_bytes(b"".join(lines[:2500]) + junk + b"".join(lines[2500:]) + b'{"type":"st')
    found, expected = glance(path)
    assert found[0] == started(0)
    assert found[-1] == evaluated(5000, 2.0)
    steps = [event.step for event in found if isinstance(event, events.Step)]
    assert steps == sorted(set(steps)), "in their order, none twice"
    assert max(b - a for a, b in pairwise(steps)) < 200, "from all over it"
    assert expected == pytest.approx(5000, rel=0.1)
    assert glance(tmp_path / "none") == ([], 0)
    path.write_bytes(b"\0" * 1_000_000 + b"\n" + b"".join(lines))
    found, _ = glance(path)
    assert found[-1] == evaluated(5000, 2.0), "what it begins with is no line"
