"""The README's table of keys, from the one table: python -m pixeltui.ui.readme_keys README.md"""

import sys
from pathlib import Path
from typing import Final

from pixeltui.ui.key_table import TITLES
from pixeltui.ui.keys import KEYS, pretty

BEGIN: Final = "<!-- keys: written by `python -m pixeltui.ui.readme_keys README.md` -->\n"
END: Final = "<!-- /keys -->\n"


def block() -> str:
    """What the key bars show, a row a screen or pane."""
    rows = ["| where | keys |\n", "| --- | --- |\n"]
    for scope, title in TITLES.items():
        keys = sorted((key for key in KEYS if key.scope == scope and key.bar is not None), key=lambda key: key.bar or 0)
        told = " · ".join(f"`{pretty(key.keys.split(',')[0])}` {key.label}" for key in keys)
        rows += [f"| {title} | {told} |\n"] * bool(told)
    return "".join(rows)


def with_block(text: str) -> str:
    """The README's text with its table as it is to be."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{block()}\n{END}{after}"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(with_block(readme.read_text()))
