"""Fashion-MNIST."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from set_aggregation.data.downloads import check_files, default_data_dir, download
from set_aggregation.data.in_memory import InMemoryImages

_SOURCE = datasets.FashionMNIST
# torchvision checks the archives only; these are the files in them.
_CHECKSUMS = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
_ADDRESSES = (
    *_SOURCE.mirrors,
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://dataset.bj.bcebos.com/fashion_mnist/",
)


class FashionMNIST(InMemoryImages):
    """Fashion-MNIST: 70,000 grey pictures of clothes, 28x28 pixels, in ten classes.

    `Xiao, Rasul and Vollgraf (2017) <https://arxiv.org/abs/1708.07747>`_. The ``"official"`` split has
    55,000 / 5,000 / 10,000 images, the ``"paper"`` split 60,000 / 5,000 / 5,000 out of both published parts.

    Args:
        data_dir: folder with ``FashionMNIST/raw`` (downloaded if it is not there); ``$SAN_DATA_DIR``, else
            ``data``, by default.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`.

    Raises:
        ValueError: files that are damaged, or neither there nor to be had.
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
        """Downloads what is not there."""
        if not all((self._raw / file).exists() for file in _CHECKSUMS):
            download("FashionMNIST", self._raw, dict(_SOURCE.resources), _ADDRESSES, list(_CHECKSUMS))

    def load(self) -> tuple[UInt8[Tensor, "N 1 28 28"], Int[Tensor, "N"], int]:
        """Checks the files and reads them with torchvision."""
        check_files(self._raw, _CHECKSUMS)
        images = [read_image_file(str(self._raw / f"{part}-images-idx3-ubyte")) for part in ("train", "t10k")]
        labels = [read_label_file(str(self._raw / f"{part}-labels-idx1-ubyte")) for part in ("train", "t10k")]
        return torch.cat(images)[:, None], torch.cat(labels), len(labels[1])

    @property
    def _raw(self) -> Path:
        return self.data_dir / "FashionMNIST" / "raw"
