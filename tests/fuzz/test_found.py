"""What fuzzing and thinking found stays found; and a few hundred fresh cases of each format."""

import random
from pathlib import Path

import pytest
from seeds import SEEDS
from targets import TARGETS

FOUND = sorted(path for path in (Path(__file__).parent / "found").glob("*/*") if path.is_file())
PIECES = [b"\x1b[31m", b"\xff", b"\n", b"\x00", b"1e300", b"1e999", b"-1", b"null", b'"', b"{", b"[" * 300, b"\\ud800"]


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_found(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_changed_examples(name: str) -> None:
    dice = random.Random(name)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for _ in range(40):
            content = bytearray(seed)
            for _ in range(dice.randrange(1, 4)):
                place = dice.randrange(len(content) + 1)
                content[place : place + dice.randrange(4)] = dice.choice(PIECES)
            TARGETS[name](bytes(content))
