"""Where torchvision's data sets lie below `data.root`, in torchvision's own layout; known without importing it."""

from pathlib import Path
from typing import NamedTuple


class Files(NamedTuple):
    """Where a set lies, below data.root."""

    torchvision: str  # its class in torchvision.datasets
    unpacked: tuple[str, ...]  # there when the set is on disk
    downloads: tuple[str, ...]  # what to put there by hand, as it is downloaded
    url: str

    @property
    def remove(self) -> tuple[str, ...]:
        """What to remove to get the set anew."""
        folder = self.unpacked[0].rpartition("/")[0]
        return (folder,) if folder else self.unpacked


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


def on_disk(name: str, root: Path) -> bool:
    """Whether the files are there, unpacked; their checksums are looked at when they are loaded."""
    return all((root / file).is_file() for file in SETS[name].unpacked)
