"""What the sampling screen completes, as texts of two fields: which image, and what of it is kept.

An image is SPLIT:NUMBER of the run's data, or a file. What is kept is a number of rows at the top, or all but a box
WIDTHxHEIGHT+LEFT+TOP, or what is white in a mask, a file. Masks: a byte a pixel, row-major, 1 where it is kept.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from pixeltui.errors import did_you_mean

SPLITS: Final = ("train", "val", "test")
SOURCE: Final = re.compile(r"(\w+):(\d{1,9})")


class Box(NamedTuple):
    """What is filled in, in pixels."""

    width: int
    height: int
    left: int
    top: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}"

    def inside(self, height: int, width: int) -> "Box":
        """The same, as large as the image lets it be and moved into it."""
        own = max(1, min(self.width, width)), max(1, min(self.height, height))
        return Box(*own, max(0, min(self.left, width - own[0])), max(0, min(self.top, height - own[1])))


def box_of(text: str) -> Box | None:
    found = re.fullmatch(r"(\d{1,3})x(\d{1,3})\+(\d{1,3})\+(\d{1,3})", text)
    return Box(*map(int, found.groups())) if found else None


def wrong_source(text: str, sizes: dict[str, int]) -> str:
    """What is wrong with an image's name; sizes: of the splits, as far as they are known."""
    if Path(text).expanduser().is_file():
        return ""
    found = SOURCE.fullmatch(text)
    if not found:
        return "expected SPLIT:NUMBER as test:0, or an image file"
    split, number = found.groups()
    if split not in SPLITS:
        return f"no split {split!r}{did_you_mean(split, SPLITS)}"
    if split in sizes and int(number) >= sizes[split]:
        return f"{split} has images 0 to {sizes[split] - 1}"
    return ""


def wrong_kept(text: str, height: int, width: int) -> str:
    """What is wrong with what is to be kept."""
    if text.isdecimal():
        return "" if int(text) < height else f"expected 0 to {height - 1} rows"
    if (box := box_of(text)) is not None:
        return "" if box == box.inside(height, width) else f"the box is not inside of {width}x{height}"
    if Path(text).expanduser().is_file():
        return ""
    return "expected rows as 16, a box to fill in as 8x8+4+2, or a mask's file"


def next_source(text: str, by: int, sizes: dict[str, int]) -> str:
    """The image `by` numbers further on, around the end; the first of the test split after a file."""
    found = SOURCE.fullmatch(text)
    if not found:
        return "test:0"
    split, number = found.groups()
    return f"{split}:{(int(number) + by) % max(sizes.get(split, 1 << 30), 1)}"


def next_split(text: str) -> str:
    """The first image of the next split."""
    split = text.partition(":")[0]
    return f"{SPLITS[(SPLITS.index(split) + 1) % len(SPLITS)] if split in SPLITS else SPLITS[-1]}:0"


def next_kind(text: str, height: int, width: int) -> str:
    """From rows to a box in the middle, from anything else to rows."""
    if text.isdecimal():
        return str(Box((width + 1) // 2, (height + 1) // 2, width // 4, height // 4))
    return str(height // 2)


def moved(text: str, columns: int, rows: int, height: int, width: int) -> str:
    """The last row that is kept, or the box, moved so many pixels; a mask stays."""
    if text.isdecimal():
        return str(min(max(int(text) + rows, 0), height - 1))
    box = box_of(text)
    return (
        text
        if box is None
        else str(box._replace(left=max(box.left + columns, 0), top=max(box.top + rows, 0)).inside(height, width))
    )


def grown(text: str, by: int, height: int, width: int) -> str:
    """The box, `by` pixels wider and higher."""
    box = box_of(text)
    return (
        text if box is None else str(box._replace(width=box.width + by, height=box.height + by).inside(height, width))
    )


def mask_of(text: str, height: int, width: int) -> bytes | None:
    """None where it takes a file."""
    if text.isdecimal():
        rows = min(int(text), height)
        return b"\1" * (rows * width) + bytes((height - rows) * width)
    if (box := box_of(text)) is None:
        return None
    whole = b"\1" * width
    cut = b"\1" * box.left + bytes(box.width) + b"\1" * (width - box.left - box.width)
    return whole * box.top + cut * box.height + whole * (height - box.top - box.height)


def outline(mask: bytes, width: int) -> list[int]:
    """The pixels to be filled in that touch one that is kept; the first row where nothing is kept."""
    size = len(mask)
    if 1 not in mask:
        return list(range(width))
    beside = [
        i
        for i in range(size)
        if not mask[i]
        and (
            (i >= width and mask[i - width])
            or (i + width < size and mask[i + width])
            or (i % width and mask[i - 1])
            or ((i + 1) % width and mask[i + 1])
        )
    ]
    return beside


def described(text: str, height: int) -> str:
    """For people: "keeps 16 of 32 rows"."""
    if text.isdecimal():
        return f"keeps {text} of {height} rows"
    return f"fills in {text}" if box_of(text) is not None else f"keeps what is white in {Path(text).name}"


def settings_of(text: str) -> dict[str, int | str]:
    """As it is written beside images that were kept."""
    if text.isdecimal():
        return {"keep_rows": int(text)}
    return {"filled_in": text} if box_of(text) is not None else {"mask": text}
