"""A new run: a preset, the keys that are changed most, and any other key; checked as one types."""

import shlex
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.reactive import Reactive
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from pixeltui.config import Config, ConfigError, as_dict, load_config, preset_names
from pixeltui.errors import UserError, printable
from pixeltui.session.worker import TrainRequest
from pixeltui.store.rundir import check_name
from pixeltui.toml import flat
from pixeltui.ui.colors import current_depth, theme_for
from pixeltui.ui.screens.text_panes import show_value
from pixeltui.ui.widgets.line import Line

KEYS: Final = (
    "data.name",
    "model.channels",
    "model.blocks",
    "train.epochs",
    "train.batch_size",
    "train.lr",
    "train.ema_decay",
    "sample.every",
    "sample.count",
)
FIRST = "quick"


class NewRun(ModalScreen[TrainRequest | None]):
    """Gives what is to be trained, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("ctrl+n,pagedown", "preset(1)", show=False),
        Binding("ctrl+p,pageup", "preset(-1)", show=False, priority=True),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """as every screen's, but another focus does not draw the whole screen"""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._presets = preset_names()
        self._preset = FIRST if FIRST in self._presets else self._presets[0]
        self._defaults: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog form") as box:
            box.border_title = "New run"
            box.border_subtitle = "enter trains · pgup pgdn preset · esc"
            yield Static(id="presets")
            with Horizontal():
                yield Label("name")
                yield Line(placeholder="preset, data and time", id="name", compact=True)
            for key in KEYS:
                with Horizontal():
                    yield Label(key)
                    yield Line(id=key.replace(".", "-"), compact=True)
            with Horizontal():
                yield Label("other keys")
                yield Line(placeholder="model.dropout=0.2 train.seed=1", id="other", compact=True)
            yield Static(id="problem")

    def on_mount(self) -> None:
        for line in self.query(Input):
            line.cursor_blink = False
        self._use(self._preset)
        self.query_one("#data-name").focus()

    def action_preset(self, by: int) -> None:
        presets = self._presets
        self._use(presets[(presets.index(self._preset) + by) % len(presets)])

    def _use(self, preset: str) -> None:
        """Fills in the preset's values; those that were changed stay."""
        changed = self._changed()
        self._preset = preset
        values = flat(as_dict(load_config(preset=preset)))
        self._defaults = {key: show_value(values[key]) for key in KEYS}
        with self.prevent(Input.Changed):  # all of them are checked below, at once
            for key in KEYS:
                self._field(key).value = changed.get(key, self._defaults[key])
        theme = theme_for(self.app.current_theme.dark)
        line = Text("preset     ", theme.muted)
        for name in self._presets:
            style = f"bold {theme.background} on {theme.accent}" if name == preset else theme.text
            if name == preset and current_depth() == "none":
                style = "reverse"
            line.append(f" {name} ", style).append(" ")
        self.query_one("#presets", Static).update(line)
        self._check()

    def _field(self, key: str) -> Input:
        return self.query_one(f"#{key.replace('.', '-')}", Input)

    def _changed(self) -> dict[str, str]:
        if not self._defaults:
            return {}
        return {key: self._field(key).value for key in KEYS if self._field(key).value.strip() != self._defaults[key]}

    @property
    def _overrides(self) -> list[str]:
        other = self.query_one("#other", Input).value.split()
        return [*(f"{key}={value.strip()}" for key, value in self._changed().items()), *other]

    @on(Input.Changed)
    def _check(self) -> Config | None:
        """Shows what is wrong, or what would be trained."""
        problem = self.query_one("#problem", Static)
        try:
            config = load_config(preset=self._preset, overrides=self._overrides)
            if name := self.query_one("#name", Input).value:
                check_name(name)
                if (self._runs_dir / name).exists():
                    raise UserError(f"there is a run {name!r} already")
        except (ConfigError, UserError) as error:
            problem.set_class(True, "wrong")
            problem.update(Text(printable(str(error).replace("--set ", "").split("\n")[0])))
            return None
        problem.set_class(False, "wrong")
        model = config.model
        problem.update(
            Text(f"{model.architecture}, {model.head} head, {model.channels} x {model.blocks}: enter trains it")
        )
        return config

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self._check() is None:
            return
        overrides = self._overrides
        name = self.query_one("#name", Input).value
        words = ["pixeltui", "train", "--preset", self._preset, *(w for o in overrides for w in ("--set", o))]
        words += ["--name", name] * bool(name)
        self.dismiss(
            TrainRequest(
                runs_dir=self._runs_dir,
                preset=self._preset,
                overrides=overrides,
                name=name or None,
                command=shlex.join(words),
            )
        )
