"""What `pixeltui eval` measures, as a JSON tree."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec
import torch
from torch import Tensor

from pixeltui.commands import drawing, options
from pixeltui.commands.progress import bar
from pixeltui.data import DataSet, Expected, Split, load
from pixeltui.errors import UsageError, UserError
from pixeltui.store.rundir import find_run
from pixeltui.train import judge
from pixeltui.train.bayes import class_log_probs, class_priors, classify
from pixeltui.train.draw import Plan
from pixeltui.train.evaluate import channel_nats, likelihood, mean_and_se
from pixeltui.train.frechet import prepare
from pixeltui.train.load import LoadedModel, load_model
from pixeltui.train.precision import pick_device, pick_threads

MOST_LISTED = 12


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Raises UserError."""
    run_dir = find_run(args.runs_dir, args.run)
    device = pick_device(args.device)
    chosen = {"checkpoint": args.checkpoint, "device": device, "warn": options.warn}
    loaded = load_model(run_dir, weights="raw" if args.weights == "raw" else "ema", **chosen)
    data = _load_data(args.data, loaded, whole=args.split == "all")
    if args.classify:
        _check_classes(data, loaded)
    if args.fid:
        prepare()
    split = _chosen(data, args.split).to(device)
    data = data.to(device)
    pick_threads(_batch_size(loaded, args), loaded.model.image_shape, loaded.config.model.channels)
    if not len(split):
        there = " and ".join(name for name, split in data.splits.items() if len(split))
        raise UserError(f"{data.name} has no images in {args.split}: --split {there}")
    nats = _channel_nats(loaded, split, args)
    report = {
        "run": run_dir.name,
        "checkpoint": loaded.checkpoint,
        "step": loaded.step,
        "weights": loaded.weights,
        "data": data.name,
        "split": args.split,
        **likelihood_report(nats, split, data),
    }
    if args.weights == "both":
        raw = load_model(run_dir, weights="raw", **chosen)
        report |= _raw_report(nats, _channel_nats(raw, split, args), split, data)
    if args.classify:
        report["classification"] = _classification(loaded, split, data, args)
    if args.samples:
        report["samples"] = _samples(loaded, data, args)
    return report


def _load_data(name: str | None, loaded: LoadedModel, *, whole: bool) -> DataSet:
    """The run's own, or what `name` names, with labels that are the model's. Raises UserError."""
    config = loaded.config.data
    if name is not None:
        classes = loaded.classes if loaded.model.num_classes else ()
        model = loaded.model
        expected = Expected(levels=model.levels, classes=classes, image_shape=model.image_shape, whole=whole)
        data = load(msgspec.structs.replace(config, name=name), expected=expected)
        for notice in data.notices:
            options.warn(notice)
    else:
        data = load(config)
        if data.checksum != loaded.data["checksum"]:
            options.warn("the data set is not the one trained on: its images, labels or splits changed")
        loaded.check(data)
    return _labelled(data, loaded)


def _chosen(data: DataSet, name: str) -> Split:
    """A split, or all images; of too few to cut, each split has all."""
    if name != "all":
        return data.splits[name]
    parts = {split.images.data_ptr(): split for split in data.splits.values() if len(split)}.values()
    labels = [split.labels for split in parts if split.labels is not None]
    return Split(torch.cat([split.images for split in parts]), torch.cat(labels) if labels else None)


def _labelled(data: DataSet, loaded: LoadedModel) -> DataSet:
    """With the model's labels of its classes, which are found by name; without labels where it knows none of them."""
    known = loaded.classes
    if not loaded.model.num_classes or data.classes in ((), known):
        return data
    strange = [name for name in data.classes if name not in known]
    if not strange:
        numbers = torch.tensor([known.index(name) for name in data.classes])
        return _relabelled(data, numbers, known)
    both = f"{data.name} has the classes {_listed(data.classes)}, the model knows {_listed(known)}"
    if len(strange) < data.num_classes or not loaded.model.label_dropout:
        raise UserError(f"{both}: name them as the model does, or leave the labels out")
    options.warn(f"{both}: the images are scored without labels")
    return _relabelled(data, None, ())


def _relabelled(data: DataSet, numbers: Tensor | None, classes: tuple[str, ...]) -> DataSet:
    """numbers: the new label of each old one, int64 [K]; None for no labels."""

    def changed(split: Split) -> Split:
        return Split(split.images, None if numbers is None or split.labels is None else numbers[split.labels])

    return replace(data, train=changed(data.train), val=changed(data.val), test=changed(data.test), classes=classes)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_LISTED]) + (f" and {len(names) - MOST_LISTED} more" * (len(names) > MOST_LISTED))


def _check_classes(data: DataSet, loaded: LoadedModel) -> None:
    if not loaded.model.num_classes:
        why = "model.conditional = false" if loaded.classes else "the run's data has no labels"
        raise UsageError(f"--classify: the model is unconditional ({why})")
    if not data.num_classes:
        raise UsageError(f"--classify: {data.name} has no labels")


def _channel_nats(loaded: LoadedModel, split: Split, args: argparse.Namespace) -> Tensor:
    with bar(f"scoring {len(split)} images, {loaded.weights} weights") as progress:
        return channel_nats(loaded.model, split, batch_size=_batch_size(loaded, args), progress=progress)


def _batch_size(loaded: LoadedModel, args: argparse.Namespace) -> int:
    size: int = args.batch_size or loaded.config.train.batch_size
    return size


def likelihood_report(nats: Tensor, split: Split, data: DataSet) -> dict[str, Any]:
    """The figures of images' channels in nats/dim, float64 [N, C], each with its standard error."""
    result = likelihood(nats.mean(1), split.labels)
    names = ("red", "green", "blue") if nats.shape[1] == 3 else ("grey",)
    channels = [mean_and_se(column / math.log(2)) for column in nats.unbind(1)]
    return {
        "images": result.images,
        "bits_per_dim": result.bits_per_dim,
        "bits_per_dim_se": result.bits_per_dim_se,
        "nats_per_dim": result.nats_per_dim,
        "nats_per_dim_se": result.nats_per_dim_se,
        "perplexity": result.perplexity,
        "perplexity_se": None if result.nats_per_dim_se is None else result.perplexity * result.nats_per_dim_se,
        "per_class": {data.classes[label]: bits for label, bits in result.per_class.items()},
        "per_class_se": {data.classes[label]: se for label, se in result.per_class_se.items()},
        "per_channel": {name: bits for name, (bits, _) in zip(names, channels, strict=True)},
        "per_channel_se": {name: se for name, (_, se) in zip(names, channels, strict=True)},
    }


def _raw_report(ema: Tensor, raw: Tensor, split: Split, data: DataSet) -> dict[str, Any]:
    """Of the raw weights, and how much worse they are than the averaged ones on the same images, in bits/dim."""
    difference, se = mean_and_se((raw - ema).mean(1) / math.log(2))
    return {"raw": likelihood_report(raw, split, data), "raw_minus_ema": difference, "raw_minus_ema_se": se}


def _classification(loaded: LoadedModel, split: Split, data: DataSet, args: argparse.Namespace) -> dict[str, Any]:
    model = loaded.model
    with bar(f"scoring {len(split)} images as each of {model.num_classes} classes") as progress:
        log_probs = class_log_probs(model, split.images, batch_size=_batch_size(loaded, args), progress=progress)
    assert split.labels is not None
    assert data.train.labels is not None
    priors = class_priors(data.train.labels, model.num_classes)
    return asdict(classify(log_probs, priors, split.labels, dims=math.prod(model.image_shape)))


def _samples(loaded: LoadedModel, data: DataSet, args: argparse.Namespace) -> dict[str, Any]:
    held_out, train = judge.comparable(data, args.split, args.samples)
    labels = held_out.labels.tolist() if held_out.labels is not None and loaded.model.num_classes else []
    plan = Plan(
        count=len(held_out),
        labels=labels,
        temperatures=(args.temperature or 1.0,),
        top_p=1.0 if args.top_p is None else args.top_p,
        guidance=1.0 if args.guidance is None else args.guidance,
        seed=args.seed or 0,
    )
    images = drawing.drawn(loaded, plan).to(held_out.images.device)
    with bar("looking for the nearest training images") as progress:
        mirrored = loaded.config.data.augmentations.horizontal_flip
        found = judge.copies(images, held_out.images, data, mirrored=mirrored, progress=progress)
    report = {
        "images": len(images),
        "temperature": plan.temperatures[0],
        "top_p": plan.top_p,
        "guidance": plan.guidance,
        "seed": plan.seed,
        "wasserstein": judge.wasserstein(images, held_out.images, train.images),
        "nearest": found.figures(),
    }
    if args.nearest is not None:
        drawing.write_file(args.nearest, judge.copies_png(images, found.samples, data))
        report["nearest_png"] = str(args.nearest.absolute())
    if args.fid:
        with bar("Inception features"):
            report["frechet"] = judge.frechet(images, held_out.images, data)
    return report
