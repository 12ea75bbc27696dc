"""docs/CONFIG.md, written from the config's own tables: `python -m pixeltui.reference > docs/CONFIG.md`."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from pixeltui.config import DEFAULT_PRESET, Config, load_config, preset_names
from pixeltui.toml import fields

HEAD = """\
# Config

Every key, its default, and what the presets make of it; written by `python -m pixeltui.reference > docs/CONFIG.md`.
The same as a file to start from is [config.toml](../config.toml). Order of precedence: built-in default < `--preset` <
`--config` file < `--set`. `--set` takes TOML values, and text without quotes:

    pixeltui --no-ui train --preset quick --set train.lr=5e-4 --set 'model.attention.after=[2,4]' --set data.name=photos

A file needs only the keys that it changes:

```toml
preset = "pixelcnn"

[data]
name = "photos/"

[train]
epochs = 20
```
"""


def config_page() -> str:
    """Markdown: a table of keys for each table of the config."""
    presets = [name for name in preset_names() if name != DEFAULT_PRESET]
    return HEAD + "".join(_section("", Config(), "", presets, [load_config(preset=name) for name in presets]))


def _section(
    name: str, table: msgspec.Struct, meaning: str, presets: Sequence[str], others: Sequence[Any]
) -> Iterator[str]:
    """The table's own keys, then its tables; `others`: the same table in each of the presets."""
    rows, inner = [], []
    for field in fields(table):
        values = [getattr(other, field.name) for other in others]
        if isinstance(field.value, msgspec.Struct):
            full_name = f"{name}.{field.name}" if name else field.name
            inner.append(_section(full_name, field.value, field.meaning, presets, values))
        elif field.name != "preset" or name:
            changed = (f"{p} {_code(v)}" for p, v in zip(presets, values, strict=True) if v != field.value)
            cells = (f"`{field.name}`", _code(field.value), ", ".join(changed), field.limits, field.meaning)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    if rows:
        yield f"\n## [{name}]\n\n{meaning[:1].upper()}{meaning[1:]}.\n\n"
        yield "| key | default | in presets | range | meaning |\n| --- | --- | --- | --- | --- |\n"
        yield from rows
    for section in inner:
        yield from section


def _code(value: object) -> str:
    """As TOML writes it."""
    if isinstance(value, (tuple, list)):
        return f"`[{', '.join(_code(part).strip('`') for part in value)}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value}`"


if __name__ == "__main__":
    import sys

    sys.stdout.write(config_page())
