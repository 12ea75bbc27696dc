"""Every key of the console, once: bindings, the key bar, the `?` help, the command palette and docs/KEYS.md."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from textual.binding import Binding

Scope = Literal["everywhere", "training", "charts", "samples", "runs", "compare", "text", "sampling", "inspect"]

TITLES: Final[dict[Scope, str]] = {
    "everywhere": "Everywhere",
    "training": "Training",
    "charts": "Curves",
    "samples": "Samples",
    "runs": "Runs",
    "compare": "Compare",
    "text": "Config and log",
    "sampling": "Drawing images",
    "inspect": "Looking inside",
}


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


def _keys(scope: Scope, *rows: tuple[str, str, str, str, str] | tuple[str, str, str, str, str, int]) -> list[Key]:
    """Rows of id, keys, action, label, meaning and, for the key bar, its place."""
    return [Key(row[0], scope, *row[1:5], bar=row[5] if len(row) > 5 else None) for row in rows]


def _moves(scope: Scope, *rows: tuple[str, str, str, str, str]) -> list[Key]:
    """Keys that move something: of no use in the command palette."""
    return [Key(row[0], scope, *row[1:5], palette=False) for row in rows]


KEYS: Final[tuple[Key, ...]] = (
    *_keys(
        "everywhere",
        ("help", "question_mark,f1", "app.show_help", "help", "the keys of this screen", 98),
        ("palette", "ctrl+p,colon", "app.command_palette", "commands", "every action, by name", 97),
        ("quit", "q,ctrl+c,ctrl+z", "app.leave", "leave", "leave; asks while this console trains", 99),
        ("detach", "d", "app.detach", "detach", "leave; training goes on without a terminal", 5),
        ("theme", "T", "app.toggle_dark", "theme", "dark or light"),
        ("back", "escape", "app.back", "back", "one layer out"),
    ),
    *_keys(
        "training",
        ("pause", "p", "screen.toggle_pause", "pause", "pause training, or go on", 0),
        ("checkpoint", "w", "screen.checkpoint", "write", "write a checkpoint now", 1),
        ("sample", "n", "screen.sample", "sample", "draw samples now", 2),
        ("evaluate", "e", "screen.evaluate", "evaluate", "score the validation split now", 3),
        ("learning-rate", "L", "screen.learning_rate", "rate", "change the learning rate (asks)", 4),
        ("full", "z", "screen.full", "zoom", "this pane over the whole screen, and back", 6),
        ("draw", "t", "screen.draw", "try out", "draw images with this run's weights: the sampling screen", 7),
        ("filter-log", "slash", "screen.filter_log", "filter", "only the log's lines with these words"),
        ("inspect", "I", "screen.inspect", "inspect", "look inside the model: is mask, model or sampler wrong?", 8),
        ("pane-curves", "1", "screen.pane('curves')", "curves", "to the curves"),
        ("pane-samples", "2", "screen.pane('samples')", "samples", "to the samples"),
        ("pane-runs", "3", "screen.pane('runs')", "runs", "to the run browser; training goes on"),
        ("pane-config", "4", "screen.pane('config')", "config", "to the config"),
        ("pane-log", "5", "screen.pane('log')", "log", "to the log"),
    ),
    *_moves(
        "training",
        ("next-pane", "tab", "app.focus_next", "next", "next pane"),
        ("previous-pane", "shift+tab", "app.focus_previous", "previous", "previous pane"),
    ),
    *_keys(
        "charts",
        ("metric", "m", "metric(1)", "metric", "next metric", 10),
        ("metric-back", "M", "metric(-1)", "metric", "previous metric"),
        ("x-kind", "x", "x_kind", "x axis", "x by step, epoch or time", 11),
        ("log-y", "y", "log_y", "log y", "logarithmic y axis", 12),
        ("smooth-more", "s", "smooth(1)", "smooth", "smooth more", 13),
        ("smooth-less", "S", "smooth(-1)", "smooth", "smooth less"),
        ("fit", "0", "fit", "fit", "all of the data"),
        ("follow", "f", "follow", "follow", "keep the newest point in view"),
        ("cursor", "enter", "cursor", "read", "a cursor that reads values, moved by h l H L", 14),
        ("copy-value", "c", "copy", "copy", "copy the values under the cursor, or the newest"),
        ("export-csv", "E", "export", "csv", "write the curves as a CSV file into the run"),
        ("overlay", "b", "overlay", "overlay", "lay the runs marked in the browser over this one"),
    ),
    *_moves(
        "charts",
        ("zoom-in", "plus,equals_sign", "zoom_x(1.5)", "zoom in", "zoom in on x"),
        ("zoom-out", "minus", "zoom_x(0.6667)", "zoom out", "zoom out on x"),
        ("pan-left", "h,left", "pan_x(-1)", "left", "to earlier x; moves the cursor where there is one"),
        ("pan-right", "l,right", "pan_x(1)", "right", "to later x"),
        ("cursor-left", "H", "pan_x(-10)", "far left", "ten cells to the left"),
        ("cursor-right", "L,shift+right", "pan_x(10)", "far right", "ten cells to the right, while there is a cursor"),
        ("pan-up", "k,up", "pan_y(0.2)", "up", "to larger y"),
        ("pan-down", "j,down", "pan_y(-0.2)", "down", "to smaller y"),
        ("zoom-y-in", "right_curly_bracket", "zoom_y(1.5)", "zoom y", "zoom in on y"),
        ("zoom-y-out", "left_curly_bracket", "zoom_y(0.6667)", "zoom y", "zoom out on y"),
    ),
    *_keys(
        "samples",
        ("enlarge", "enter", "enlarge", "enlarge", "one image in large with the bits of its pixels, and back", 11),
        ("renderer", "i", "renderer", "blocks", "half blocks or quadrants", 12),
        ("cooler", "left_square_bracket", "temperature(-0.05)", "cooler", "lower temperature for the next sample", 13),
        ("warmer", "right_square_bracket", "temperature(0.05)", "warmer", "higher temperature for the next sample", 14),
        ("copy-sample", "c", "copy", "copy", "copy the path of these samples"),
        ("export-sample", "E", "export", "png", "write the image with the frame as a PNG file into the run"),
    ),
    *_moves(
        "samples",
        ("earlier", "h", "show(-1)", "earlier", "earlier samples"),
        ("later", "l", "show(1)", "later", "later samples"),
        ("much-earlier", "H,shift+left", "show(-10)", "earlier", "ten earlier"),
        ("much-later", "L,shift+right", "show(10)", "later", "ten later, while earlier ones are shown"),
        ("first", "home,g", "show(-1000000)", "first", "the first samples"),
        ("latest", "end,G", "show(1000000)", "latest", "the latest samples, and those in progress"),
        ("next-page", "j,pagedown", "page(1)", "page", "next page of tiles"),
        ("previous-page", "k,pageup", "page(-1)", "page", "previous page of tiles"),
        ("frame-left", "left", "move(-1, 0)", "left", "the frame to the image on the left"),
        ("frame-right", "right", "move(1, 0)", "right", "the frame to the image on the right"),
        ("frame-up", "up", "move(0, -1)", "up", "the frame to the image above"),
        ("frame-down", "down", "move(0, 1)", "down", "the frame to the image below"),
        ("larger", "plus,equals_sign", "zoom(1)", "larger", "larger tiles"),
        ("smaller", "minus", "zoom(-1)", "smaller", "smaller tiles"),
    ),
    *_keys(
        "runs",
        ("open", "enter", "screen.open", "open", "open the run: its curves, samples and log", 0),
        ("new", "N", "screen.new", "new", "train a new run from a preset", 1),
        ("resume", "R", "screen.resume", "resume", "go on with training from the last checkpoint", 2),
        ("draw-run", "t", "screen.draw", "try out", "draw images with the run's weights: the sampling screen", 3),
        ("inspect-run", "I", "screen.inspect", "inspect", "look inside the model: is mask, model or sampler wrong?", 4),
        ("filter", "slash", "screen.filter", "filter", "only runs with these words in name, data, tags, state", 3),
        ("sort", "o", "screen.sort", "sort", "sort by a column: o, then its letter; a capital reverses", 4),
        ("mark", "space", "screen.mark", "mark", "mark the run for comparison", 5),
        ("mark-all", "a", "screen.mark_all", "mark all", "mark all runs that are shown, or none"),
        ("compare", "v", "screen.compare", "compare", "marked runs against each other", 6),
        ("rename", "r", "screen.rename", "rename", "give the run another name", 7),
        ("tags", "number_sign", "screen.tags", "tags", "edit the run's tags", 8),
        ("note", "e", "screen.note", "note", "write a note to the run", 9),
        ("export-run", "E", "screen.export", "export", "write the best weights as one safetensors file"),
        ("delete", "D", "screen.delete", "delete", "move the run to the trash folder (asks)", 10),
        ("copy-path", "c", "screen.copy_path", "copy", "copy the run's path"),
        ("refresh", "f5,ctrl+r", "screen.reload", "reload", "read all runs again"),
    ),
    *_moves(
        "runs",
        ("down", "j,down", "cursor_down", "down", "next run"),
        ("up", "k,up", "cursor_up", "up", "previous run"),
        ("top", "g,home", "scroll_top", "top", "first run"),
        ("bottom", "G,end", "scroll_bottom", "bottom", "last run"),
        ("page-down", "pagedown,ctrl+d", "page_down", "page", "a page down"),
        ("page-up", "pageup,ctrl+u", "page_up", "page", "a page up"),
    ),
    *_keys(
        "compare",
        ("compare-full", "z", "screen.full", "zoom", "this pane over the whole screen, and back", 0),
    ),
    *_keys(
        "text",
        ("text-filter", "slash", "filter", "filter", "only the lines with these words", 10),
    ),
    *_moves(
        "text",
        ("text-down", "j,down", "scroll_down", "down", "a line down"),
        ("text-up", "k,up", "scroll_up", "up", "a line up"),
        ("text-top", "g,home", "scroll_home", "top", "to the beginning"),
        ("text-bottom", "G,end", "scroll_end", "bottom", "to the end"),
    ),
    *_keys(
        "sampling",
        ("draw-now", "n", "screen.draw_now", "draw", "draw images; the same fields give the same images", 0),
        ("draw-next", "N", "screen.draw_next", "next seed", "draw with the next seed", 1),
        ("draw-stop", "full_stop", "screen.stop", "stop", "no more rows; what there is can be kept", 2),
        ("keep", "w,E", "screen.keep", "keep", "write the images and what produced them into the run's samples", 3),
        ("heat", "enter", "screen.heat", "bits", "bits of each pixel of the image with the frame", 4),
        ("sweep", "v", "screen.sweep", "sweep", "a row of images for each temperature, with the same noise", 5),
        ("mode-draw", "1", "screen.mode('draw')", "draw", "draw whole images"),
        ("mode-complete", "2", "screen.mode('complete')", "complete", "complete images of the run's data"),
        ("mode-earlier", "3", "screen.mode('earlier')", "earlier", "what was drawn and kept before"),
        ("fields", "slash", "screen.fields", "fields", "to the fields: ↑ ↓ between them, pgup pgdn change one", 9),
        ("draw-full", "z", "screen.full", "zoom", "images over the whole screen, and back", 10),
        ("draw-cooler", "left_square_bracket", "screen.warm(-0.05)", "cooler", "draw at a lower temperature", 11),
        ("draw-warmer", "right_square_bracket", "screen.warm(0.05)", "warmer", "draw at a higher temperature", 12),
        ("complete-split", "s", "screen.split", "split", "complete images of the next split: train, val, test", 6),
        ("complete-box", "b", "screen.box", "box", "fill in what lies below a row, or in a box; arrows move either", 7),
        ("draw-renderer", "i", "screen.renderer", "blocks", "half blocks or quadrants", 13),
        ("copy-drawing", "c", "screen.copy", "copy", "copy the path of what was kept last, or is shown"),
    ),
    *_moves(
        "sampling",
        (
            "draw-left",
            "h,left",
            "screen.move(-1, 0)",
            "left",
            "image to the left; another image to complete; earlier ones",
        ),
        (
            "draw-right",
            "l,right",
            "screen.move(1, 0)",
            "right",
            "image to the right; the next one to complete; later ones",
        ),
        ("draw-up", "k,up", "screen.move(0, -1)", "up", "image above; the row, or box, that is completed"),
        ("draw-down", "j,down", "screen.move(0, 1)", "down", "image below; the row, or box, that is completed"),
        ("complete-grow", "right_curly_bracket", "screen.grow(2)", "larger", "a larger box"),
        ("complete-shrink", "left_curly_bracket", "screen.grow(-2)", "smaller", "a smaller box"),
        ("draw-far-left", "H,shift+left", "screen.move(-10, 0)", "left", "ten to the left"),
        ("draw-far-right", "L,shift+right", "screen.move(10, 0)", "right", "ten to the right"),
        ("draw-page-down", "pagedown", "screen.page(1)", "page", "next page of tiles"),
        ("draw-page-up", "pageup", "screen.page(-1)", "page", "previous page of tiles"),
        ("draw-larger", "plus,equals_sign", "screen.scale(1)", "larger", "larger tiles"),
        ("draw-smaller", "minus", "screen.scale(-1)", "smaller", "smaller tiles"),
    ),
    *_keys(
        "inspect",
        ("see-verdicts", "1", "screen.pane('verdicts')", "verdicts", "mask, model and sampler: right or wrong"),
        ("see-bits", "2", "screen.pane('bits')", "bits", "where the bits of images go"),
        ("see-features", "3", "screen.pane('features')", "features", "maps of each layer's units"),
        ("see-units", "4", "screen.pane('units')", "units", "activations of each layer; units that are dead"),
        ("see-field", "5", "screen.pane('field')", "field", "the pixels that a pixel sees and looks at"),
        ("see-classes", "6", "screen.pane('classes')", "classes", "bits/dim of each class"),
        ("see-nearest", "7", "screen.pane('nearest')", "nearest", "samples beside the nearest training images"),
        ("see-more", "n", "screen.more", "more images", "the same over twice as many images", 1),
        ("see-write", "w,E", "screen.write", "write", "all as PNG files and JSON into the run's inspect folder", 2),
        ("see-full", "z", "screen.full", "zoom", "one picture over the whole screen, and back", 3),
        ("see-renderer", "i", "screen.renderer", "blocks", "half blocks or quadrants", 4),
    ),
    *_moves(
        "inspect",
        ("see-left", "h,left", "screen.move(-1)", "left", "picture to the left"),
        ("see-right", "l,right", "screen.move(1)", "right", "picture to the right"),
        ("see-up", "k,up", "screen.turn(-1)", "up", "layer or images before; a line up"),
        ("see-down", "j,down", "screen.turn(1)", "down", "layer or images after; a line down"),
        ("see-page-down", "pagedown", "screen.page(1)", "page", "next page of tiles or lines"),
        ("see-page-up", "pageup", "screen.page(-1)", "page", "previous page of tiles or lines"),
        ("see-first", "g,home", "screen.turn(-1000000)", "first", "the first of them"),
        ("see-last", "G,end", "screen.turn(1000000)", "last", "the last of them"),
        ("see-larger", "plus,equals_sign", "screen.scale(1)", "larger", "larger tiles"),
        ("see-smaller", "minus", "screen.scale(-1)", "smaller", "smaller tiles"),
    ),
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


STEERING: Final = {"pause", "checkpoint", "sample", "evaluate", "learning-rate", "cooler", "warmer"}
"""of use only where a run can be told what to do"""


def unknown_ids(keymap: Iterable[str]) -> list[str]:
    return [name for name in keymap if name not in BY_ID]


PAGE: Final = """\
# Keys of the console

Written by `python -m pixeltui.ui.keys > docs/KEYS.md`. `?` shows those of the screen one is on. Every action can have
other keys in the config, several with commas between them, by its id:

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
