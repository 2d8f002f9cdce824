"""Downloading and verifying the files of a data set, with stand-ins for torchvision's download."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from set_aggregation.data import CIFAR10, FashionMNIST, downloads

FILES = {"images/a.bin": b"a" * 500, "images/b.bin": b"b" * 300}


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def asked(monkeypatch):
    """Stand-in servers: an address works if it ends in good/. Returns the addresses asked, in order."""
    asked = []

    def fetch(url, folder, filename, md5):
        asked.append(url)
        if "good/" not in url:
            raise OSError("connection refused")
        for name, content in FILES.items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_bytes(content)

    monkeypatch.setattr(downloads, "download_and_extract_archive", fetch)
    return asked


def missing(monkeypatch, folder, *addresses):
    """A data set of one archive, which no file of is there."""
    monkeypatch.setattr(CIFAR10, "files", dict.fromkeys(FILES, "0"))
    monkeypatch.setattr(CIFAR10, "archives", {"x.tgz": "0"})
    monkeypatch.setattr(CIFAR10, "addresses", addresses)
    return CIFAR10(folder)


def test_addresses_are_tried_in_turn(asked, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    data = missing(monkeypatch, folder, "http://bad/", "http://good/", "http://other/")
    for _ in range(2):  # the second time all files are there
        data.prepare_data()
    assert asked == ["http://bad/x.tgz", "http://good/x.tgz"]
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == set(FILES)


def test_failure_names_the_cause_and_leaves_no_files(asked, tmp_path, monkeypatch):
    data = missing(monkeypatch, tmp_path / "new" / "raw", "http://bad/", "http://worse/")
    with pytest.raises(ValueError, match=r"x\.tgz.* 2 addresses .*connection refused.*data_dir.*Digits"):
        data.prepare_data()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_content_is_compared_with_its_checksum(tmp_path, monkeypatch):
    data = CIFAR10(tmp_path)
    (tmp_path / "a").write_bytes(b"content")
    for files in ({"a": md5(b"content")}, {"a": md5(b"other")}, {"missing": md5(b"content")}):
        monkeypatch.setattr(CIFAR10, "files", files)
        if files == {"a": md5(b"content")}:
            assert data.contents() == {"a": b"content"}
            continue
        with pytest.raises(ValueError, match=rf"{next(iter(files))}, .*damaged.*delete it"):
            data.contents()


def test_default_folder(monkeypatch):
    monkeypatch.delenv("SAN_DATA_DIR", raising=False)
    assert CIFAR10().data_dir == Path("data")
    monkeypatch.setenv("SAN_DATA_DIR", "/elsewhere")
    assert CIFAR10().data_dir == FashionMNIST().data_dir == Path("/elsewhere")


def batch(label):
    return pickle.dumps({"data": np.full((2, 3072), label, np.uint8), "labels": [label, label]})


@pytest.fixture
def tiny_cifar10(tmp_path, monkeypatch):
    contents = {f"cifar-10-batches-py/{i}": batch(i) for i in range(3)}
    monkeypatch.setattr(CIFAR10, "files", {name: md5(content) for name, content in contents.items()})
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_cifar10_is_hashed_once_and_read_in_order(tiny_cifar10, monkeypatch):
    hashed, compute = [], hashlib.md5
    monkeypatch.setattr(hashlib, "md5", lambda content, **options: hashed.append(1) or compute(content, **options))
    data = CIFAR10(tiny_cifar10)
    data.prepare_data()  # all files exist
    images, labels, num_test = data.load()
    assert len(hashed) == 3
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert num_test == 2
    assert torch.equal(images[:, 0, 0, 0], labels.byte())


def test_a_damaged_pickle_is_not_read(tiny_cifar10, monkeypatch):
    monkeypatch.setattr(pickle, "loads", lambda *_, **__: pytest.fail("unpickled"))
    for file in (tiny_cifar10 / "cifar-10-batches-py").iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="damaged"):
        CIFAR10(tiny_cifar10).load()


def test_fashion_mnist_is_read(tmp_path, monkeypatch):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    checksums = {}
    for part, num, value in (("train", 3, 7), ("t10k", 2, 9)):  # in the order of FashionMNIST.files
        for kind, content in (
            ("images-idx3", bytes(16) + bytes([value]) * (784 * num)),
            ("labels-idx1", bytes(8 + num)),
        ):
            (raw / f"{part}-{kind}-ubyte").write_bytes(content)
            checksums[f"{part}-{kind}-ubyte"] = md5(content)
    monkeypatch.setattr(FashionMNIST, "files", checksums)
    images, labels, num_test = FashionMNIST(tmp_path).load()
    assert images[:, 0, 0, 0].tolist() == [7, 7, 7, 9, 9]
    assert (images.shape, labels.tolist(), num_test) == ((5, 1, 28, 28), [0] * 5, 2)


@pytest.mark.parametrize("cls", [CIFAR10, FashionMNIST])
def test_published_files_have_several_addresses(cls, asked, tmp_path):
    with pytest.raises(ValueError, match=f"got no {next(iter(cls.archives))} in .* addresses"):
        cls(tmp_path).prepare_data()
    assert len(asked) == len(cls.addresses) > 1
    assert all(address.endswith(f"/{next(iter(cls.archives))}") for address in asked)
