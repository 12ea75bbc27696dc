"""cifar10, cifar100, mnist, fashion_mnist and svhn: downloaded, verified and cached by torchvision under `data.root`.

The official test split stays as it is; the validation split is cut from the official training images.
"""

import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pixeltui.config import Data
from pixeltui.data import matlab
from pixeltui.data.sets import Arrays, Progress, Source
from pixeltui.data.words import printable
from pixeltui.errors import UserError

NETWORK_TIMEOUT = 30  # seconds without an answer


class Files(NamedTuple):
    """Where a set lies, below data.root."""

    torchvision: str  # its class in torchvision.datasets
    unpacked: tuple[str, ...]  # there when the set is on disk
    downloads: tuple[str, ...]  # what to put there by hand, as it is downloaded
    url: str


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SVHN = ("train_32x32.mat", "test_32x32.mat")


def _idx_files(name: str, url: str) -> Files:
    unpacked = tuple(f"{name}/raw/{file}" for file in _IDX)
    return Files(name, unpacked, tuple(f"{file}.gz" for file in unpacked), url)


SETS = {
    "cifar10": Files(
        "CIFAR10",
        (*(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)), "cifar-10-batches-py/test_batch"),
        ("cifar-10-python.tar.gz",),
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    "cifar100": Files(
        "CIFAR100",
        ("cifar-100-python/train", "cifar-100-python/test"),
        ("cifar-100-python.tar.gz",),
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    ),
    "mnist": _idx_files("MNIST", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
    "fashion_mnist": _idx_files("FashionMNIST", "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"),
    "svhn": Files("SVHN", _SVHN, _SVHN, "http://ufldl.stanford.edu/housenumbers/"),
}


def cifar10(config: Data, progress: Progress | None = None) -> Source:
    return _load("cifar10", config, progress)


def cifar100(config: Data, progress: Progress | None = None) -> Source:
    return _load("cifar100", config, progress)


def mnist(config: Data, progress: Progress | None = None) -> Source:
    return _load("mnist", config, progress)


def fashion_mnist(config: Data, progress: Progress | None = None) -> Source:
    return _load("fashion_mnist", config, progress)


def svhn(config: Data, progress: Progress | None = None) -> Source:
    return _load("svhn", config, progress)


def on_disk(name: str, root: Path) -> bool:
    """Whether the files are there, unpacked; their checksums are looked at when they are loaded."""
    return all((root / file).is_file() for file in SETS[name].unpacked)


def import_datasets() -> Any:
    """torchvision.datasets; the one place that imports torchvision.

    A torchvision built for CUDA fails beside a torch built for the CPU, because its compiled operators do not load. The
    data sets need none of them: the two that its Python code asks for at import are declared, and the import succeeds.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from torchvision import datasets
            except RuntimeError as error:
                if "torchvision::nms" not in str(error):
                    raise
                _declare_operators()
                from torchvision import datasets
    except (ImportError, RuntimeError, OSError) as error:
        raise UserError(
            f"torchvision cannot be imported ({_one_line(error)}); install the version that goes with torch "
            f"{torch.__version__}: pip install --upgrade torch torchvision"
        ) from error
    return datasets


_library: torch.library.Library | None = None  # declarations live as long as this object


def _declare_operators() -> None:
    global _library
    if _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[module]  # half imported


def _load(name: str, config: Data, progress: Progress | None) -> Source:
    root = Path(config.root).expanduser()
    files = SETS[name]
    dataset_class = getattr(import_datasets(), files.torchvision)
    if not on_disk(name, root):
        _check_writable(root)
    with _download_progress(progress), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision unpacks without a tarfile filter
        try:
            if name == "svhn":
                train, test = (_svhn(dataset_class, root, split) for split in ("train", "test"))
                classes = tuple("0123456789")
            else:
                official = [dataset_class(root, train=is_train, download=True) for is_train in (True, False)]
                train, test = (_arrays(part.data, part.targets) for part in official)
                classes = tuple("0123456789") if name == "mnist" else tuple(official[0].classes)
        except Exception as error:  # the network, the disk, archives and pickles each have exceptions of their own
            raise _mendable(name, root, error) from error
    return Source(name=name, where=name, train=train, test=test, classes=classes, levels=256)


def _arrays(images: Any, labels: Any) -> Arrays:
    """From [N, H, W] or [N, H, W, C]."""
    images = np.asarray(images)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Arrays(np.ascontiguousarray(images), np.asarray(labels, dtype=np.int64))


def _svhn(dataset_class: Any, root: Path, split: str) -> Arrays:
    """torchvision downloads and verifies; read here, because torchvision's reader needs scipy."""
    from torchvision.datasets.utils import download_url

    url, file, md5 = dataset_class.split_list[split]
    download_url(url, root, file, md5)
    contents = matlab.read((root / file).read_bytes())
    images = contents["X"].transpose(3, 2, 0, 1)
    labels = contents["y"].astype(np.int64).reshape(-1) % 10  # the file's label of the digit 0 is 10
    return Arrays(np.ascontiguousarray(images), labels)


def _check_writable(root: Path) -> None:
    import tempfile

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise UserError(
            f"cannot write to data.root, {printable(root)}: {error.strerror}; choose another folder with "
            "--set data.root=DIR"
        ) from error


def _mendable(name: str, root: Path, error: Exception) -> UserError:
    files = SETS[name]
    reason = _one_line(error)
    if isinstance(error, OSError) and error.filename is not None:  # the disk, not the network
        return UserError(f"{name}: {reason}; make room or choose another folder with --set data.root=DIR")
    if on_disk(name, root):
        where = ", ".join(printable(root / file) for file in files.unpacked)
        return UserError(f"{name} on disk is damaged ({reason}); remove {where} and run again to get it anew")
    where = ", ".join(printable(root / file) for file in files.downloads)
    source = files.url if not files.url.endswith("/") else f"{files.url}{{{','.join(map(_base, files.downloads))}}}"
    return UserError(
        f"{name} could not be downloaded ({reason}); without a network, get {source} elsewhere and put it, still "
        f"packed, at {where}"
    )


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__


@contextmanager
def _download_progress(progress: Progress | None) -> Iterator[None]:
    """torchvision's downloads report to `progress` in bytes, instead of drawing on stderr, and give up on a dead line."""
    from torchvision.datasets import utils

    class Bar:
        def __init__(self, *, total: int | None = None, **_: object) -> None:
            self.done, self.total = 0, total or 0

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, n: int) -> None:
            self.done += n
            if progress:
                progress(self.done, self.total)

    before, timeout = getattr(utils, "tqdm", None), socket.getdefaulttimeout()
    utils.tqdm = Bar
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        utils.tqdm = before
        socket.setdefaulttimeout(timeout)
