"""cifar10, cifar100, mnist, fashion_mnist and svhn: downloaded, verified and cached by torchvision under `data.root`.

The official test split stays as it is; the validation split is cut from the official training images.
"""

import hashlib
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch

from pixeltui.config import Data
from pixeltui.data import matlab
from pixeltui.data.sets import Arrays, Progress, Source
from pixeltui.data.torchvision_files import SETS, on_disk
from pixeltui.errors import UserError, printable

ANOTHER_ROOT = "--set data.root=DIR, of `pixeltui data` with --root DIR"
NETWORK_TIMEOUT = 30  # seconds without an answer


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


_library: Any = None  # declarations live as long as this object


def _declare_operators() -> None:
    global _library
    if _library is None:
        new_library: Any = torch.library.Library
        _library = new_library("torchvision", "FRAGMENT")
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
            raise _mendable(name, root, dataset_class, error) from error
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
            f"cannot write to data.root, {printable(root)}: {error.strerror}; choose another folder with {ANOTHER_ROOT}"
        ) from error


def _mendable(name: str, root: Path, dataset_class: Any, error: Exception) -> UserError:
    files = SETS[name]
    reason = _one_line(error)
    network = isinstance(error, URLError | ConnectionError | TimeoutError) or "urlopen error" in str(error)
    if isinstance(error, OSError) and not network:
        return UserError(f"{name}: {reason}; make room or choose another folder with {ANOTHER_ROOT}")
    if on_disk(name, root) and not network:
        where = " and ".join(printable(root / file) for file in files.remove)
        return UserError(f"{name} on disk is damaged ({reason}); remove {where} and run again to get it anew")
    published = _published(name, dataset_class)
    there = [root / file for file, md5 in published.items() if (root / file).is_file() and not _is(root / file, md5)]
    if there:
        reason += f", and {', '.join(map(printable, there))} is not the published file: its checksum differs"
    names = [file.rpartition("/")[2] for file in files.downloads]
    source = files.url if len(names) == 1 else f"{', '.join(names)} from {files.url}"
    return UserError(
        f"{name} could not be downloaded ({reason}); without a network, get {source} elsewhere and put "
        f"{'it' if len(names) == 1 else 'them'}, as downloaded, into {printable((root / files.downloads[0]).parent)}"
    )


def _published(name: str, dataset_class: Any) -> dict[str, str]:
    """The md5 of each file in `downloads`, from torchvision."""
    files = SETS[name].downloads
    if name == "svhn":
        sums = [md5 for _, file, md5 in dataset_class.split_list.values() if file in files]
    elif hasattr(dataset_class, "tgz_md5"):
        sums = [dataset_class.tgz_md5]
    else:
        sums = [md5 for _, md5 in dataset_class.resources]
    return dict(zip(files, sums, strict=True))


def _is(path: Path, md5: str) -> bool:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5


def _one_line(error: Exception) -> str:
    """The cause alone, where it is one of urllib's: "<urlopen error [Errno -2] Name or service not known>"."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    cause = re.search(r"<urlopen error (?:\[Errno [^]]*\] )?([^>]*)>", text)
    return cause[1] if cause else text[:200]


@contextmanager
def _download_progress(progress: Progress | None) -> Iterator[None]:
    """torchvision's downloads report bytes to `progress` instead of drawing on stderr, and give up on a dead line."""
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
