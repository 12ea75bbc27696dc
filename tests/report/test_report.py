"""`pixeltui report`: one HTML file that says what the run's files say, loads nothing, and in which text stays text."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pixeltui.cli import main
from pixeltui.report import read_story, run_page
from pixeltui.store.rundir import RunDir

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "div", "p", "span"),
    *("h1", "h2", "b", "i", "strong", "pre", "figure", "figcaption", "img", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "g", "line", "path", "text"),
}
EVIL = '<script>alert("1")</script><img src=x onerror=alert(1)>&amp;\x1b[2J'


class Page(HTMLParser):
    """What a browser makes of a page: its elements, attributes and text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.images: list[bytes] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.add(tag)
        self.attributes += attrs
        if tag == "img":
            self.images.append(base64.b64decode(dict(attrs)["src"].removeprefix("data:image/png;base64,")))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(runs: Path, *arguments: str, cwd: Path | None = None) -> Page:
    out = (cwd or runs) / "page.html"
    assert main(["--runs-dir", str(runs), "report", *arguments, "--out", str(out)]) == 0
    content = out.read_text(encoding="utf-8")
    page = Page(content)
    assert page.elements <= ELEMENTS
    loading = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert all(value.startswith("data:image/png;base64,") for value in loading)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"url\(|@import|https?://", content)
    return page


def result(runs: Path, split: str) -> dict:
    lines = map(json.loads, (runs / "done" / "events.jsonl").read_text().splitlines())
    return [e for e in lines if e["type"] == "eval" and e["split"] == split and e["weights"] == "ema"][-1]


def test_it_says_what_the_run_says(finished_runs: Path, tmp_path: Path) -> None:
    page = report(finished_runs, "done", cwd=tmp_path)
    for split in ("val", "test", "train"):
        found = result(finished_runs, split)
        assert f"{found['bits_per_dim']:.4f} ± {found['bits_per_dim_se']:.4f}" in page.text
        assert f"{found['nats_per_dim']:.4f} ± {found['bits_per_dim_se'] * 0.693147:.4f}" in page.text
    meta = json.loads((finished_runs / "done" / "meta.json").read_text())
    for words in ("done", meta["data"]["checksum"], meta["command"], meta["versions"]["torch"], "train.lr", "0.03"):
        assert words in page.text
    pngs = sorted((finished_runs / "done" / "samples").glob("*.png"))
    assert sorted(page.images) == sorted(path.read_bytes() for path in pngs)


def test_the_config_in_it_trains_the_same_run_again(finished_runs: Path, tmp_path: Path) -> None:
    page = report(finished_runs, "done", cwd=tmp_path)
    toml = page.text[page.text.index('preset = "quick"') : page.text.index("Environment")]
    (tmp_path / "config.toml").write_text(toml)
    again = ["--no-ui", "--runs-dir", str(tmp_path), "train", "--config", str(tmp_path / "config.toml")]
    assert main([*again, "--name", "done"]) == 0
    assert result(tmp_path, "test")["bits_per_dim"] == result(finished_runs, "test")["bits_per_dim"]


def test_text_of_a_run_never_becomes_markup(runs_copy: Path, tmp_path: Path) -> None:
    run = runs_copy / "<script>alert(1)</script>".replace("/", "∕")
    (runs_copy / "done").rename(run)
    meta = json.loads((run / "meta.json").read_text())
    meta |= {"note": EVIL, "tags": [EVIL], "command": EVIL, "device": EVIL, "preset": EVIL, "overrides": [EVIL]}
    meta["data"] |= {"name": EVIL, "classes": [EVIL], "images": {EVIL: 3}}
    (run / "meta.json").write_text(json.dumps(meta))
    notice = {"type": "notice", "t": 1.0, "level": "warning", "kind": "disk", "message": EVIL}
    with (run / "events.jsonl").open("a") as events:
        events.write(json.dumps(notice) + "\n")
    for settings in (run / "samples").glob("*.json"):
        settings.write_text(json.dumps({"temperature": EVIL, "weights": EVIL}))
    page = report(runs_copy, str(run), cwd=tmp_path)
    assert "<script>alert(1)<∕script>" in page.text
    assert page.text.count('alert("1")') >= 10
    assert "\x1b" not in page.text


def test_a_sample_is_a_png_of_the_run_or_nothing(runs_copy: Path, tmp_path: Path) -> None:
    samples = runs_copy / "done" / "samples"
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    newest, *others = sorted(samples.glob("*.png"), reverse=True)
    newest.unlink()
    newest.symlink_to(secret)
    sample = {"type": "sample", "t": 1.0, "step": 10, "path": f"../../../{secret.name}", "count": 1}
    with (runs_copy / "done" / "events.jsonl").open("a") as events:
        events.write(json.dumps(sample) + "\n")
    page = report(runs_copy, "done", cwd=tmp_path)
    assert sorted(page.images) == sorted(path.read_bytes() for path in others)


def test_sweeps_that_lie_with_the_run_are_in_it(runs_copy: Path) -> None:
    samples = runs_copy / "done" / "samples"
    some = next(samples.glob("*.png"))
    sweep = samples / "sweep.png"
    shutil.copy(some, sweep)
    sweep.with_suffix(".json").write_text(json.dumps({"temperatures": [0.7, 1.0], "seed": 3}))
    page = report(runs_copy, "done")
    assert "Temperature sweepssweep.png; temperatures 0.7, 1; seed 3" in page.text


def test_what_a_command_keeps_with_the_run_is_in_it(runs_copy: Path, capsys) -> None:
    words = ["--runs-dir", str(runs_copy), "sweep", "done", "--temperatures", "0.5,1", "-n", "2", "--seed", "4"]
    assert main([*words, "--keep"]) == 0
    assert main(["--runs-dir", str(runs_copy), "sample", "done", "-n", "3", "--keep"]) == 0
    first, second = re.findall(r"kept with the run: .*/(drawn-.*\.png)", capsys.readouterr().err)
    assert not list(Path().glob("done-*.png")), "nowhere else"
    page = report(runs_copy, "done")
    assert f"Temperature sweeps{first}; weights ema; temperatures 0.5, 1; top-p 1; guidance 1; seed 4" in page.text
    assert f"Other images{second}; weights ema; temperature 1" in page.text
    samples = runs_copy / "done" / "samples"
    assert {(samples / first).read_bytes(), (samples / second).read_bytes()} <= set(page.images)
    settings = json.loads((samples / first).with_suffix(".json").read_text())
    assert (settings["names"], settings["count"]) == (["T0.5 0", "T0.5 1", "T1 0", "T1 1"], 4)


def test_a_run_that_failed_says_why_above_all(runs_copy: Path) -> None:
    """Its loss is no number from step 6 on, and so are its charts' last points: gaps."""
    log = runs_copy / "done" / "events.jsonl"
    events = [event for event in map(json.loads, log.read_text().splitlines()) if event["type"] != "state"]
    for event in events:
        if event["type"] in ("step", "eval") and event["step"] > 5:
            event |= {name: None for name in ("loss", "bits_per_dim", "nats_per_dim", "perplexity") if name in event}
    failed = {"type": "state", "t": events[-1]["t"], "state": "failed", "step": 10, "reason": "the loss was not finite"}
    log.write_text("".join(json.dumps(event) + "\n" for event in [*events, failed]))
    page = report(runs_copy, "done")
    assert page.text.index("It failed: the loss was not finite") < page.text.index("Curves")
    assert "not finite" in page.text.split("Likelihood")[1]


def test_a_run_that_has_just_begun_has_a_report(runs_copy: Path) -> None:
    run = runs_copy / "done"
    (run / "events.jsonl").write_text("half a line\n")
    shutil.rmtree(run / "samples")
    page = report(runs_copy, "done")
    assert "No step was logged yet" in page.text
    assert "lines of the log that were no events, passed over: 1" in page.text


def test_a_damaged_run_is_one_line(runs_copy: Path, tmp_path: Path, capsys) -> None:
    (runs_copy / "done" / "config.toml").write_text("[")
    out = tmp_path / "page.html"
    assert main(["--runs-dir", str(runs_copy), "report", "done", "--out", str(out)]) == 1
    assert "damaged" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(("out", "status"), [("page.txt", 2), ("missing/page.html", 1)])
def test_where_it_cannot_go(finished_runs: Path, tmp_path: Path, out: str, status: int, capsys) -> None:
    assert main(["--runs-dir", str(finished_runs), "report", "done", "--out", str(tmp_path / out)]) == status
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_out_it_is_named_after_the_run(finished_runs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--runs-dir", str(finished_runs), "report", "done"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["done-report.html"]


def test_several_runs_are_compared(runs_copy: Path, tiny_train) -> None:
    assert tiny_train("--set", "train.steps=6", "--set", "train.lr=0.02", "--name", "other") == 0
    page = report(runs_copy, "done", "other")
    best = json.loads((runs_copy / "done" / "events.jsonl").read_text().splitlines()[0])
    assert best["parameters"] > 0
    for words in (f"{best['parameters']:,}", "train.lr", "0.03", "0.02", "Config keys that differ"):
        assert words in page.text
    assert "different data" not in page.text
    assert ("class", "bar") in page.attributes, "standard errors"
    meta_path = runs_copy / "other" / "meta.json"
    meta = json.loads(meta_path.read_text())
    meta["data"]["checksum"] = "0"
    meta_path.write_text(json.dumps(meta))
    assert "different data" in report(runs_copy, "done", "other").text


def test_a_long_run_makes_a_short_report(runs_copy: Path) -> None:
    log = runs_copy / "done" / "events.jsonl"
    lines = log.read_text().splitlines()
    step = next(event for event in map(json.loads, lines) if event["type"] == "step")
    steps = [{**step, "step": n} for n in range(11, 20_000)]
    log.write_text("\n".join([*lines[:-1], *map(json.dumps, steps)]) + "\n")
    page = run_page(read_story(RunDir.open(runs_copy / "done")))
    assert len(page) < 250_000 + sum(path.stat().st_size for path in (runs_copy / "done" / "samples").iterdir()) * 4 / 3
