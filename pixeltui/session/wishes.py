"""What the console and the process that draws for it say to one another: msgpack on pipes, each with its length before.

Images are uint8 levels, row-major, [N, C, H, W]; `id` is the wish's that is answered.
"""

import struct
from typing import BinaryIO, Final

import msgspec

LENGTH: Final = struct.Struct("<I")
LARGEST: Final = 64 << 20


class Wish(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    id: int


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Which weights. run: its path."""

    run: str
    checkpoint: str = "best"
    weights: str = "ema"


class Draw(Wish, frozen=True, kw_only=True):
    """Images, in place of those that are being drawn. None and (): the run's own [sample] config."""

    model: Model
    label: str = ""
    count: int | None = None
    temperatures: tuple[float, ...] = ()
    top_p: float | None = None
    guidance: float | None = None
    seed: int | None = None
    source: str = ""
    """an image to complete: "test:0", or a file"""
    mask: bytes = b""
    """what of it is kept: 1, [H, W]"""
    kept: dict[str, int | str] = {}
    """the same in words, for what is written beside the images"""


class Find(Wish, frozen=True, kw_only=True):
    """An image of the run's data, or of a file. mask: a file that says what of it is kept, "" for none."""

    model: Model
    source: str
    mask: str = ""


class Score(Wish, frozen=True, kw_only=True):
    """Bits of the pixels in the first `rows` rows of one image, [C, H, W]. label: a class's number; None: without."""

    model: Model
    pixels: bytes
    rows: int
    label: int | None = None


class Inspect(Wish, frozen=True, kw_only=True):
    """One pane of an inspection, in place of what is being computed; "files": everything, as `pixeltui inspect`."""

    model: Model
    pane: str
    images: int
    """of the test split"""


class Keep(Wish, frozen=True, kw_only=True):
    """Writes the images that were drawn last into the run's samples folder."""


class Stop(Wish, frozen=True, kw_only=True):
    """No more rows."""


AnyWish = Draw | Find | Score | Inspect | Keep | Stop


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    id: int


class Progress(Answer, frozen=True, kw_only=True):
    """What is being done before there is anything to see: "starting torch". share: how much of it, where known."""

    text: str
    share: float = 0.0


class Rows(Answer, frozen=True, kw_only=True):
    """Images so far; `done` once they are all there or were stopped."""

    shape: tuple[int, int, int, int]
    levels: int
    pixels: bytes
    rows: int
    done: bool
    seconds: float
    labels: tuple[int, ...]
    """of the classes, N or none"""
    names: tuple[str, ...]
    """what stands under each image"""
    columns: int | None = None
    """images that belong in one row, where some do"""
    first: int = 0
    """images before the first that was drawn: an original and what was kept of it"""


class Found(Answer, frozen=True, kw_only=True):
    """An image, [C, H, W]. count: how many its split has; 1 for a file."""

    source: str
    shape: tuple[int, int, int, int]
    levels: int
    pixels: bytes
    name: str
    count: int
    mask: bytes = b""
    """1 where it is kept, [H, W], where a file says so"""


class Scored(Answer, frozen=True, kw_only=True):
    """bits: of each pixel that was scored, over its channels, row-major; colors: RGB of the heat map of the image, dark
    where nothing was scored."""

    bits_per_dim: float
    bits: tuple[float, ...]
    colors: bytes


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, row-major RGB, with what stands under it, and what is told of it where the cursor is."""

    rgb: bytes
    width: int
    height: int
    label: str
    note: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures that are seen together. beside: how many belong beside one another."""

    name: str
    tiles: tuple[Tile, ...]
    beside: int = 1


class Pane(Answer, frozen=True, kw_only=True):
    """Groups of pictures, or a table, or lines."""

    name: str
    note: str = ""
    groups: tuple[Group, ...] = ()
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    """(kind, text); kinds: good, bad, title, text, muted"""
    images: int = 0
    """that were looked at"""
    most: int = 0
    """that there are"""


class Kept(Answer, frozen=True, kw_only=True):
    path: str


class Refused(Answer, frozen=True, kw_only=True):
    """One line: what is wrong and what to do."""

    message: str


AnyAnswer = Progress | Rows | Found | Scored | Pane | Kept | Refused

_WISHES: Final = msgspec.msgpack.Decoder(AnyWish)
_ANSWERS: Final = msgspec.msgpack.Decoder(AnyAnswer)


def send(pipe: BinaryIO, message: Wish | Answer) -> None:
    """Raises OSError or ValueError where the other side has gone."""
    content = msgspec.msgpack.encode(message)
    pipe.write(LENGTH.pack(len(content)) + content)
    pipe.flush()


def _read(pipe: BinaryIO) -> bytes | None:
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    length = LENGTH.unpack(head)[0]
    if length > LARGEST:
        return None
    content = pipe.read(length)
    return content if len(content) == length else None


def read_wish(pipe: BinaryIO) -> AnyWish | None:
    """The next one; None at the end."""
    content = _read(pipe)
    return None if content is None else _WISHES.decode(content)


def read_answer(pipe: BinaryIO) -> AnyAnswer | None:
    content = _read(pipe)
    return None if content is None else _ANSWERS.decode(content)
