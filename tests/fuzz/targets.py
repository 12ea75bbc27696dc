"""What a stranger's bytes go through: each target takes any bytes, and may raise nothing but UserError.

`fuzz.py` searches for bytes that break one; those it found lie in found/TARGET/ and are tried by test_found.py.
"""

import io
import json
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from seeds import ARRAYS

from pixeltui.config import Config, Data, load_config, load_saved_config
from pixeltui.curves.points import Curves
from pixeltui.data import load as load_data
from pixeltui.data.images import MAX_SIDE, decode
from pixeltui.errors import UserError
from pixeltui.session.describe import describe
from pixeltui.store import control
from pixeltui.store.frames import FrameReader
from pixeltui.store.header import read_header
from pixeltui.store.log import EventReader
from pixeltui.store.rundir import RunDir
from pixeltui.store.summary import age, json_document, summarize
from pixeltui.store.view import RunView
from pixeltui.train.given import read_mask
from pixeltui.ui.sheets import ImageShape, frame_pictures, sheet_pictures

_memory = Path("/dev/shm")
FOLDER = Path(tempfile.mkdtemp(prefix="pixeltui-fuzz-", dir=_memory if os.access(_memory, os.W_OK) else None))
RUN = FOLDER / "run"
for _name in (RUN, RUN / "control", RUN / "checkpoints"):
    _name.mkdir()
RunDir(RUN).meta_path.write_text('{"schema": 1}')
RunDir(RUN).config_path.touch()


def log(data: bytes) -> None:
    """events.jsonl: read, folded, summed up, put into words and curves."""
    run = RunDir(RUN)
    run.events_path.write_bytes(data)
    events = EventReader(run.events_path).read_new()
    view = RunView().fold(events)
    Curves().fold(events)
    _ = view.best, view.test, view.step, view.epoch, view.images_per_second, view.state(locked=False)
    for event in events:
        text = describe(event, 10)
        assert text.isprintable(), text
        time.localtime(event.t)
    found = summarize(RUN)
    assert found.state != "damaged" or not events, found
    check_json(json_document(found))
    age(found.updated)


def check_json(text: str) -> None:
    """Strictly: other programs know neither NaN nor Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads(text, parse_constant=refuse)


def header(data: bytes) -> None:
    """A checkpoint: the bytes as they are, and as a header whose checksums an attacker has made right."""
    path = RUN / "checkpoints" / "fuzzed.safetensors"
    for content in (data, signed(data)):
        path.write_bytes(content)
        try:
            read_header(path)
        except UserError as error:
            assert str(error).isprintable(), error


def signed(data: bytes) -> bytes:
    """The bytes, taken as a header's JSON, with the length and the checksums that they need."""
    try:
        tree = json.loads(data)
        metadata = tree["__metadata__"]
        checksums = json.loads(metadata["checksums"])
        checksums[""] = zlib.crc32(metadata["pixeltui"].encode())
        metadata["checksums"] = json.dumps(checksums)
        text = json.dumps(tree).encode()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        text = data
    return len(text).to_bytes(8, "little") + text + bytes(16)


def commands(data: bytes) -> None:
    """A file in control/."""
    folder = RUN / "control"
    (folder / "x.json").write_bytes(data)
    for command_id, _command in control.take(folder):
        assert command_id == "x"
    assert not list(folder.iterdir()), "taken away, whatever it was"


def config(data: bytes) -> None:
    """A config file of a user, and one of a run."""
    path = RUN / "config.toml"
    path.write_bytes(data)
    for load in (load_config, load_saved_config):
        try:
            assert isinstance(load(path), Config)
        except UserError as error:
            assert all(line.isprintable() for line in str(error).split("\n")), repr(str(error))


def override(data: bytes) -> None:
    """A --set on the command line, as the shell would hand it over."""
    try:
        assert isinstance(load_config(overrides=[os.fsdecode(data)]), Config)
    except UserError as error:
        assert all(line.isprintable() for line in str(error).split("\n")), repr(str(error))


def meta(data: bytes) -> None:
    """meta.json, and the lock beside it."""
    folder = FOLDER / "other"
    folder.mkdir(exist_ok=True)
    for name in ("meta.json", "lock"):
        (folder / name).write_bytes(data)
    for name in ("events.jsonl", "config.toml"):
        (folder / name).touch()
    check_json(json_document(summarize(folder)))
    try:
        RunDir.open(folder)
    except UserError as error:
        assert str(error).isprintable()


def frame(data: bytes) -> None:
    """The samples in progress, as an attached console shows them."""
    path = RUN / "frame.msgpack"
    path.write_bytes(data)
    found = FrameReader(path).newest()
    if found is not None:
        pictures = frame_pictures(found)
        assert len(pictures) == found.shape[0]
        assert all(len(picture.rgb) == 3 * picture.width * picture.height for picture in pictures)


def image(data: bytes) -> None:
    """A file in a folder of images, a mask, and a sheet of samples."""
    path = FOLDER / "fuzzed.png"
    path.write_bytes(data)
    for read in (lambda: decode([str(path)]), lambda: read_mask(path, 4, 4)):
        try:
            found = read()
        except UserError as error:
            assert str(error).isprintable(), error
        else:
            assert max(found.shape[-3:-1], default=0) <= MAX_SIDE
    for picture in sheet_pictures(path, ImageShape(4, 4)):
        assert len(picture.rgb) == 3 * picture.width * picture.height


def npz(data: bytes) -> None:
    """A .npz: the bytes as they are, and as an array in a whole one, of images, labels, names or levels."""
    path = FOLDER / "fuzzed.npz"
    for content in (data, *(packed(member, data) for member in ("images", "labels", "class_names", "levels"))):
        path.write_bytes(content)
        try:
            found = load_data(Data(name=str(path)))
        except UserError as error:
            assert str(error).isprintable(), error
        else:
            assert found.levels <= 256
            assert all(notice.isprintable() for notice in found.notices)


def packed(member: str, data: bytes) -> bytes:
    """A .npz of four grey images with labels, one member of which is the bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, whole in {**ARRAYS, member: data}.items():
            archive.writestr(f"{name}.npy", whole)
    return content.getvalue()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "log": log,
    "header": header,
    "commands": commands,
    "config": config,
    "override": override,
    "meta": meta,
    "frame": frame,
    "image": image,
    "npz": npz,
}
