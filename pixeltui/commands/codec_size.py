"""Compresses held-out images with a model, reads them back, and holds the size of the file against bits/dim."""

import argparse
import copy
import io
import math
import sys
import time
from typing import Any

import torch
from PIL import Image, features
from torch import Tensor

from pixeltui.commands import options
from pixeltui.commands.progress import bar
from pixeltui.config import load_config
from pixeltui.core import ConditionalPixelCNN, build_model
from pixeltui.data import DataSet, Split, load
from pixeltui.errors import UserError, printable
from pixeltui.store.rundir import find_run
from pixeltui.store.summary import list_runs
from pixeltui.train.codec import NotDecoded, coder, compress, decompress
from pixeltui.train.evaluate import diverged, image_nats, likelihood
from pixeltui.train.load import load_model
from pixeltui.train.optim import lr_at
from pixeltui.train.precision import pick_device, pick_precision
from pixeltui.train.update import Updater

IMAGES = 64
SUB_PIXELS = 100_000
"""of the images coded where their number is not said: of small ones IMAGES are too few to measure a per cent"""
STEPS = 200
"""of the model of digits that is trained where there is no run"""
SHEET = 16
"""images beside each other in the PNG and the WebP"""


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The run, or the model trained in its place, and what `code` measures. Raises UserError."""
    coder()  # what is missing is told before a model is loaded
    model, data, what = _model(args, pick_device(args.device))
    count = args.images or max(IMAGES, math.ceil(SUB_PIXELS / math.prod(model.image_shape)))
    split = data.test.spread(count).to(next(model.parameters()).device)
    return {**what, "data": data.name, "split": "test", **code(model, split, args.batch)}


def code(model: ConditionalPixelCNN, split: Split, batch_size: int) -> dict[str, Any]:
    """Sizes and speeds as a JSON tree. Raises UserError where an image does not come back bit for bit."""
    labels = split.labels if model.num_classes else None
    dims = split.images.numel()
    score = likelihood(image_nats(model, split, batch_size=batch_size))
    if not math.isfinite(score.bits_per_dim):
        raise diverged()
    began = time.perf_counter()
    with bar(f"writing {len(split)} images") as progress:
        written = compress(model, split.images, labels, batch_size=batch_size, progress=progress)
    half = time.perf_counter()
    try:
        with bar(f"reading {len(split)} images") as progress:
            images = decompress(model, written.data, labels, progress=progress)
    except NotDecoded as error:
        raise UserError(f"the images could not be read back: {error}") from None
    ended = time.perf_counter()
    if not torch.equal(images, split.images.cpu()):
        raise UserError("the images read back are not those that were written")
    file_bits = 8 * len(written.data) / dims
    sizes = {f"{name}_bits_per_dim": 8 * size / dims for name, size in other_sizes(images).items()}
    return {
        "images": len(split),
        "batch": batch_size,
        "bits_per_dim": score.bits_per_dim,
        "bits_per_dim_se": score.bits_per_dim_se,
        "coded_bits_per_dim": written.ideal_bits / dims,
        "file_bits_per_dim": file_bits,
        "ratio": file_bits / score.bits_per_dim,
        "file_bytes": len(written.data),
        "header_bytes": written.header_bytes,
        "decoded_bit_for_bit": True,
        "class_bits_per_image": 0.0 if labels is None else math.log2(model.num_classes),
        **sizes,
        "write_images_per_second": len(split) / (half - began),
        "read_images_per_second": len(split) / (ended - half),
        "device": split.images.device.type,
        "threads": torch.get_num_threads(),
    }


def _model(args: argparse.Namespace, device: torch.device) -> tuple[ConditionalPixelCNN, DataSet, dict[str, Any]]:
    name = args.run
    if name is None:
        name = next((run.path for run in list_runs(args.runs_dir) if run.state == "finished"), None)
        if name is None:
            _say(f"no RUN and none finished: a small model of the built-in digits is trained for {STEPS} steps")
            return _of_digits(device)
        _say(f"no RUN: the newest finished one is taken, {name}")
    run_dir = find_run(args.runs_dir, name)
    loaded = load_model(run_dir, checkpoint=args.checkpoint, weights=args.weights, device=device, warn=options.warn)
    data = load(loaded.config.data)
    loaded.check(data)
    what = {"run": run_dir.name, "checkpoint": loaded.checkpoint, "step": loaded.step, "weights": loaded.weights}
    return loaded.model, data, what


def _of_digits(device: torch.device) -> tuple[ConditionalPixelCNN, DataSet, dict[str, Any]]:
    config = load_config(preset="quick")
    data = load(config.data)
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        model = build_model(config, data.image_shape, data.levels, data.num_classes).to(device)
        precision = pick_precision(config.train.precision, device)
        updater = Updater(config, model, copy.deepcopy(model), data.to(device), precision)
        for step in range(STEPS):
            lr = lr_at(step, peak=config.train.lr, total_steps=STEPS, warmup_steps=STEPS / 10, schedule="cosine")
            updater.update(step, lr)
    return updater.average, data, {"run": None, "checkpoint": None, "step": STEPS, "weights": "ema"}


def _say(message: str) -> None:
    print(f"pixeltui: {printable(message)}", file=sys.stderr)


def other_sizes(images: Tensor) -> dict[str, int]:
    """Bytes of the images, on one sheet, by common lossless codecs; of those that this installation of Pillow has."""
    count, channels, height, width = images.shape
    rows = math.ceil(count / SHEET)
    padded = torch.zeros(rows * SHEET, channels, height, width, dtype=torch.uint8)
    padded[:count] = images.cpu()
    sheet = padded.view(rows, SHEET, channels, height, width).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    picture = Image.fromarray(sheet.numpy() if channels == 3 else sheet[:, :, 0].contiguous().numpy())

    def size(name: str, **how: Any) -> int:
        encoded = io.BytesIO()
        picture.save(encoded, name, **how)
        return encoded.tell()

    sizes = {"png": size("PNG", optimize=True)}
    if features.check("webp"):
        sizes["webp"] = size("WEBP", lossless=True, quality=100, method=6, exact=True)
    return sizes


def as_text(result: dict[str, Any]) -> str:
    """A table, and what the sizes mean."""
    name = result["run"] or "a small model trained now"
    dims = 8 * result["file_bytes"] / result["file_bits_per_dim"]
    lines = [
        f"codec, {name}, {result['data']}, {result['images']} images of the {result['split']} split, "
        f"{result['device']}, {options.counted(result['threads'], 'thread')}, {result['batch']} images at once",
        f"{'':<40}{'bits/dim':>9}  {'bytes':>10}",
    ]
    rows = [
        ("likelihood, as `pixeltui eval` reports it", "bits_per_dim"),
        ("the distributions coded with", "coded_bits_per_dim"),
        (f"the file, {result['header_bytes']} bytes of header included", "file_bits_per_dim"),
        ("PNG of all images", "png_bits_per_dim"),
        ("lossless WebP of all images", "webp_bits_per_dim"),
    ]
    for what, key in rows:
        if key in result:
            lines.append(f"{what:<42}{result[key]:>7.4f}  {result[key] * dims / 8:>10,.0f}")
    lines.append(
        f"the file is {abs(result['ratio'] - 1):.3%} {'longer' if result['ratio'] >= 1 else 'shorter'} than the "
        f"likelihood says, and was decoded bit for bit; "
        f"{result['write_images_per_second']:.2f} images/s written, {result['read_images_per_second']:.2f} read"
    )
    if result["class_bits_per_image"]:
        share = result["class_bits_per_image"] * result["images"] / dims
        lines.append(
            f"given the classes, which writer and reader know, as in the likelihood: written down they are "
            f"{result['class_bits_per_image']:.2f} bits an image, {share:.4f} bits/dim"
        )
    return "\n".join(lines)
