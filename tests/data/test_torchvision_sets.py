"""torchvision's sets: real downloads of small archives in the published formats, from a server on this machine."""

import base64
import contextlib
import functools
import gzip
import hashlib
import http.server
import pickle
import struct
import sys
import tarfile
import threading

import numpy as np
import pytest

from pixeltui.config import Data
from pixeltui.data import load, matlab
from pixeltui.data.torchvision_files import SETS, on_disk
from pixeltui.data.torchvision_sets import import_datasets
from pixeltui.errors import UserError

RNG = np.random.default_rng(0)
NOWHERE = "http://127.0.0.1:9/"  # a port on which nothing listens

# scipy.io.savemat of X = arange(180) as uint8 [4, 3, 3, 5], y = [[10], [1], [2], [9], [5]] and d = [[1.5, -2.0]]
MATLAB = """
TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IE1vbiBOb3YgMjMgMjE6NTI6NDkgMjAyNgAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0PAAAA5wAAAHic42NgYPgAxGxAzAHE
nAwQwArEAkDMAsTMUAwSYwTCCCDNBMRbQAp1o9r5bTKnyXlXLGU1iu8RccybrRxQu4rLPGWipFvxAo3QpvWMetEdArZZ0+V9Kpex
GSf0ijrlz1EJrFvNbZE6Scq9ZKFmWPMGJv2YTkG77BkKvlXL2U0S+8ScC+aqBtWv4bFMmyztUbpIK7xlI7NBbJeQfc5MRb/qFRym
Sf3iLoXz1IIb1vJapU+R8SxbrB3RuonFMK5b2CF3lpJ/zUpOs+QJEq5F89VDGtfxWWdMlfUqX6IT2bYZ5GwAm0xBOA8AAAArAAAA
eJzjY2BgsABiNiDmAGJOBghghfJBNCMYMzJUAmkmqBgXIxMniAYAIsYBDg8AAAAsAAAAeJzjY2BgcABiNiDmgNIgwArlMwIxE5hm
ZEgB0pxALMAAAz/soYwDADaVAuk=
"""


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which it is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            pass  # torchvision looks for redirects with requests that it does not read to the end

    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=tmp_path / "served")
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def cifar10(server, monkeypatch):
    """torchvision's CIFAR10 pointed at a small archive: 5 batches of 4 images and 3 test images. Gives the pixels."""
    folder, url = server
    cifar = import_datasets().CIFAR10
    unpacked = folder / cifar.base_folder
    unpacked.mkdir()
    names = ["airplane", "automobile", "bird"]
    pixels = {}
    for name, n in [(name, 4) for name, _ in cifar.train_list] + [(name, 3) for name, _ in cifar.test_list]:
        pixels[name] = RNG.integers(0, 256, (n, 3 * 32 * 32), dtype=np.uint8)
        (unpacked / name).write_bytes(pickle.dumps({"data": pixels[name], "labels": [i % 3 for i in range(n)]}))
    (unpacked / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    with tarfile.open(folder / cifar.filename, "w:gz") as tar:
        tar.add(unpacked, cifar.base_folder)
    monkeypatch.setattr(cifar, "url", url + cifar.filename)
    monkeypatch.setattr(cifar, "tgz_md5", md5(folder / cifar.filename))
    for files in ("train_list", "test_list"):
        monkeypatch.setattr(cifar, files, [[name, md5(unpacked / name)] for name, _ in getattr(cifar, files)])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(unpacked / "batches.meta")})
    return pixels


def refused(name, root, *words):
    with pytest.raises(UserError) as caught:
        load(Data(name=name, root=str(root)))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_cifar10_is_downloaded_verified_cut_and_kept(cifar10, tmp_path, monkeypatch, capfd):
    config = Data(name="cifar10", root=str(tmp_path / "root"))
    assert not on_disk("cifar10", tmp_path / "root")
    calls = []
    data = load(config, progress=lambda done, total: calls.append((done, total)))
    size = (tmp_path / "served" / "cifar-10-python.tar.gz").stat().st_size
    assert calls[-1] == (size, size)
    assert capfd.readouterr().err == ""
    assert [len(split) for split in data.splits.values()] == [18, 2, 3]
    assert data.levels == 256
    assert data.classes == ("airplane", "automobile", "bird")
    assert data.image_shape == (3, 32, 32)
    assert (data.test.images.flatten(1).numpy() == cifar10["test_batch"]).all()
    assert data.test.labels.tolist() == [0, 1, 2]
    assert on_disk("cifar10", tmp_path / "root")

    monkeypatch.setattr(import_datasets().CIFAR10, "url", NOWHERE)
    assert load(config).checksum == data.checksum


def test_without_a_network_it_says_which_file_to_put_where(cifar10, tmp_path, monkeypatch):
    archive = tmp_path / "served" / "cifar-10-python.tar.gz"
    monkeypatch.setattr(import_datasets().CIFAR10, "url", NOWHERE)
    root = tmp_path / "root"
    where = f"https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz elsewhere and put it, as downloaded, into {root}"
    refused("cifar10", root, "cifar10 could not be downloaded (Connection refused)", where)
    (root / archive.name).write_bytes(archive.read_bytes()[:1000])
    refused("cifar10", root, f"{root / archive.name} is not the published file: its checksum differs", where)
    (root / archive.name).write_bytes(archive.read_bytes())  # what the message says to do
    assert len(load(Data(name="cifar10", root=str(root))).train) == 18


def test_a_broken_download_is_noticed(cifar10, tmp_path):
    archive = tmp_path / "served" / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-10])
    refused("cifar10", tmp_path / "root", "corrupted", "not the published file", "put it, as downloaded, into")


def test_a_damaged_file_is_unpacked_anew(cifar10, tmp_path):
    config = Data(name="cifar10", root=str(tmp_path / "root"))
    first = load(config)
    (tmp_path / "root" / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"")
    assert load(config).checksum == first.checksum


def test_a_root_that_cannot_be_written(cifar10, tmp_path):
    (tmp_path / "file").write_text("")
    refused("cifar10", tmp_path / "file" / "root", "cannot write to data.root", "--set data.root=DIR", "--root DIR")


def idx(array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist(server, tmp_path, monkeypatch, name):
    folder, url = server
    dataset = getattr(import_datasets(), SETS[name].torchvision)
    arrays = {
        file: RNG.integers(0, 10, (n, 28, 28) if "images" in file else n, dtype=np.uint8)
        for file, n in zip([file for file, _ in dataset.resources], (20, 20, 4, 4), strict=True)
    }
    for file, array in arrays.items():
        (folder / file).write_bytes(gzip.compress(idx(array)))
    monkeypatch.setattr(dataset, "mirrors", [NOWHERE, url])
    monkeypatch.setattr(dataset, "resources", [(file, md5(folder / file)) for file in arrays])
    root = tmp_path / "root"
    data = load(Data(name=name, root=str(root)))
    assert [len(split) for split in data.splits.values()] == [18, 2, 4]
    assert (data.test.images[:, 0].numpy() == arrays["t10k-images-idx3-ubyte.gz"]).all()
    assert data.levels == 256
    assert data.num_classes == 10
    assert data.classes[9] == ("9" if name == "mnist" else "Ankle boot")

    raw = root / SETS[name].torchvision / "raw"
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + bytes(20))
    refused(name, root, "on disk is damaged", f"remove {raw} and run again")
    monkeypatch.setattr(dataset, "mirrors", [NOWHERE])
    refused(name, tmp_path / "other", "(Connection refused)", "t10k-labels-idx1-ubyte.gz from http", "put them")


def test_svhn_without_scipy(server, tmp_path, monkeypatch):
    folder, url = server
    svhn = import_datasets().SVHN
    monkeypatch.setitem(sys.modules, "scipy", None)
    files = {}
    for split, (_, file, _) in svhn.split_list.items():
        (folder / file).write_bytes(base64.b64decode(MATLAB))
        files[split] = [url + file, file, md5(folder / file)]
    monkeypatch.setattr(svhn, "split_list", files)
    data = load(Data(name="svhn", root=str(tmp_path / "root")))
    assert data.image_shape == (3, 4, 3)
    expected = np.arange(180, dtype=np.uint8).reshape(4, 3, 3, 5).transpose(3, 2, 0, 1)
    assert (data.test.images.numpy() == expected).all()
    assert data.test.labels.tolist() == [0, 1, 2, 9, 5]
    assert on_disk("svhn", tmp_path / "root")
    whole = (tmp_path / "root" / "train_32x32.mat").read_bytes()
    (tmp_path / "root" / "train_32x32.mat").write_bytes(whole[:200])
    monkeypatch.setattr(svhn, "split_list", {split: [NOWHERE, *rest] for split, (_, *rest) in files.items()})
    refused("svhn", tmp_path / "root", "train_32x32.mat is not the published file", "test_32x32.mat from http")


def test_matlab_files():
    whole = base64.b64decode(MATLAB)
    arrays = matlab.read(whole)
    assert arrays["d"].tolist() == [[1.5, -2.0]]
    assert arrays["y"].dtype == np.uint8
    for size in (0, 100, 130, 200, len(whole) - 3):
        with pytest.raises(ValueError, match="MATLAB"):
            matlab.read(whole[:size])
    for i in range(128, len(whole)):  # no damage brings anything but ValueError
        with contextlib.suppress(ValueError):
            matlab.read(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :])
