"""Every knob, once: type, range, unit, meaning. Loading: built-in default < preset < file < `--set`.

The tables below are the built-in default, which is the preset `pixelcnn`. The repository's config.toml is written from
them (`python -m pixeltui.config > config.toml`) and a test holds the two together.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pixeltui import registry, toml
from pixeltui.config_checks import PERIOD, impossible
from pixeltui.errors import UsageError, did_you_mean
from pixeltui.toml import Entry, Problem

PRESETS_DIR = Path(__file__).parent / "presets"
DEFAULT_PRESET = "pixelcnn"
PRESET = ("preset",)

Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Period = Annotated[int, Meta(ge=0)] | str


class ConfigError(UsageError):
    """Everything that is wrong with a config, one line each."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Augmentations(Table, frozen=True, kw_only=True):
    random_crop: Annotated[
        int, Meta(ge=0, le=32, description="pixels of zero padding before a random crop; 0: off")
    ] = 0
    horizontal_flip: Annotated[bool, Meta(description="mirror every other image, at random")] = True
    color_jitter: Annotated[
        float, Meta(ge=0, le=1, description="largest relative change of brightness, contrast and saturation; 0: off")
    ] = 0.0
    cutout: Annotated[int, Meta(ge=0, le=64, description="side in pixels of a square set to 0; 0: off")] = 0


class Data(Table, frozen=True, kw_only=True):
    name: Annotated[
        str,
        Meta(description=f"{', '.join(registry.DATASETS)}; or the path of a folder of images or of a .npz"),
    ] = "cifar10"
    root: Annotated[str, Meta(description="folder for downloads and decoded folders of images")] = "~/.cache/pixeltui"
    split_seed: Annotated[Count, Meta(description="seed of the splits that the source lacks")] = 0
    levels: Annotated[
        int, Meta(ge=0, le=256, description="values that a sub-pixel can take, 2 to 256; 0: read off the data")
    ] = 0
    augmentations: Annotated[
        Augmentations, Meta(description="of training images, on the device, a fresh draw for each image")
    ] = Augmentations()


class Attention(Table, frozen=True, kw_only=True):
    after: Annotated[
        tuple[Positive, ...], Meta(description="blocks, counted from 1, that causal self-attention follows; []: none")
    ] = ()
    heads: Annotated[Positive, Meta(description="attention heads; divides model.channels")] = 4


class Model(Table, frozen=True, kw_only=True):
    architecture: Annotated[
        str,
        Meta(
            description="depthwise (one masked stack, a kernel for each feature between 1x1 convolutions), two_stream "
            "(vertical and horizontal stack of dense kernels, no blind spot) or single_stack (one, masked, dense)"
        ),
    ] = "depthwise"
    channels: Annotated[Positive, Meta(description="feature maps of a block")] = 224
    blocks: Annotated[Positive, Meta(description="residual blocks")] = 17
    first_kernel: Annotated[Positive, Meta(description="width in pixels of the first convolution's kernel, odd")] = 7
    kernel: Annotated[Positive, Meta(description="width in pixels of the blocks' kernels, odd")] = 3
    norm: Annotated[
        str, Meta(description="layer or rms (both over the channels of a pixel), batch (BatchNorm) or none")
    ] = "layer"
    gate: Annotated[
        str,
        Meta(
            description="none (silu(a)), or of two halves a, b of a block silu (a silu(b)) or tanh (tanh(a) sigmoid(b))"
        ),
    ] = "none"
    linear_skip: Annotated[
        Count, Meta(description="linear features of nearby pixels that reach the head past the blocks; 0: none")
    ] = 24
    dropout: Annotated[Share, Meta(description="share of a block's features dropped in training")] = 0.0
    head: Annotated[
        str,
        Meta(description="dmol (discretised mixture of logistics) or categorical (a softmax over the levels)"),
    ] = "dmol"
    mixtures: Annotated[Positive, Meta(description="logistics in the mixture; head dmol only")] = 20
    channel_autoregressive: Annotated[
        bool,
        Meta(description="a pixel's channels in order, each given those before; false: independent of one another"),
    ] = True
    conditional: Annotated[bool, Meta(description="learn p(image | class) where the data has labels")] = True
    label_dropout: Annotated[
        Share,
        Meta(description="share of images trained on without their label, for unconditional sampling and guidance"),
    ] = 0.1
    attention: Annotated[Attention, Meta(description="causal self-attention")] = Attention()


class Train(Table, frozen=True, kw_only=True):
    epochs: Annotated[
        Count, Meta(description="passes over the training images but an incomplete last batch; used where steps is 0")
    ] = 50
    steps: Annotated[Count, Meta(description="optimizer steps; 0: as many as epochs say")] = 0
    batch_size: Annotated[Positive, Meta(description="images a step, over all processes")] = 64
    accumulate: Annotated[
        Positive, Meta(description="micro-batches that a step's batch is cut into: less memory, the same gradient")
    ] = 1
    checkpoint_activations: Annotated[
        bool,
        Meta(
            description="compute blocks once more for the gradients instead of keeping what is in them: less memory, "
            "the same losses, more time"
        ),
    ] = False
    optimizer: Annotated[
        Literal["adam", "adamw", "muon"],
        Meta(
            description="muon (of kernels that give features, adamw of the rest), adamw (decoupled decay) or adam (L2)"
        ),
    ] = "muon"
    lr: Annotated[float, Meta(gt=0, description="peak learning rate of adam and adamw")] = 2e-3
    muon_lr: Annotated[
        float,
        Meta(gt=0, description="peak learning rate of muon; follows lr where that is changed while training"),
    ] = 0.02
    betas: Annotated[tuple[Share, Share], Meta(description="decay of the optimizer's first and second moment")] = (
        0.9,
        0.95,
    )
    weight_decay: Annotated[
        float,
        Meta(
            ge=0,
            description="share of matrices and kernels that a step takes off, times the learning rate (adam: L2); "
            "with muon, halve it for twice the steps",
        ),
    ] = 0.01
    warmup_epochs: Annotated[float, Meta(ge=0, description="epochs over which the learning rate rises from 0")] = 1.0
    schedule: Annotated[
        Literal["cosine", "constant"], Meta(description="after the warm-up: cosine to 0 at the end, or constant")
    ] = "cosine"
    grad_clip: Annotated[float, Meta(ge=0, description="largest L2 norm of the gradient; 0: no clipping")] = 100.0
    ema_decay: Annotated[
        Share, Meta(description="decay a step of the weights' exponential moving average; 0: none")
    ] = 0.9995
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Meta(
            description="of the network; the loss is always fp32. auto: the fastest that the device does well. On CUDA "
            "what stays in fp32 beside bf16 or fp16 is multiplied in TF32, unless deterministic; fp32 is full fp32"
        ),
    ] = "auto"
    compile: Annotated[
        bool | Literal["auto"],
        Meta(
            description="torch.compile the network, which takes half a minute. auto: on one GPU, in runs of 20,000 "
            "steps and more that are not deterministic; hardly pays on a CPU"
        ),
    ] = "auto"
    device: Annotated[str, Meta(description="auto, cpu, cuda, cuda:1, ...")] = "auto"
    seed: Annotated[Count, Meta(description="of initialisation, order, augmentation and dropout")] = 0
    deterministic: Annotated[
        bool, Meta(description="bit for bit the same on CUDA too, at some cost in speed; the CPU always is")
    ] = False
    eval_every: Annotated[Period, Meta(description='validation: steps, or "2 epochs"; 0: only at the end')] = "1 epoch"
    checkpoint_every: Annotated[Period, Meta(description='steps, or "1 epoch"; 0: only at the end')] = "1 epoch"
    keep: Annotated[Positive, Meta(description="newest checkpoints kept, beside the best")] = 3


class Sample(Table, frozen=True, kw_only=True):
    every: Annotated[Period, Meta(description='samples while training: steps, or "1 epoch"; 0: never')] = "1 epoch"
    count: Annotated[Positive, Meta(description="images")] = 16
    temperature: Annotated[float, Meta(gt=0, description="divides the log-probabilities; 1: the model's own")] = 1.0
    top_p: Annotated[
        float, Meta(gt=0, le=1, description="smallest set of levels with this probability (nucleus); 1: all")
    ] = 1.0
    guidance: Annotated[
        float, Meta(ge=0, description="classifier-free guidance: 0 unconditional, 1 conditional, more: stronger")
    ] = 1.0
    seed: Annotated[Count, Meta(description="the same seed, the same images")] = 0
    time_share: Annotated[
        float, Meta(gt=0, le=1, description="largest share of the time that live samples may take from training")
    ] = 0.1


class Log(Table, frozen=True, kw_only=True):
    every: Annotated[Positive, Meta(description="steps between step events")] = 10
    tensorboard: Annotated[bool, Meta(description="write event files for TensorBoard too")] = False


class Ui(Table, frozen=True, kw_only=True):
    theme: Annotated[Literal["dark", "light"], Meta(description="colours")] = "dark"
    curves_per_second: Annotated[float, Meta(gt=0, le=30, description="largest refresh rate of curves")] = 4.0
    images_per_second: Annotated[float, Meta(gt=0, le=30, description="largest refresh rate of samples")] = 2.0
    low_bandwidth: Annotated[
        bool, Meta(description="for slow connections: updates every 7 s, images every 20 s, 256 colours")
    ] = False
    graph_symbol: Annotated[
        Literal["auto", "braille", "block", "ascii"],
        Meta(description="what curves are drawn with; auto: braille dots, ascii where there are no colours"),
    ] = "auto"
    keys: Annotated[
        dict[str, str],
        Meta(description='actions to keys, as in pause = "space,P"; the ids are in docs/KEYS.md'),
    ] = {}


class Config(Table, frozen=True, kw_only=True):
    preset: Annotated[str, Meta(description="what the keys below were changed from")] = DEFAULT_PRESET
    data: Annotated[Data, Meta(description="what is learnt")] = Data()
    model: Annotated[Model, Meta(description="the network and its distribution")] = Model()
    train: Annotated[Train, Meta(description="how it is learnt")] = Train()
    sample: Annotated[
        Sample, Meta(description="images drawn while training, and the defaults of `pixeltui sample`")
    ] = Sample()
    log: Annotated[Log, Meta(description="what is written down")] = Log()
    ui: Annotated[Ui, Meta(description="the console; in ~/.config/pixeltui/config.toml for all runs")] = Ui()


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS_DIR.glob("*.toml"))


def load_config(path: str | Path | None = None, preset: str | None = None, overrides: Iterable[str] = ()) -> Config:
    """The config from a TOML file, a preset and "key=value" strings; built-in default < preset < file < overrides.

    The preset is that of an override "preset=NAME", else `preset`, else the file's own `preset` key, else the default.
    A string for `overrides` is one of them.
    Raises ConfigError, whose message names everything that is wrong, one line each.
    """
    problems: list[Problem] = []
    entries = toml.read_file(Path(path), problems) if path is not None else []
    if preset is not None:
        entries.append(Entry(PRESET, preset, "--preset"))
    for override in [overrides] if isinstance(overrides, str) else overrides:
        entries += toml.read_override(override, Config, problems)
    layers = _preset_entries(entries, problems) + entries
    config = toml.build(Config, layers, problems)
    source = {entry.key: entry for entry in layers}
    for key, message in impossible(config):
        entry = source.get(tuple(key.split(".")))
        problems.append(Problem(entry.where if entry else "config", f"{key}: {message}"))
    if problems:
        place = {entry.where: number for number, entry in reversed([*enumerate(layers)])}
        problems.sort(key=lambda problem: place.get(problem.where, -1))
        raise ConfigError("\n".join(dict.fromkeys(str(problem) for problem in problems)))
    return config


def load_saved_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """The config of a run, without the checks that hang on this machine; what this version lacks is passed over.

    Raises ConfigError where it cannot be read at all.
    """
    problems: list[Problem] = []
    entries = toml.read_file(path, problems)
    if problems:
        raise ConfigError("\n".join(map(str, problems)))
    entries += [entry for override in overrides for entry in toml.read_override(override, Config, [])]
    return toml.build(Config, entries, [])


def dump_config(config: Config) -> str:
    """TOML that load_config reads back to an equal config."""
    import tomli_w

    return tomli_w.dumps(msgspec.to_builtins(config))


def period_steps(period: int | str, steps_per_epoch: int) -> int:
    """Steps between two occurrences; 0: never."""
    if isinstance(period, int):
        return period
    match = PERIOD.fullmatch(period)
    assert match, period
    return int(match[1]) * (steps_per_epoch if match[2].startswith("epoch") else 1)


def total_steps(train: Train, steps_per_epoch: int) -> int:
    return train.steps or train.epochs * steps_per_epoch


def _preset_entries(entries: list[Entry], problems: list[Problem]) -> list[Entry]:
    """What is in the preset that the last of the entries to name one names."""
    chosen, valid = DEFAULT_PRESET, preset_names()
    for _, name, where in (entry for entry in entries if entry.key == PRESET and isinstance(entry.value, str)):
        chosen = name
        if name not in valid:
            problems.append(Problem(where, f"no preset {name!r}{did_you_mean(name, valid)}"))
    return toml.read_file(PRESETS_DIR / f"{chosen}.toml", problems) if chosen in valid else []


def documented() -> str:
    """config.toml: every key with its default, range and meaning."""
    head = (
        "# pixeltui: every key, its default and its meaning. Keys left out keep the value of the preset.\n"
        "#   pixeltui train --config config.toml --set train.lr=5e-4\n"
        "# Order of precedence: built-in default < preset < this file < --set.\n"
    )
    return head + toml.documented(Config())


def as_dict(config: Config) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(config)
    return builtins


if __name__ == "__main__":
    import sys

    sys.stdout.write(documented())
