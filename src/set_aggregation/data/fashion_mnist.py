"""Fashion-MNIST."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets

from set_aggregation.data.downloads import default_data_dir, download, read_verified
from set_aggregation.data.in_memory import InMemoryImages

_SOURCE = datasets.FashionMNIST
# Of the files in the archives; torchvision verifies the archives.
_CHECKSUMS = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
_PARTS = ("train", "t10k")
_ADDRESSES = (
    *_SOURCE.mirrors,
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://dataset.bj.bcebos.com/fashion_mnist/",
)


class FashionMNIST(InMemoryImages):
    """Fashion-MNIST: 70,000 grey images of clothes, 28x28 pixels, in ten classes.

    `Xiao, Rasul and Vollgraf (2017) <https://arxiv.org/abs/1708.07747>`_. The ``"official"`` split has
    55,000 / 5,000 / 10,000 images, the ``"paper"`` split 60,000 / 5,000 / 5,000 out of both published parts.

    Args:
        data_dir: folder with ``FashionMNIST/raw``, which is downloaded if missing; by default ``$SAN_DATA_DIR``,
            otherwise ``data``.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`.

    Raises:
        ValueError: a file is damaged, or missing and cannot be downloaded.
    """

    num_classes = 10
    class_names = tuple(_SOURCE.classes)
    in_channels = 1
    image_size = (28, 28)
    mean = (0.2860,)
    std = (0.3530,)
    flip = True
    test_size = 5000

    def __init__(self, data_dir: Path | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_dir = (default_data_dir() if data_dir is None else Path(data_dir)).expanduser()

    def prepare_data(self) -> None:
        """Download the archives if a file is missing."""
        if not all((self._raw / file).exists() for file in _CHECKSUMS):
            download(self._raw, dict(_SOURCE.resources), _ADDRESSES, list(_CHECKSUMS))

    def load(self) -> tuple[UInt8[Tensor, "N 1 28 28"], Int[Tensor, "N"], int]:
        """Verify the files and read them, each once."""
        contents = {name: read_verified(self._raw / name, md5) for name, md5 in _CHECKSUMS.items()}
        # The idx format: a header of 16 bytes before images, of 8 before labels.
        images, labels = (
            np.concatenate(
                [np.frombuffer(contents[f"{part}-{kind}-ubyte"], np.uint8, offset=header) for part in _PARTS]
            )
            for kind, header in (("images-idx3", 16), ("labels-idx1", 8))
        )
        num_test = len(contents["t10k-labels-idx1-ubyte"]) - 8
        return torch.from_numpy(images).view(-1, 1, 28, 28), torch.from_numpy(labels).long(), num_test

    @property
    def _raw(self) -> Path:
        return self.data_dir / "FashionMNIST" / "raw"
