"""What one asks the sampling screen to draw, as it is typed: fields, what is wrong with them, and the wish."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from pixeltui.config import Config, Sample
from pixeltui.errors import UserError, did_you_mean, printable, wrong_number
from pixeltui.session.wishes import Draw, Model
from pixeltui.store.header import read_header
from pixeltui.store.rundir import RunDir, run_paths
from pixeltui.ui import completion
from pixeltui.ui.sheets import ImageShape

FIELDS: Final = (
    ("run", "run"),
    ("checkpoint", "checkpoint"),
    ("weights", "weights"),
    ("classes", "classes"),
    ("temperature", "temperature"),
    ("top-p", "top_p"),
    ("guidance", "guidance"),
    ("seed", "seed"),
    ("count", "count"),
)
"""name on the screen, key"""
COMPLETING: Final = (("image", "image"), ("keeps", "keeps"))
"""the same, of what is asked only where an image is completed; see pixeltui.ui.completion"""
DRAWING: Final = ("count",)
"""keys of what is asked only where none is: a completion is drawn COMPLETIONS times"""
NAMES: Final = {key: name for name, key in (*FIELDS, *COMPLETING)}
MOST_IMAGES: Final = 256
SWEPT: Final = (0.7, 0.8, 0.9, 1.0)
SWEEP_IMAGES: Final = 8
COMPLETIONS: Final = 4
STEPS: Final = {"temperature": 0.05, "top_p": 0.05, "guidance": 0.25, "seed": 1, "count": 1}


@dataclass
class Draft:
    """Texts of the fields, held against the run's folder. Reading that is for `use_run` and `reload` alone."""

    runs_dir: Path
    run: RunDir | None = None
    values: dict[str, str] = field(default_factory=lambda: {key: "" for _, key in (*FIELDS, *COMPLETING)})
    runs: dict[str, Path] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    shape: ImageShape | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    """of the splits of the run's data, as far as they are known"""

    def reload(self) -> None:
        """Which runs there are."""
        self.runs = {path.name: path for path in run_paths(self.runs_dir) if (path / "checkpoints").is_dir()}

    def use_run(self, run: RunDir) -> None:
        """Fills the fields with the run's own settings. Raises UserError where it cannot be read."""
        sample = _sample_of(run)
        self.shape = ImageShape.of(run)
        self.run = run
        self.runs.setdefault(run.name, run.path)
        self.classes = self.shape.classes if self.shape else ()
        self.look()
        self.values = {
            "run": run.name,
            "checkpoint": "best" if "best" in self.checkpoints or "last" not in self.checkpoints else "last",
            "weights": "ema",
            "classes": "all" if self.classes else "none",
            "temperature": f"{sample.temperature:g}",
            "top_p": f"{sample.top_p:g}",
            "guidance": f"{sample.guidance:g}",
            "seed": str(sample.seed),
            "count": str(min(sample.count, MOST_IMAGES)),
            "image": "test:0",
            "keeps": str((self.shape.height if self.shape else 2) // 2),
        }
        self.sizes = {}

    def look(self) -> None:
        """Which checkpoints the run has now."""
        if self.run is None:
            return
        found = {path.stem for path in self.run.checkpoints_dir.glob("*.safetensors")}
        steps = sorted((str(int(name[5:])) for name in found if name[:5] == "step-" and name[5:].isdecimal()), key=int)
        self.checkpoints = [name for name in ("best", "last") if name in found] + steps[::-1]

    # -- checks ----------------------------------------------------------------------------------------------------

    def problem(self, key: str) -> str:
        """What is wrong with a field, and what to do; "" if nothing is."""
        text = self.values.get(key, "").strip()
        match key:
            case "run":
                if text not in self.runs:
                    return f"no run {text!r}{did_you_mean(text, self.runs)}"
                return "" if self.run is not None and self.run.name == text else f"{text} cannot be opened"
            case "checkpoint":
                if not self.checkpoints:
                    return "no checkpoint yet: w on the training screen writes one"
                known = text in self.checkpoints
                return "" if known else f"no checkpoint {text!r}{did_you_mean(text, self.checkpoints)}"
            case "weights":
                return "" if text in ("ema", "raw") else "expected ema or raw"
            case "classes":
                return self._wrong_classes(text)
            case "temperature":
                return wrong_number(text, over=0)
            case "top_p":
                return wrong_number(text, over=0, most=1)
            case "guidance":
                return wrong_number(text, least=0)
            case "image":
                return completion.wrong_source(text, self.sizes)
            case "keeps":
                return completion.wrong_kept(text, self.shape.height, self.shape.width) if self.shape else ""
            case "seed":
                return "" if text.isdecimal() and len(text) < 19 else "expected a whole number"
            case _:
                good = text.isdecimal() and 1 <= int(text) <= MOST_IMAGES
                return "" if good else f"expected 1 to {MOST_IMAGES}"

    def _wrong_classes(self, text: str) -> str:
        if text.lower() in ("", "all") or not self.classes:
            return ""
        known = {name.lower() for name in self.classes} | {str(i) for i in range(len(self.classes))}
        for part in (part.strip() for part in text.split(",")):
            if part.lower() not in known:
                return f"no class {part!r}{did_you_mean(part, self.classes)}"
        return ""

    def named_problem(self, key: str) -> str:
        """With the field's name."""
        wrong = self.problem(key)
        return f"{NAMES[key]}: {printable(wrong)}" if wrong else ""

    @property
    def first_problem(self) -> str:
        return self._first_of(FIELDS)

    @property
    def first_problem_of_completing(self) -> str:
        return self._first_of((*(field for field in FIELDS if field[1] not in DRAWING), *COMPLETING))

    def _first_of(self, fields: tuple[tuple[str, str], ...]) -> str:
        return next((wrong for _, key in fields if (wrong := self.named_problem(key))), "")

    # -- changes ---------------------------------------------------------------------------------------------------

    def options(self, key: str) -> list[str]:
        """What a field can be, where that is a list."""
        match key:
            case "run":
                return list(self.runs)
            case "checkpoint":
                return self.checkpoints
            case "weights":
                return ["ema", "raw"]
            case "classes":
                return ["all", *self.classes] if self.classes else ["none"]
            case _:
                return []

    def stepped(self, key: str, by: int) -> str:
        """The field's text `by` options, or steps, further on."""
        text = self.values[key].strip()
        if key == "image":
            return completion.next_source(text, by, self.sizes)
        if key == "keeps":
            return completion.moved(text, 0, by, self.shape.height, self.shape.width) if self.shape else text
        if options := self.options(key):
            place = options.index(text) if text in options else -1 if by > 0 else 0
            return options[(place + by) % len(options)]
        try:
            value = float(text) + by * STEPS[key]
        except (ValueError, KeyError):
            return text
        least, most = {"temperature": (0.05, 10.0), "top_p": (0.05, 1.0), "count": (1, MOST_IMAGES)}.get(
            key, (0, float(1 << 60))
        )
        value = min(max(value, least), most)
        return str(int(value)) if key in ("seed", "count") else f"{round(value, 4):g}"

    # -- wishes ----------------------------------------------------------------------------------------------------

    @property
    def model(self) -> Model:
        assert self.run is not None
        return Model(
            run=str(self.run.path),
            checkpoint=self.values["checkpoint"].strip(),
            weights=self.values["weights"].strip(),
        )

    def wish(self, *, sweep: int = 0, mask: bytes = b"") -> Draw:
        """sweep: the most images a temperature, where there are to be several. mask: what is kept of the image to be
        completed, where one is. Raises UserError for what is wrong."""
        wrong = self.first_problem_of_completing if mask else self.first_problem
        if self.run is None or wrong:
            raise UserError(wrong or "choose a run first")
        text = {key: value.strip() for key, value in self.values.items()}
        label = "" if text["classes"].lower() in ("", "all", "none") else text["classes"]
        count = COMPLETIONS if mask else int(text["count"])
        if sweep:
            several = len(label.split(",")) if label else len(self.classes) or SWEEP_IMAGES
            count = max(1, min(count, several, sweep))
        return Draw(
            id=0,
            model=self.model,
            label=label,
            count=count,
            temperatures=SWEPT if sweep else (float(text["temperature"]),),
            top_p=float(text["top_p"]),
            guidance=float(text["guidance"]),
            seed=int(text["seed"]),
            source=text["image"] if mask else "",
            mask=mask,
            kept=completion.settings_of(text["keeps"]) if mask else {},
        )


def _sample_of(run: RunDir) -> Sample:
    """Of the run's config or, where that cannot be read, of the one in a checkpoint. Raises UserError."""
    try:
        return run.config(resumed=True).sample
    except UserError:
        for name in ("best", "last"):
            with contextlib.suppress(UserError, KeyError, msgspec.ValidationError):
                tree = read_header(run.checkpoints_dir / f"{name}.safetensors").tree
                return msgspec.convert(tree["config"], Config).sample
        raise
