"""Whole examples of each format, which fuzzing begins from."""

import io
import json
import zipfile

import msgspec
import numpy as np
import torch
from PIL import Image

from pixeltui import events
from pixeltui.config import Config, dump_config
from pixeltui.data.grid import grid_png

STEP = {"step": 3, "epoch": 0.5}
EVENTS = [
    events.Started(
        t=1.7e9,
        step=0,
        total_steps=9,
        steps_per_epoch=3,
        parameters=12,
        device="cpu",
        precision="fp32",
        resumed=True,
        peak_lr=0.1,
    ),
    events.Step(t=1.7e9, **STEP, loss=1.5, bits_per_dim=2.2, lr=0.1, grad_norm=None, images_per_second=9.0, skipped=1),
    events.Evaluated(
        t=1.7e9, **STEP, split="val", weights="ema", images=5, bits_per_dim=2.0, nats_per_dim=1.4, perplexity=4.0
    ),
    events.Telemetry(t=1.7e9, step=3, gpu_busy=0.97, gpu_memory=9, gpu_power=650.0, cores_busy=1.5, cores=2, memory=7),
    events.CheckpointSaved(t=1.7e9, step=3, path="checkpoints/step-00000003.safetensors", bytes=9, seconds=0.1),
    events.SampleSaved(t=1.7e9, step=3, path="samples/step-00000003.png", count=4),
    events.StateChanged(t=1.7e9, state="paused", step=3, reason="asked to pause"),
    events.Notice(t=1.7e9, level="warning", kind="disk", message="no room \x1b[31m"),
    events.Notice(t=1.7e9, level="info", kind="lr", message="peak", step=3, peak_lr=0.2),
    events.Acknowledged(t=1.7e9, id="x", command="pause", ok=False, message="why", step=3),
]
COMMANDS = [
    events.Pause(),
    events.DrawSample(count=3, temperature=0.5, labels=(1, 2)),
    events.Stop(reason="because"),
    events.SetLearningRate(lr=0.1),
]
FRAMES = [
    events.Frame(step=3, rows_done=1, levels=4, shape=(2, 1, 2, 3), pixels=bytes(range(12)), labels=("a", "b")),
    events.Frame(step=3, rows_done=0, levels=256, shape=(1, 3, 2, 2), pixels=bytes(12), labels=()),
]
LINES = [msgspec.json.encode(event) for event in EVENTS]
HEADER = {
    "__metadata__": {"pixeltui": '{"step": 3}', "checksums": '{"": 0, "w": 1, "v": 2}'},
    "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "v": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]},
}


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """A picture of 4x4 pixels in a file format."""
    content = io.BytesIO()
    picture = Image.frombytes("L", (4, 4), bytes(range(0, 160, 10))).convert(mode)
    picture.save(content, kind, **options)
    return content.getvalue()


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
    return content.getvalue()


ARRAYS = {"images": npy(np.arange(16, dtype=np.uint8).reshape(4, 2, 2) % 5), "labels": npy(np.array([0, 1, 0, 1]))}
PICTURES = [
    *(encoded("PNG", mode) for mode in ("RGB", "L", "P", "LA", "RGBA", "1", "I;16")),
    *(encoded(kind) for kind in ("JPEG", "BMP", "GIF", "TIFF", "PPM", "TGA", "PCX", "WEBP")),
    encoded("GIF", "P", save_all=True, append_images=[Image.new("P", (4, 4))]),
    encoded("TIFF", compression="tiff_lzw"),
    grid_png(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), levels=5, names=["a", "b", "c"]),
]
SEEDS = {
    "image": PICTURES,
    "npz": [zipped(**ARRAYS), *ARRAYS.values(), npy(np.array(["cat", "dog"])), npy(np.int64(7))],
    "log": [b"\n".join([*LINES, b""]), *(line + b"\n" for line in LINES), b'{"type":"step","t":1\n\xff\n'],
    "header": [
        json.dumps(HEADER).encode(),
        (2).to_bytes(8, "little") + b"{}",
        b"PK\x03\x04",
        b"\x80\x04",
    ],
    "commands": [msgspec.json.encode(command) for command in COMMANDS],
    "config": [dump_config(Config()).encode(), b'[train]\nlr = "x"\n[modle]\nchannels = 3\n[ui.keys]\npause = "p"\n'],
    "override": [b"train.lr=5e-4", b"data.name='a/b'", b"train.betas=[0.9, 0.99]", b"train={lr=3}", b"ui.keys.x=y"],
    "frame": [msgspec.msgpack.encode(frame) for frame in FRAMES],
    "meta": [
        b'{"schema":1,"created":1.7e9,"preset":"quick","data":{"name":"digits"},"tags":["a"],"note":""}',
        b'{"pid": 3, "host": "h", "since": 1.7e9}',
    ],
}
