"""Every key of the console, once: bindings, the key bar, the `?` help, the command palette and docs/KEYS.md."""

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding

from pixeltui.ui.key_table import ACTIONS, MOVES, TITLES, Row, Scope


@dataclass(frozen=True)
class Key:
    """One action. id: its name in [ui.keys]; keys: textual's names, separated by commas; bar: its place in the key bar,
    0 first, None: not there; palette: whether the command palette lists it."""

    id: str
    scope: Scope
    keys: str
    action: str
    label: str
    meaning: str
    bar: int | None = None
    palette: bool = True

    @property
    def binding(self) -> Binding:
        return Binding(self.keys, self.action, self.label, id=self.id, show=False)

    def shown(self, keymap: dict[str, str]) -> str:
        """The keys for people: "p", "+ =", "← h"."""
        return " ".join(pretty(key) for key in keymap.get(self.id, self.keys).split(","))


def _key(scope: Scope, row: Row, *, palette: bool) -> Key:
    return Key(row[0], scope, *row[1:5], bar=row[5] if len(row) > 5 else None, palette=palette)


KEYS: Final = tuple(
    _key(scope, row, palette=table is ACTIONS)
    for scope in TITLES
    for table in (ACTIONS, MOVES)
    for row in table.get(scope, ())
)
BY_ID: Final = {key.id: key for key in KEYS}

_NAMES = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "full_stop": ".",
    "number_sign": "#",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "shift+tab": "⇧tab",
    "shift+right": "⇧→",
    "shift+left": "⇧←",
}


def pretty(key: str) -> str:
    """A key as people write it."""
    return _NAMES.get(
        key,
        f"^{key[5:]}" if key.startswith("ctrl+") else key.upper() if key[:1] == "f" and key[1:].isdecimal() else key,
    )


def in_scope(*scopes: Scope) -> list[Key]:
    return [key for key in KEYS if key.scope in scopes]


def bindings(*scopes: Scope) -> list[Binding]:
    """What a class of these scopes binds."""
    return [key.binding for key in in_scope(*scopes)]


FILTERING: Final = (
    Key("keep-words", "runs", "enter", "submit", "keeps", "these words go on to choose the runs", 0),
    Key("drop-words", "runs", "escape", "app.back", "clears", "all runs again", 1),
)
"""while one types words"""
FILLING: Final = (
    Key("field-draw", "sampling", "enter", "submit", "draws", "draw with these values", 0),
    Key("field-leave", "sampling", "escape", "app.back", "to the images", "out of the fields", 1),
    Key("field-next", "sampling", "↑↓", "app.focus_next", "field", "another field", 2),
    Key("field-step", "sampling", "pgup/pgdn", "step(1)", "change", "the value by a step", 3),
)
"""in a field of the sampling screen; letters are typed there"""

STEERING: Final = {"pause", "checkpoint", "sample", "evaluate", "learning-rate", "cooler", "warmer"}
"""of use only where a run can be told what to do"""
ABOUT_RUNS: Final = {key.id for key in in_scope("runs")} - {"new", "refresh"}
"""of use only where there is a run"""


PAGE: Final = """\
# Keys of the console

Written by `python -m pixeltui.ui.keys > docs/KEYS.md`. `?` shows those of the screen one is on. Every action can have
other keys in `~/.config/pixeltui/config.toml`, or in a run's config, several with commas between them, by its id:

```toml
[ui.keys]
pause = "space,P"
```

| where | keys | what | id |
| --- | --- | --- | --- |
"""


def keys_page() -> str:
    """docs/KEYS.md"""
    rows = []
    for key in KEYS:
        keys = " ".join(f"`{pretty(k)}`" for k in key.keys.split(","))
        rows.append(f"| {TITLES[key.scope]} | {keys} | {key.meaning} | `{key.id}` |\n")
    return PAGE + "".join(rows)


if __name__ == "__main__":
    import sys

    sys.stdout.write(keys_page())
