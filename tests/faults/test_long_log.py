"""A long log, 3 % of it garbage: every reader has the events around it, counts the rest, and shows nothing of it."""

import json
import random
from pathlib import Path

import msgspec
import pytest

from pixeltui import events
from pixeltui.cli import main
from pixeltui.report import read_story
from pixeltui.session.attach import AttachedSession
from pixeltui.store import log
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import LONG, list_runs, summarize
from pixeltui.ui.watch import Watch

STEPS = 40_000
ESCAPES = b"\x1b[31mred\x1b]0;mine\x07"
EVIL = {"type": "notice", "t": 1.0, "level": "\x1b[2J", "kind": "x", "message": "no level"}


def garbage(dice: random.Random) -> bytes:
    """A line that is no event."""
    kind = dice.randrange(6)
    if kind == 0:
        return dice.randbytes(dice.randrange(1, 400)).replace(b"\n", b"") + b"\xff"
    if kind == 1:
        return b"\0" * 512
    if kind == 2:
        return json.dumps(EVIL).replace(" ", "").encode()
    if kind == 3:
        return b'{"type":"step","t":17'
    return ESCAPES * dice.randrange(1, 30)


@pytest.fixture
def run(finished_runs: Path, tmp_path: Path) -> tuple[RunDir, int]:
    """A run of 40,000 steps, and how many lines of its log are no events."""
    dice = random.Random(0)
    run = RunDir.create(
        tmp_path / "runs", "run", (finished_runs / "done" / "config.toml").read_text(), {"preset": "quick"}
    )
    common = dict(epoch=0.0, lr=1e-3, grad_norm=0.5, images_per_second=100.0)
    every: list[events.AnyEvent] = [
        events.Started(
            t=1.0, step=0, total_steps=STEPS, steps_per_epoch=100, parameters=7, device="cpu", precision="fp32"
        )
    ]
    for step in range(1, STEPS + 1):
        bits = 8 - 4 * step / STEPS
        every.append(events.Step(t=float(step), step=step, loss=bits * 0.69, bits_per_dim=bits, **common))
        if step % 10_000 == 0:
            scores = dict(bits_per_dim=bits, nats_per_dim=bits * 0.69, perplexity=2.0, epoch=step / 100)
            every.append(
                events.Evaluated(t=float(step), step=step, split="val", weights="ema", images=9, best=True, **scores)
            )
    every.append(events.StateChanged(t=float(STEPS), state="finished", step=STEPS))
    lines, bad = [], 0
    for event in every:
        lines.append(msgspec.json.encode(event))
        if dice.random() < 0.03:
            lines.append(garbage(dice))
            bad += 1
    lines[len(lines) // 2 : len(lines) // 2] = [b'{"type":"notice","message":"' + ESCAPES * (log.LONGEST_LINE // 10)]
    run.events_path.write_bytes(b"\n".join(lines) + b"\n")
    assert run.events_path.stat().st_size > LONG
    return run, bad + 1


def test_whoever_reads_it_has_every_event_and_nothing_of_the_garbage(
    run: tuple[RunDir, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bad = run
    runs = ["--runs-dir", str(folder.path.parent)]
    found, skipped = folder.read_events()
    assert [event.step for event in found if isinstance(event, events.Step)] == list(range(1, STEPS + 1))
    assert skipped == bad
    assert main([*runs, "runs", "show", "run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["events"], shown["skipped_lines"]) == (len(found), bad)
    assert (shown["state"], shown["step"], shown["best_val_bits_per_dim"]) == ("finished", STEPS, 4.0)
    listed = list_runs(folder.path.parent)[0]
    assert (listed.state, listed.step) == ("finished", STEPS)
    page = tmp_path / "page.html"
    assert main([*runs, "report", "run", "--out", str(page)]) == 0
    content = page.read_text()
    assert f"lines of the log that were no events, passed over: {bad}" in content
    assert f"{STEPS:,} of {STEPS:,}" in content
    assert "4.0000" in content
    for words in (["runs", "list"], ["runs", "show", "run"], ["runs", "compare", "run", "run"]):
        assert main([*runs, *words]) == 0
    output = "".join(capsys.readouterr())
    assert "\x1b" not in content + output
    assert "mine" not in content + output


def test_what_was_read_is_summed_up_as_the_log_itself_is(run: tuple[RunDir, int]) -> None:
    folder, _ = run
    story = read_story(folder)
    assert story.summary == summarize(folder.path)
    assert story.summary.best_val_bits_per_dim == 4.0
    assert len(story.curves.points["bits/train"].steps) == STEPS


def test_the_console_follows_it(run: tuple[RunDir, int], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = run
    monkeypatch.setattr("pixeltui.ui.watch.LONG", 1 << 20)
    watch = Watch(AttachedSession(folder))
    watch.poll()
    assert watch.view.step == STEPS, "at a glance"
    watch.wait()
    watch.poll()
    assert len(watch.curves.points["bits/train"].steps) == STEPS
    assert watch.state == "finished"
    assert not any("\x1b" in text for _, text in watch.lines)
